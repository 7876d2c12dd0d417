// SPDX-License-Identifier: Apache-2.0

package load_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/bench/load"
)

// needsH2Load skips a test where h2load is not installed.
func needsH2Load(t *testing.T) {
	t.Helper()
	_, version, err := load.H2Load(t.Context())
	switch {
	case err != nil && os.Getenv("FORBID_SKIPS") != "":
		t.Fatal(err)
	case err != nil:
		t.Skip(err)
	case !strings.HasPrefix(version, "h2load 1."):
		t.Fatalf("its version is %q", version)
	}
}

func TestHTTP2IsOfferedByH2Load(t *testing.T) {
	t.Parallel()
	needsH2Load(t)
	var seen, failures atomic.Int64
	var odd atomic.Pointer[string]
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 || r.Host != "bench.example" || r.RequestURI != "/bytes/3?x" || r.Header.Get("X-Kind") != "a: b" {
			odd.Store(&r.RequestURI)
		}
		if seen.Add(1)%10 == 0 {
			failures.Add(1)
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_, _ = io.WriteString(w, "hello")
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	r, err := load.Run(t.Context(), load.Plan{
		Address: s.Listener.Addr().String(), Protocol: load.HTTP2, Connections: 3, Streams: 4, Duration: 2 * time.Second,
		Mix: []load.Request{{Weight: 1, Wire: []byte("GET /bytes/3?x HTTP/1.1\r\nHost: bench.example\r\nX-Kind: a: b\r\n\r\n")}},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if at := odd.Load(); at != nil {
		t.Errorf("a request of %s is not as planned", *at)
	}
	// Up to one a stream may be under way at the end.
	if short := seen.Load() - r.Requests; r.Requests == 0 || short < 0 || short > 12 {
		t.Errorf("%d requests are counted, the server saw %d", r.Requests, seen.Load())
	}
	// It logs each of them, but for those that it counts as it ends.
	if n := r.Latency.TotalCount(); n > r.Requests || n < r.Requests-12 {
		t.Errorf("%d latencies of %d requests", n, r.Requests)
	}
	if got := r.Status[2] + r.Status[5]; got != r.Requests || r.Status[5] == 0 || r.Status[5] > failures.Load() {
		t.Errorf("%v of %d requests, the server failed %d", r.Status, r.Requests, failures.Load())
	}
	if r.Failed() != 0 || r.Connections != 3 || r.BytesIn == 0 || r.Elapsed != 2*time.Second {
		t.Errorf("%d failed over %d connections, %d bytes in %v", r.Failed(), r.Connections, r.BytesIn, r.Elapsed)
	}
}

func TestHTTP2PlanIsRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, want string
		change     func(*load.Plan)
	}{
		{"with a rate", "closed loop", func(p *load.Plan) { p.Rate = 1 }},
		{"with a bound on requests", "closed loop", func(p *load.Plan) { p.Requests = 1 }},
		{"with connections that do not stay", "connections that stay", func(p *load.Plan) { p.PerConnection = 1 }},
		{"with two kinds of requests", "one kind", func(p *load.Plan) { p.Mix = append(p.Mix, p.Mix[0]) }},
		{"with another method", "only GET is sent, not POST", func(p *load.Plan) { p.Mix[0].Wire = []byte("POST / HTTP/1.1\r\nHost: a\r\n\r\n") }},
		{"with what is no request", "not one of HTTP/1.1", func(p *load.Plan) { p.Mix[0].Wire = []byte("GET\r\n\r\n") }},
		{"with negative streams", "-1 streams", func(p *load.Plan) { p.Streams = -1 }},
		{"with streams of HTTP/1.1", "or more over HTTP/2", func(p *load.Plan) { p.Protocol, p.Streams = "", 2 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := load.Plan{Address: "127.0.0.1:1", Protocol: load.HTTP2, Mix: []load.Request{{Weight: 1, Wire: get("/")}}}
			tt.change(&p)
			if _, err := load.Run(t.Context(), p, nil); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Run error = %v, want one about %q", err, tt.want)
			}
		})
	}
}

func TestHTTP2IsNotHeld(t *testing.T) {
	t.Parallel()
	p := load.Plan{Address: "127.0.0.1:1", Protocol: load.HTTP2, Mix: []load.Request{{Weight: 1, Wire: get("/")}}}
	if _, err := load.Hold(t.Context(), p, 1); err == nil || !strings.Contains(err.Error(), "only http/1.1") {
		t.Errorf("Hold error = %v, want one about the protocol", err)
	}
}

// summary is what h2load prints at the end.
const summary = `finished in 1.01s, 34828.00 req/s, 920.32KB/s
requests: 100 total, 116 started, 100 done, 80 succeeded, 20 failed, 9 errored, 2 timeout
status codes: 80 2xx, 1 3xx, 4 4xx, 6 5xx
traffic: 920.32KB (942404) total, 137.09KB (140384) headers (space savings 95.76%), 170.06KB (174140) data
`

func TestSummaryOfH2Load(t *testing.T) {
	t.Parallel()
	r, err := load.ReadSummary([]byte(summary))
	if err != nil {
		t.Fatal(err)
	}
	if want := [6]int64{2: 80, 3: 1, 4: 4, 5: 6}; r.Status != want || r.Requests != 91 || r.BytesIn != 942404 {
		t.Errorf("%v of %d requests, %d bytes; want %v of 91, 942404", r.Status, r.Requests, r.BytesIn, want)
	}
	if r.Failed() != 9 || r.Errors["timeout"] != 2 || r.Errors["reset"] != 7 {
		t.Errorf("errors %v, want 2 timeouts and 7 resets", r.Errors)
	}
	if _, err := load.ReadSummary([]byte("starting benchmark...\nno such host")); err == nil || !strings.Contains(err.Error(), "no such host") {
		t.Errorf("without a summary: %v", err)
	}
}

func FuzzSummaryOfH2Load(f *testing.F) {
	f.Add([]byte(summary))
	f.Add([]byte("requests: 99999999999999999999 total"))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := load.ReadSummary(text)
		if err != nil {
			return
		}
		if got := r.Status[2] + r.Status[3] + r.Status[4] + r.Status[5]; got != r.Requests || r.Failed() < 0 {
			t.Errorf("%v of %d requests, %d failed, in %q", r.Status, r.Requests, r.Failed(), text)
		}
	})
}
