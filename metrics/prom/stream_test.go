// SPDX-License-Identifier: Apache-2.0

package prom_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/metrics/prom"
)

// many returns a registry with more of everything than is written at a time.
func many() *metrics.Registry {
	r := sample()
	for i := range 130 {
		gw := r.Gateway(fmt.Sprint("many-", i))
		var keys []metrics.ConditionKey
		var shares []metrics.Share
		for k := range 2 {
			route := gw.Route(fmt.Sprint("route-", k))
			route.Begin(0)
			route.End(0, &metrics.Observation{Code: 200 + 100*(i%4), Duration: time.Duration(i) * time.Millisecond, Reason: uint8(i % 3), GRPC: uint8(i % 5)})
			route.Tunnels().Open()
			route.SetInstances(func() metrics.Instances { return metrics.Instances{Watched: true, States: [4]int{i}, Checked: true} })
			keys = append(keys, metrics.ConditionKey{Route: route.Path(), Condition: "c"})
			shares = append(shares, metrics.Share{Route: route, Asked: 0.5})
		}
		gw.SetConditions(keys)
		gw.SetShares(shares)
	}
	return r
}

// What comes in parts is, byte by byte, what an encoder of client_golang makes
// of whole families.
func TestPartsAreWhatAnEncoderWrites(t *testing.T) {
	for name, r := range map[string]*metrics.Registry{"many": many(), "few": sample(), "none": metrics.New(metrics.Options{})} {
		families, err := prom.Gatherer(r).Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, accept := range []string{"", openMetrics, protobuf} {
			t.Run(name+" "+accept, func(t *testing.T) {
				asked := url.Values{}
				header := http.Header{"Accept": {accept}}
				var want bytes.Buffer
				enc := expfmt.NewEncoder(&want, expfmt.NegotiateIncludingOpenMetrics(header))
				for _, f := range families {
					asked.Add("name[]", f.GetName())
					if err := enc.Encode(f); err != nil {
						t.Fatal(err)
					}
				}
				if c, ok := enc.(expfmt.Closer); ok {
					if err := c.Close(); err != nil {
						t.Fatal(err)
					}
				}
				req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics?"+asked.Encode(), http.NoBody)
				req.Header = header
				w := httptest.NewRecorder()
				prom.Handler(r).ServeHTTP(w, req)
				if got := w.Body.Bytes(); !bytes.Equal(got, want.Bytes()) {
					t.Errorf("%d bytes that differ from the %d of an encoder from byte %d on", len(got), want.Len(), differ(got, want.Bytes()))
				}
			})
		}
	}
}

// differ returns the first place at which two texts differ.
func differ(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// limited takes some writes, and fails from then on.
type limited struct {
	counting
	left          int
	largest, late int
}

var errGone = errors.New("the client is gone")

func (w *limited) Write(p []byte) (int, error) {
	if w.left--; w.left < 0 {
		w.late++
		return 0, errGone
	}
	w.largest = max(w.largest, len(p))
	return w.counting.Write(p)
}

func TestAnswersAreWrittenWhileTheyAreMade(t *testing.T) {
	r := many()
	for _, accept := range []string{"", openMetrics, protobuf} {
		req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody)
		req.Header.Set("Accept", accept)
		w := &limited{counting: counting{header: http.Header{}}, left: 1 << 30}
		prom.Handler(r).ServeHTTP(w, req)
		if most := 2 << 20; w.largest > most || w.n < 2*w.largest {
			t.Errorf("%q: of %d bytes %d came at once, want at most %d, and less than half", accept, w.n, w.largest, most)
		}
	}
}

func TestNothingIsMadeForAClientThatIsGone(t *testing.T) {
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody)
	w := &limited{counting: counting{header: http.Header{}}, left: 3}
	prom.Handler(many()).ServeHTTP(w, req)
	if w.late != 1 {
		t.Errorf("%d writes after the one that failed, want none", w.late-1)
	}
}

func TestAnswersAreCompressedForWhoTakesIt(t *testing.T) {
	h := prom.Handler(sample())
	for _, tt := range []struct {
		name, accept string
		want         bool
	}{
		{"nothing said", "", false},
		{"gzip", "gzip", true},
		{"gzip among others, in capitals", "br, GZIP;q=0.5", true},
		{"refused", "gzip;q=0", false},
		{"refused in full", "gzip; q=0.000, *", false},
		{"anything", "*", true},
		{"anything but", "identity, *;q=0", false},
		{"something else", "zstd, br", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics?name[]="+metrics.Requests.Name, http.NoBody)
			if tt.accept != "" {
				req.Header.Set("Accept-Encoding", tt.accept)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, req)
			if got := w.Header().Get("Content-Encoding") == "gzip"; got != tt.want {
				t.Fatalf("compressed: %t, want %t", got, tt.want)
			}
			var body io.Reader = w.Body
			if tt.want {
				z, err := gzip.NewReader(w.Body)
				if err != nil {
					t.Fatal(err)
				}
				body = z
			}
			text, err := io.ReadAll(body)
			if err != nil || !bytes.HasPrefix(text, []byte("# HELP "+metrics.Requests.Name)) {
				t.Errorf("%v: %.80q", err, text)
			}
		})
	}
}

// A family that makes no sense is left out and counted, and the rest is
// there.
func TestAFamilyThatMakesNoSenseIsLeftOut(t *testing.T) {
	name, kind := "odd_total", dto.MetricType_COUNTER
	odd := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		return []*dto.MetricFamily{{Name: &name, Type: &kind, Metric: []*dto.Metric{{}}}}, nil // counts nothing
	})
	h := prom.Handler(sample(), odd)
	for _, left := range []string{"0", "1"} {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody))
		text := rec.Body.String()
		if !strings.Contains(text, `promhttp_metric_handler_errors_total{cause="gathering"} `+left+"\n") ||
			!strings.Contains(text, "sluice_requests_total{") || strings.Contains(text, name) {
			t.Errorf("the answer is\n%.2000s\nwant all but %s, and %s left out before", text, name, left)
		}
	}
}
