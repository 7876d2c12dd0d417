// SPDX-License-Identifier: Apache-2.0

package mesh_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-mesh/sluice/cmd/internal/mesh"
	"github.com/sluice-mesh/sluice/cmd/internal/node"
	"github.com/sluice-mesh/sluice/cmd/internal/watched"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// said is a source that says what it is sent, one text after the other, under
// one key. Each text is taken when the one before was handed on.
type said chan string

func (s said) Run(ctx context.Context, sink func(discovery.Batch)) error {
	for listed := true; ; listed = false {
		select {
		case <-ctx.Done():
			return nil
		case text := <-s:
			docs, faults := routing.Read("said.yaml", []byte(text))
			sink(discovery.Batch{
				Updates: []discovery.Update{{Key: "said.yaml", Documents: docs, Faults: faults}},
				Listed:  listed,
			})
		}
	}
}

// lines is a log that is read while it is written.
type lines struct {
	mu   sync.Mutex // guards the fields below
	text bytes.Buffer
	wait string // what is waited for
	seen chan struct{}
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := l.text.Write(p)
	l.look()
	return n, err
}

func (l *lines) look() {
	if l.wait != "" && strings.Contains(l.text.String(), l.wait) {
		l.wait = ""
		close(l.seen)
	}
}

// await waits until the log contains a text.
func (l *lines) await(text string) {
	l.mu.Lock()
	l.wait, l.seen = text, make(chan struct{})
	seen := l.seen
	l.look()
	l.mu.Unlock()
	<-seen
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

// start runs a mesh until the test ends, and checks that it then ends well.
func start(t *testing.T, source discovery.Source, beside ...*watched.Source) (*mesh.Mesh, *lines) {
	t.Helper()
	log := &lines{}
	m, err := mesh.Open(t.Context(), mesh.Options{
		Source: source, Watched: beside,
		Options: node.Options{
			GatewayAddress: "127.0.0.1", Admin: "127.0.0.1:0", Drain: -1,
			Log: slog.New(slog.NewTextHandler(log, nil)),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run() = %v after its context ended, want nil", err)
		}
		if _, _, err := get(context.Background(), "http://"+m.Admin()+"/livez"); err == nil {
			t.Error("the admin server answers after Run has returned")
		}
	})
	return m, log
}

// origin returns the address of a server that answers with a text.
func origin(t *testing.T, text string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func get(ctx context.Context, url string) (status int, body string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	r.Close = true
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func wantBody(t *testing.T, url, want string) {
	t.Helper()
	status, body, err := get(t.Context(), url)
	if err != nil || status != http.StatusOK || !strings.Contains(body, want) {
		t.Errorf("GET %s = %d %q (%v), want 200 with %q", url, status, body, err, want)
	}
}

func gateway(port int, address, weight string) string {
	return fmt.Sprintf("name: shop\nport: %d\nroutes:\n  \"[%s]\":\n    weight: %s\n", port, address, weight)
}

func TestTextIsServed(t *testing.T) {
	port := freeport.One(t)
	m, _ := start(t, mesh.Text{Name: "lab.yaml", YAML: []byte(gateway(port, origin(t, "hello"), "100%"))})
	<-m.First()
	if got := m.Gateways(); len(got) != 1 || got[0].Name != "shop" || got[0].Port != port || !got[0].Deployed {
		t.Errorf("Gateways() = %+v, want shop on %d, deployed", got, port)
	}
	wantBody(t, fmt.Sprintf("http://127.0.0.1:%d/", port), "hello")
	wantBody(t, "http://"+m.Admin()+"/readyz", "")
	wantBody(t, "http://"+m.Admin()+"/status", `"name": "shop"`)
	wantBody(t, "http://"+m.Admin()+"/metrics", `sluice_requests_total{code="2xx",gateway="shop"`)
	if n := m.Confirm(); n != 0 {
		t.Errorf("Confirm() = %d of a source that holds nothing back, want 0", n)
	}
}

func TestChanges(t *testing.T) {
	port, source := freeport.One(t), make(said)
	url := fmt.Sprintf("http://127.0.0.1:%d/", port)
	one, two := origin(t, "one"), origin(t, "two")
	m, log := start(t, source)

	if status, _, err := get(t.Context(), "http://"+m.Admin()+"/readyz"); err != nil || status != http.StatusServiceUnavailable {
		t.Errorf("/readyz before the first table = %d (%v), want 503", status, err)
	}
	source <- gateway(port, one, "100%")
	<-m.First()
	wantBody(t, url, "one")

	source <- gateway(port, two, "100%")
	log.await(".2 gateways=1 faults=0")
	wantBody(t, url, "two")

	// A wrong text: the last good form serves on, and the fault is told.
	source <- gateway(port, one, "101%")
	log.await("gateways=1 faults=1")
	wantBody(t, url, "two")
	status := m.Status()
	if len(status.Faults) != 1 || status.Faults[0].Severity != "refused" || !strings.HasPrefix(status.Faults[0].Text, "said.yaml:5:13: gateways.shop") {
		t.Errorf("Status().Faults = %+v, want one at said.yaml:5:13", status.Faults)
	}
	if status.Table == nil || !strings.Contains(status.Table.Version, ".") {
		t.Errorf("Status().Table = %+v, want the version that serves", status.Table)
	}
	rejected := fmt.Sprintf("sluice_table_rejected_total{reason=%q} 1\n", status.Faults[0].Code)
	wantBody(t, "http://"+m.Admin()+"/metrics", rejected)

	// The same fault beside another one: each is logged and counted once.
	source <- gateway(port, one, "101%") + "wieght: 1\n"
	log.await("gateways=1 faults=2")
	wantBody(t, "http://"+m.Admin()+"/metrics", rejected)
	if n := log.count("said.yaml:5:13: "); n != 1 {
		t.Errorf("the standing fault is logged %d times, want once", n)
	}

	// Mended.
	source <- gateway(port, one, "100%")
	log.await(".3 gateways=1 faults=0")
	wantBody(t, url, "one")
	if n := len(m.Status().Faults); n != 0 {
		t.Errorf("%d faults stand after all are mended, want none", n)
	}
}

func TestOpenSaysThatTheAdminAddressIsTaken(t *testing.T) {
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, err = mesh.Open(t.Context(), mesh.Options{Source: mesh.Text{}, Options: node.Options{Admin: ln.Addr().String()}})
	if err == nil || !strings.Contains(err.Error(), "--admin") {
		t.Errorf("Open with a taken admin address: error = %v, want one that names --admin", err)
	}
}

func TestRunEndsWithItsSource(t *testing.T) {
	m, err := mesh.Open(t.Context(), mesh.Options{Source: failing{}, Options: node.Options{Admin: "127.0.0.1:0", Drain: -1}})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Run(t.Context()); err == nil || err.Error() != "no such directory" {
		t.Errorf("Run() = %v, want the error of the source", err)
	}
}

// failing is a source that cannot even begin.
type failing struct{}

func (failing) Run(context.Context, func(discovery.Batch)) error {
	return errors.New("no such directory")
}
