// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/sluice-mesh/sluice/bench"
)

// seen is a request as a server saw it.
type seen struct {
	method, target, host, body string
	header                     http.Header
	closes                     bool
}

// witness keeps the requests that it answers.
type witness struct {
	mu  sync.Mutex // guards all
	all []seen
}

func (w *witness) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, seen{r.Method, r.RequestURI, r.Host, string(body), r.Header, r.Close})
}

// TestBenchSends checks what each flag makes of requests.
func TestBenchSends(t *testing.T) {
	mix := filepath.Join(t.TempDir(), "mix.yaml")
	if err := os.WriteFile(mix, []byte("host: shop.example\nmix: [{path: /a, headers: {X-A: b}}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, path string
		args       []string
		want       seen
	}{
		{name: "a GET by itself", path: "/cart?id=1%202", want: seen{method: "GET", target: "/cart?id=1%202"}},
		{name: "the root for no path", want: seen{method: "GET", target: "/"}},
		{name: "another method", args: []string{"--method", "DELETE"}, want: seen{method: "DELETE", target: "/"}},
		{name: "data by POST", args: []string{"--data", "a=b"}, want: seen{method: "POST", target: "/", body: "a=b"}},
		{
			name: "data by another method", args: []string{"--data", "a=b", "--method", "PUT"},
			want: seen{method: "PUT", target: "/", body: "a=b"},
		},
		{name: "a body of a size", args: []string{"--body-size", "10B"}, want: seen{method: "POST", target: "/", body: "abcdefghij"}},
		{
			name: "header fields", args: []string{"--header", "X-A: b", "-H", "User-Agent:me"},
			want: seen{method: "GET", target: "/", header: http.Header{"X-A": {"b"}, "User-Agent": {"me"}}},
		},
		{name: "another host", args: []string{"--header", "host:shop.example"}, want: seen{method: "GET", target: "/", host: "shop.example"}},
		{
			name: "the end of a connection with its only request", args: []string{"--requests-per-connection", "1"},
			want: seen{method: "GET", target: "/", closes: true},
		},
		{
			name: "the mix of a scenario, with header fields for all of it", args: []string{"--scenario", mix, "--header", "X-B:c"},
			want: seen{method: "GET", target: "/a", host: "shop.example", header: http.Header{"X-A": {"b"}, "X-B": {"c"}}},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := &witness{}
			server := httptest.NewServer(w)
			defer server.Close()
			var out, complaints bytes.Buffer
			args := append([]string{"bench", server.URL + tt.path, "--requests", "3", "--connections", "1"}, tt.args...)
			if code := execute(args, nil, &out, &complaints); code != exitOK {
				t.Fatalf("sluice %q exits with %d: %s", args, code, &complaints)
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			if len(w.all) < 3 {
				t.Fatalf("%d requests came, want at least the 3 that were counted", len(w.all))
			}
			if tt.want.host == "" {
				tt.want.host = server.Listener.Addr().String()
			}
			for _, got := range w.all {
				if got.method != tt.want.method || got.target != tt.want.target || got.host != tt.want.host ||
					got.body != tt.want.body || got.closes != tt.want.closes {
					t.Fatalf("came %+v, want %+v", got, tt.want)
				}
				for name, want := range tt.want.header {
					if strings.Join(got.header[name], "|") != want[0] {
						t.Errorf("%s = %q, want %q", name, got.header[name], want)
					}
				}
			}
		})
	}
}

func TestBenchOverTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(&witness{})
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // refused certificates are what is tested
	server.StartTLS()
	defer server.Close()
	var out, complaints bytes.Buffer
	args := []string{"bench", server.URL, "--requests", "5", "--connections", "1"}
	if code := execute(args, nil, &out, &complaints); code != exitError || !strings.Contains(complaints.String(), "certificate") {
		t.Errorf("without --insecure it exits with %d and tells %q, want %d and a word of the certificate", code, &complaints, exitError)
	}
	if code := execute(append(args, "--insecure"), nil, &out, &complaints); code != exitOK || !strings.Contains(out.String(), "all 5 answers 2xx") {
		t.Errorf("with --insecure it exits with %d and prints %s, want %d and 5 answers", code, &out, exitOK)
	}
}

// TestBenchJSON checks that what is printed for programs has all of it.
func TestBenchJSON(t *testing.T) {
	server := httptest.NewServer(&witness{})
	defer server.Close()
	var out, complaints bytes.Buffer
	args := []string{"bench", server.URL, "--compare", server.URL, "--requests", "4", "--rounds", "2", "-o", "json"}
	if code := execute(args, nil, &out, &complaints); code != exitOK {
		t.Fatalf("it exits with %d: %s", code, &complaints)
	}
	var got struct {
		bench.Comparison
		Verdict []string
	}
	d := json.NewDecoder(&out)
	d.DisallowUnknownFields()
	if err := d.Decode(&got); err != nil {
		t.Fatal(err)
	}
	address := server.Listener.Addr().String()
	if len(got.Targets) != 2 || got.Targets[0].Name != address || got.Targets[1].Name != address+" (2)" {
		t.Fatalf("targets = %+v, want the same one twice under two names", got.Targets)
	}
	if m := got.Targets[1].Median; m.Requests != 8 || m.Status["2xx"] != 8 || m.Latency.P50 <= 0 || len(got.Targets[1].Rounds) != 2 {
		t.Errorf("the second = %+v, want 8 answers in two rounds", got.Targets[1])
	}
	if len(got.Versus) != 1 || got.Versus[0].P50.Value <= 0 || len(got.Verdict) < 6 {
		t.Errorf("versus %+v, verdict %q, want one comparison and what it means", got.Versus, got.Verdict)
	}
}

// TestBenchEndsEarly interrupts a run and wants what was measured until then.
func TestBenchEndsEarly(t *testing.T) {
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	came := make(chan struct{}, 1)
	n := 0
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if n++; n == 100 { // on one connection, one after the other
			came <- struct{}{}
		}
	})}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(ln) })
	defer serving.Wait()
	defer server.Close()

	cmd := exec.CommandContext(t.Context(), "sluice", "bench", ln.Addr().String(), "--connections", "1", "--duration", "1h") //nolint:gosec // our own program
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-came
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	err = cmd.Wait()
	if got := cmd.ProcessState.ExitCode(); got != exitError || !strings.Contains(complaints.String(), "ended early: received interrupt") {
		t.Errorf("it exits with %d (%v) and tells %q, want %d and that it ended early", got, err, &complaints, exitError)
	}
	if !strings.Contains(out.String(), "answers 2xx") {
		t.Errorf("it prints %q, want what was measured until then", &out)
	}
}
