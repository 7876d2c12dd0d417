// SPDX-License-Identifier: Apache-2.0

//go:build peers

package peers

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/test/certs"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// loadRequests is how many requests h2load sends at least.
const loadRequests = 100_000

// requestsLine is what h2load tells of the fate of its requests.
var requestsLine = regexp.MustCompile(`requests: (\d+) total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout`)

// h2load sends requests over 16 connections in 8 streams each, all of which
// must be answered by 200.
func h2load(t *testing.T, url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	all := strconv.Itoa(loadRequests)
	out, err := exec.CommandContext(ctx, lookUp(t, "h2load"), "-n", all, "-c", "16", "-m", "8", url).CombinedOutput()
	if err != nil {
		t.Fatalf("h2load: %v\n%s", err, out)
	}
	m := requestsLine.FindStringSubmatch(string(out))
	if m == nil || strings.Join(m[1:], " ") != strings.Join([]string{all, all, all, "0", "0", "0"}, " ") || !strings.Contains(string(out), all+" 2xx") {
		t.Errorf("h2load:\n%s", out)
	}
	if at := strings.Index(string(out), "finished in"); at >= 0 {
		line, _, _ := strings.Cut(string(out)[at:], "\n")
		t.Log(line)
	}
}

// protocols are how instances are spoken to, as routes say it.
var protocols = []string{"http1", "h2c"}

// servant is an instance that can be started again on its port.
type servant struct {
	address, protocol string
	server            *http.Server
	done              chan struct{}
}

func newServant(t *testing.T, protocol string) *servant {
	t.Helper()
	s := &servant{address: loopback(freeport.One(t)), protocol: protocol} // which it comes back to
	if err := s.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.server.Close() })
	return s
}

func (s *servant) start(ctx context.Context) error {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", s.address)
	if err != nil {
		return err
	}
	s.address = ln.Addr().String()
	speaks := new(http.Protocols)
	speaks.SetHTTP1(s.protocol == "http1")
	speaks.SetUnencryptedHTTP2(s.protocol == "h2c")
	content := strings.Repeat("x", 128)
	s.server = &http.Server{
		Protocols: speaks, ReadHeaderTimeout: patience, ErrorLog: log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, content) }),
	}
	server, done := s.server, make(chan struct{})
	s.done = done
	go func() {
		defer close(done)
		_ = server.Serve(ln)
	}()
	return nil
}

// instancesFile writes a file that tells of instances of the shop.
func instancesFile(t *testing.T, dir string, all []*servant) (file string) {
	t.Helper()
	var text strings.Builder
	for _, s := range all {
		host, port, err := net.SplitHostPort(s.address)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&text, "- {address: %s, port: %s, labels: {app: shop}}\n", host, port)
	}
	file = filepath.Join(dir, "instances.yaml")
	if err := write(file, text.String()); err != nil {
		t.Fatal(err)
	}
	return file
}

// restart ends it in an orderly way and starts it anew.
func (s *servant) restart(ctx context.Context) error {
	if err := s.server.Shutdown(ctx); err != nil {
		return err
	}
	<-s.done
	return s.start(ctx)
}

// write replaces a file at once.
func write(file, text string) error {
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// meanwhile does something time and again until the test, or what it returns,
// ends it.
func meanwhile(t *testing.T, every time.Duration, do func(ctx context.Context, turn int) error) (end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	turns := 0
	group.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := do(context.WithoutCancel(ctx), turns); err != nil {
				t.Error(err)
				return
			}
			turns++
		}
	})
	return func() {
		cancel()
		group.Wait()
		if turns == 0 {
			t.Error("it never came to its turn")
		}
		t.Logf("%d turns meanwhile", turns)
	}
}

func TestH2Load(t *testing.T) {
	for _, protocol := range protocols {
		t.Run("to "+protocol, func(t *testing.T) {
			l := newListener(t)
			ca := certs.New(t)
			ca.Issue(t, "shop.example").WriteFiles(l.dir, "shop")
			to := newServant(t, protocol)
			tlsPort := newListener(t).port
			gateway := "---\nname: %s\nport: %d\nsluice: {%s}\nroutes: {\"[%s]\": {sluice: {protocol: %s}}}\n"
			startSluice(t, l.dir, fmt.Sprintf(gateway, "plain", l.port, "", to.address, protocol)+
				fmt.Sprintf(gateway, "secret", tlsPort, "tls: {certificates: {certificate: shop.crt, key: shop.key}}", to.address, protocol))
			t.Run("in plain text", func(t *testing.T) { h2load(t, "http://"+l.address+"/") })
			t.Run("over TLS", func(t *testing.T) { h2load(t, "https://"+loopback(tlsPort)+"/") })
		})
	}
}

func TestH2LoadWhileTablesChange(t *testing.T) {
	for _, protocol := range protocols {
		t.Run("to "+protocol, func(t *testing.T) {
			l := newListener(t)
			a, b := newServant(t, protocol), newServant(t, protocol)
			table := func(share int) string {
				return fmt.Sprintf("name: shop\nport: %d\nroutes:\n  \"[%s]\": {weight: %d%%, sluice: {protocol: %s}}\n  \"[%s]\": {weight: %d%%, sluice: {protocol: %[4]s}}\n",
					l.port, a.address, share, protocol, b.address, 100-share)
			}
			startSluice(t, l.dir, table(50))
			end := meanwhile(t, 100*time.Millisecond, func(_ context.Context, turn int) error {
				return write(filepath.Join(l.dir, "gateways.yaml"), table(turn*10%101))
			})
			h2load(t, "http://"+l.address+"/")
			end()
		})
	}
}

// TestH2LoadWhileInstancesRestart has instances end in an orderly way, under
// load, and come back.
func TestH2LoadWhileInstancesRestart(t *testing.T) {
	for _, protocol := range protocols {
		t.Run("to "+protocol, func(t *testing.T) {
			l := newListener(t)
			all := []*servant{newServant(t, protocol), newServant(t, protocol)}
			startSluice(t, l.dir, fmt.Sprintf("name: shop\nport: %d\nroutes: {r: {selector: label(app)(shop), sluice: {protocol: %s}}}\n", l.port, protocol),
				"--instances", instancesFile(t, l.dir, all))
			end := meanwhile(t, 200*time.Millisecond, func(ctx context.Context, turn int) error {
				ctx, cancel := context.WithTimeout(ctx, patience)
				defer cancel()
				return all[turn%2].restart(ctx)
			})
			h2load(t, "http://"+l.address+"/")
			end()
		})
	}
}
