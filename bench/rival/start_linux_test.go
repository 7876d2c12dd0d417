// SPDX-License-Identifier: Apache-2.0

package rival_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/bench/rival"
)

// sluice is the path of the program, built for these tests.
var sluice string

func TestMain(m *testing.M) {
	if os.Getenv(orphaning) != "" {
		if err := startAndWait(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sluice-rival-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	sluice = filepath.Join(dir, "sluice")
	build := exec.CommandContext(context.Background(), "go", "build", "-o", sluice, "../../cmd/sluice")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building sluice: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// needs skips a test of a kind that is not installed. Sluice was built.
func needs(t *testing.T, k rival.Kind) {
	t.Helper()
	if k.Name == "sluice" {
		return
	}
	if _, err := k.Available(); err != nil {
		if os.Getenv("FORBID_SKIPS") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// does skips a test of a mode that a kind cannot do as it is installed.
func does(t *testing.T, k rival.Kind, mode string) {
	t.Helper()
	needs(t, k)
	if k.Name == "sluice" {
		return
	}
	if err := k.Can(mode); err != nil {
		if os.Getenv("FORBID_SKIPS") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// instances are servers that note what reaches them.
type instances struct {
	mu    sync.Mutex // guards what follows
	got   map[string]int
	last  http.Header
	conns int
}

// start starts two of them and returns their addresses.
func (in *instances) start(t *testing.T) (addresses []string) {
	t.Helper()
	for range 2 {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			address := r.Context().Value(http.LocalAddrContextKey).(net.Addr).String()
			in.mu.Lock()
			defer in.mu.Unlock()
			if in.got == nil {
				in.got = make(map[string]int)
			}
			in.got[address]++
			in.last = r.Header
			_, _ = io.WriteString(w, "hello")
		}))
		s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				in.mu.Lock()
				defer in.mu.Unlock()
				in.conns++
			}
		}
		s.Start()
		t.Cleanup(s.Close)
		addresses = append(addresses, s.Listener.Addr().String())
	}
	return addresses
}

// forget forgets what was noted.
func (in *instances) forget() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.got, in.conns = nil, 0
}

// connected returns how many connections there were.
func (in *instances) connected() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.conns
}

func (in *instances) count(addresses ...string) (n int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, a := range addresses {
		n += in.got[a]
	}
	return n
}

// options are what all programs are started with.
func options(t *testing.T, origins ...string) rival.Options {
	t.Helper()
	return rival.Options{Dir: t.TempDir(), Origins: origins, CPU: -1, Sluice: sluice}
}

func start(t *testing.T, k rival.Kind, o rival.Options) *rival.Process {
	t.Helper()
	p, err := rival.Start(t.Context(), k, o)
	if err != nil {
		t.Fatal(err)
	}
	stopAtEnd(t, p)
	return p
}

// stopAtEnd stops a process when the test ends. It ends with the test's
// context at the latest, which is over by then.
func stopAtEnd(t *testing.T, p *rival.Process) {
	t.Helper()
	t.Cleanup(func() {
		_ = p.Stop()
		<-p.Done()
	})
}

// get asks n times over one connection. Fields are NAME, VALUE.
func get(t *testing.T, address string, n int, fields ...string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	ask(t, client, "http://"+address+"/", n, fields...)
}

// ask asks n times.
func ask(t *testing.T, client *http.Client, url string, n int, fields ...string) {
	t.Helper()
	for range n {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(fields); i += 2 {
			r.Header.Set(fields[i], fields[i+1])
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || string(body) != "hello" {
			t.Fatalf("answer = %d %q, %v; want 200 hello", resp.StatusCode, body, err)
		}
	}
}

func TestAvailableTellsTheVersion(t *testing.T) {
	for name, prefix := range map[string]string{"haproxy": "HAProxy ", "nginx": "nginx "} {
		t.Run(name, func(t *testing.T) {
			k := find(t, name)
			needs(t, k)
			version, err := k.Available()
			number, ok := strings.CutPrefix(version, prefix)
			if err != nil || !ok || strings.Trim(number, "0123456789.") != "" || number == "" {
				t.Errorf("Available() = %q, %v, want %sand a number", version, err, prefix)
			}
		})
	}
}

func TestAllDoTheSameWork(t *testing.T) {
	t.Parallel()
	for _, k := range rival.Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			needs(t, k)
			var in instances
			addresses := in.start(t)
			p := start(t, k, options(t, addresses...))
			if p.Name != k.Name || !strings.HasPrefix(strings.ToLower(p.Version), k.Name+" ") {
				t.Errorf("Start() tells %q, %q", p.Name, p.Version)
			}

			in.forget()
			get(t, p.Address, 200)
			a, b := in.count(addresses[0]), in.count(addresses[1])
			// Four routes take turns each for itself.
			if a+b != 200 || max(a-b, b-a) > 4 {
				t.Errorf("a has %d of 200 requests and b %d, want half each", a, b)
			}
			if n := in.connected(); n > 8 {
				t.Errorf("200 requests took %d connections to instances, want them to be kept", n)
			}

			get(t, p.Address, 1, "X-Request-Id", "of the client", "X-Forwarded-For", "192.0.2.1")
			if got := strings.Join(in.last.Values("X-Forwarded-For"), ", "); !strings.HasSuffix(got, "127.0.0.1") {
				t.Errorf("X-Forwarded-For = %q, want 127.0.0.1 at its end", got)
			}
			first := in.last.Get("X-Request-Id")
			get(t, p.Address, 1)
			if second := in.last.Get("X-Request-Id"); len(first) < 20 || len(second) < 20 || first == second {
				t.Errorf("X-Request-Id = %q, then %q, want two that differ", first, second)
			}
		})
	}
}

// TestAllSpeakTLSAlike holds that no proxy has an easier key exchange, cipher
// or certificate than the others.
func TestAllSpeakTLSAlike(t *testing.T) {
	t.Parallel()
	for _, k := range rival.Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			does(t, k, rival.ModeTLS)
			var in instances
			o := options(t, in.start(t)...)
			o.Mode = rival.ModeTLS
			p := start(t, k, o)
			in.forget()
			var handshakes []tls.ConnectionState
			config := p.TLS.Clone()
			config.VerifyConnection = func(s tls.ConnectionState) error {
				handshakes = append(handshakes, s)
				return nil
			}
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
			defer client.CloseIdleConnections()
			ask(t, client, "https://"+p.Address+"/", 20)
			client.CloseIdleConnections()
			ask(t, client, "https://"+p.Address+"/", 20)
			if n := in.count(o.Origins...); n != 40 {
				t.Errorf("%d of 40 requests reached an instance", n)
			}
			if len(handshakes) != 2 {
				t.Fatalf("%d handshakes for two connections of 20 requests", len(handshakes))
			}
			for _, s := range handshakes {
				if s.Version != tls.VersionTLS13 || s.CipherSuite != tls.TLS_AES_128_GCM_SHA256 || s.CurveID != tls.X25519 || s.DidResume {
					t.Errorf("version %s, suite %s, curve %v, resumed %t; want 1.3, AES-128-GCM, X25519 and a whole handshake",
						tls.VersionName(s.Version), tls.CipherSuiteName(s.CipherSuite), s.CurveID, s.DidResume)
				}
			}
		})
	}
}

func TestAllSpeakHTTP2Alike(t *testing.T) {
	t.Parallel()
	for _, k := range rival.Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			does(t, k, rival.ModeH2)
			var in instances
			o := options(t, in.start(t)...)
			o.Mode = rival.ModeH2
			p := start(t, k, o)
			in.forget()
			speaks := new(http.Protocols)
			speaks.SetUnencryptedHTTP2(true)
			client := &http.Client{Transport: &http.Transport{Protocols: speaks}}
			defer client.CloseIdleConnections()
			ask(t, client, "http://"+p.Address+"/", 20)
			if n := in.count(o.Origins...); n != 20 {
				t.Errorf("%d of 20 requests reached an instance", n)
			}
			if in.last.Get("X-Forwarded-For") == "" || in.last.Get("X-Request-Id") == "" {
				t.Errorf("the request is forwarded with %v only", in.last)
			}
		})
	}
}

func TestAllForwardConnectionsAlike(t *testing.T) {
	t.Parallel()
	for _, k := range rival.Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			does(t, k, rival.ModeTCP)
			var in instances
			o := options(t, in.start(t)...)
			o.Mode = rival.ModeTCP
			p := start(t, k, o)
			in.forget()
			get(t, p.Address, 20)
			if n, conns := in.count(o.Origins...), in.connected(); n != 20 || conns != 1 {
				t.Errorf("%d of 20 requests reached an instance over %d connections, want one", n, conns)
			}
			if in.last.Get("X-Forwarded-For") != "" {
				t.Errorf("the request was looked into: %v", in.last)
			}
			for range 10 {
				get(t, p.Address, 1)
			}
			if a, b := in.count(o.Origins[0]), in.count(o.Origins[1]); a == 0 || b == 0 {
				t.Errorf("the instances have %d and %d requests of 11 connections, want both to have some", a, b)
			}
		})
	}
}

func TestRequestsAreSpreadOverTheRoutes(t *testing.T) {
	t.Parallel()
	for _, k := range rival.Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			needs(t, k)
			var in instances
			var routes [4][]string
			for i := range routes {
				routes[i] = in.start(t)
			}
			p, err := rival.StartRoutes(t.Context(), k, options(t, routes[1]...), routes)
			if err != nil {
				t.Fatal(err)
			}
			stopAtEnd(t, p)

			in.forget()
			get(t, p.Address, 20, "X-Canary", "yes")
			if n := in.count(routes[0]...); n != 20 {
				t.Errorf("the canary has %d of 20 requests that ask for it", n)
			}

			in.forget()
			const n = 2000
			get(t, p.Address, n, "X-Canary", "no")
			for i, weight := range [4]float64{0, 0.6, 0.3, 0.1} {
				// Some draw, so that five standard deviations are allowed.
				off := math.Abs(float64(in.count(routes[i]...)) - n*weight)
				if most := 5 * math.Sqrt(n*weight*(1-weight)); off > most {
					t.Errorf("route %d has %d of %d requests, want %v of them within %.0f", i, in.count(routes[i]...), n, weight, most)
				}
			}
		})
	}
}

func TestWorkIsAccountedFor(t *testing.T) {
	t.Parallel()
	for _, k := range rival.Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			needs(t, k)
			var in instances
			began := time.Now()
			p := start(t, k, options(t, in.start(t)...))
			if memory, err := p.Memory(); err != nil || memory < 1<<20 || memory > 1<<30 {
				t.Errorf("Memory() = %d, %v, want a megabyte or more", memory, err)
			}
			before, err := p.CPUTime()
			if err != nil || before <= 0 {
				t.Fatalf("CPUTime() = %v, %v, want some", before, err)
			}
			get(t, p.Address, 100)
			after, err := p.CPUTime()
			if err != nil {
				t.Fatal(err)
			}
			// A request takes some microseconds: less than clock ticks would show.
			if used := after - before; used < 100*time.Microsecond {
				t.Errorf("100 requests took %v of processor time, want a microsecond each at least", used)
			}
			if most := time.Since(began) * time.Duration(rival.CPUs()); after > most {
				t.Errorf("CPUTime() = %v, more than the %v that there were", after, most)
			}
		})
	}
}

func TestStopLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, k := range rival.Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			needs(t, k)
			var in instances
			p := start(t, k, options(t, in.start(t)...))
			left := watch(t, p)
			if err := p.Stop(); err != nil {
				t.Errorf("Stop() = %v, want nil", err)
			}
			left()
			if c, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.Address); err == nil {
				c.Close()
				t.Errorf("%s still answers", p.Address)
			}
			if _, err := p.CPUTime(); err == nil || !strings.Contains(err.Error(), k.Name+" has ended") {
				t.Errorf("CPUTime() after the end = %v, want an error", err)
			}
			if err := p.Stop(); err == nil || !strings.Contains(err.Error(), k.Name+" had ended") {
				t.Errorf("Stop() after the end = %v, want an error", err)
			}
		})
	}
}

func TestTheEndOfTheContextLeavesNothing(t *testing.T) {
	t.Parallel()
	for _, k := range rival.Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			needs(t, k)
			var in instances
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			p, err := rival.Start(ctx, k, options(t, in.start(t)...))
			if err != nil {
				t.Fatal(err)
			}
			left := watch(t, p)
			cancel()
			<-p.Done()
			left()
		})
	}
}

func TestATakenPortIsTriedAnew(t *testing.T) {
	t.Parallel()
	for _, k := range rival.Kinds() {
		t.Run(k.Name, func(t *testing.T) {
			t.Parallel()
			needs(t, k)
			if k.Name == "sluice" {
				return // it waits for the port instead of ending
			}
			var in instances
			addresses := in.start(t)
			taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer taken.Close()
			calls := 0
			p, err := rival.StartOn(t.Context(), k, options(t, addresses...), func(ctx context.Context, n int) ([]int, error) {
				ports, err := rival.FreePorts(ctx, n)
				if calls++; calls == 1 && err == nil {
					ports[0] = taken.Addr().(*net.TCPAddr).Port
				}
				return ports, err
			})
			if err != nil {
				t.Fatal(err)
			}
			stopAtEnd(t, p)
			if calls != 2 {
				t.Errorf("ports were chosen %d times, want 2", calls)
			}
		})
	}
}

func TestSluiceServesWithALargerTable(t *testing.T) {
	var in instances
	o := options(t, in.start(t)...)
	o.Table = rival.Table{Gateways: 20, Conditions: 100, Routes: 1000}
	p := start(t, find(t, "sluice"), o)
	in.forget()
	get(t, p.Address, 10)
	if n := in.count(o.Origins...); n != 10 {
		t.Errorf("%d of 10 requests reached an instance", n)
	}
}

// program writes a program that tells a version, and does else what a script
// says.
func program(t *testing.T, script string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sluice")
	text := "#!/bin/sh\nif [ \"$1\" = version ]; then echo sluice 1; exit; fi\n" + script + "\n"
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil { //nolint:gosec // it has to be run
		t.Fatal(err)
	}
	return path
}

func TestStartRefuses(t *testing.T) {
	good := func() rival.Options {
		o := options(t, "127.0.0.1:1", "127.0.0.1:2")
		o.Sluice = program(t, "exit 1")
		return o
	}
	sluice, haproxy := find(t, "sluice"), find(t, "haproxy")
	for _, tt := range []struct {
		name string
		kind rival.Kind
		edit func(*rival.Options)
		want string
	}{
		{"no kind", rival.Kind{}, func(*rival.Options) {}, "no program to start"},
		{"a kind that is not installed", rival.Absent(), func(*rival.Options) {}, "start absent: Absent is not installed: write it"},
		{"no directory", sluice, func(o *rival.Options) { o.Dir = "" }, "start sluice: no directory for the configuration"},
		{"a directory that is not there", sluice, func(o *rival.Options) { o.Dir += "/none" }, "no such file or directory"},
		{"one instance", sluice, func(o *rival.Options) { o.Origins = o.Origins[:1] }, "start sluice: 1 instances, want 2"},
		{"an instance without port", sluice, func(o *rival.Options) { o.Origins[1] = "a" }, "missing port in address"},
		{"an unknown mode", haproxy, func(o *rival.Options) { o.Mode = "udp" }, `start haproxy: unknown mode "udp", want one of http, tls, h2, tcp`},
		{"a larger table for connections", sluice, func(o *rival.Options) { o.Mode, o.Table.Routes = rival.ModeTCP, 1 }, "start sluice: there are no larger tables for connections"},
		{"a larger table of another", haproxy, func(o *rival.Options) { o.Table.Routes = 1 }, "haproxy has no larger tables, only sluice"},
		{"a negative number", sluice, func(o *rival.Options) { o.Table.Conditions = -1 }, "a table has no negative numbers"},
		{"too many gateways", sluice, func(o *rival.Options) { o.Table.Gateways = 5001 }, "5001 further gateways, of which each takes a port, want at most 5000"},
		{"too many routes", sluice, func(o *rival.Options) { o.Table = rival.Table{Gateways: 2, Routes: 201} }, "201 routes for 2 further gateways, want at most 100 each"},
		{"a path that is no program", sluice, func(o *rival.Options) { o.Sluice = "/no/such/sluice" }, "start sluice: /no/such/sluice version:"},
		{"a program without version", sluice, func(o *rival.Options) { o.Sluice = "/bin/true" }, "does not tell a version"},
		{"a program that ends at once", sluice, func(o *rival.Options) {
			o.Sluice = program(t, "echo something is wrong >&2; exit 3")
		}, "start sluice: it ended before it answered: exit status 3; the end of its log: something is wrong"},
		{"a program that ends well", sluice, func(o *rival.Options) {
			o.Sluice = program(t, "exit 0")
		}, "start sluice: it ended before it answered: exit status 0"},
		{"a program with a long log", sluice, func(o *rival.Options) {
			o.Sluice = program(t, "i=0; while [ $i -lt 999 ]; do echo line $i; i=$((i+1)); done; exit 3")
		}, "line 998"},
		{"a processor that is not there", sluice, func(o *rival.Options) { o.CPU = 1023 }, "pin to processor 1023"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := good()
			tt.edit(&o)
			p, err := rival.Start(t.Context(), tt.kind, o)
			if err == nil {
				_ = p.Stop()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || len(err.Error()) > 3000 {
				t.Errorf("Start() = %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestStartGivesUpWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	instance := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound) // so that it is asked until the end
		cancel()
	}))
	defer instance.Close()
	address := instance.Listener.Addr().String()
	_, err := rival.Start(ctx, find(t, "sluice"), options(t, address, address))
	if err == nil || !strings.HasPrefix(err.Error(), "start sluice: it ") {
		t.Errorf("Start() = %v, want an error that says what it did", err)
	}
}

func TestStopEndsWhatDoesNotEndItself(t *testing.T) {
	t.Parallel()
	var in instances
	o := options(t, in.start(t)...)
	o.Sluice = program(t, "trap '' TERM; "+sluice+" \"$@\"")
	p := start(t, find(t, "sluice"), o)
	left := watch(t, p)
	if err := p.Stop(); err != nil {
		t.Errorf("Stop() = %v, want nil", err)
	}
	left()
}
