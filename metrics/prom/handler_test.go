// SPDX-License-Identifier: Apache-2.0

package prom_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/metrics/prom"
)

var update = flag.Bool("update", false, "rewrite the files in testdata")

const (
	protobuf    = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
	openMetrics = "application/openmetrics-text;version=1.0.0"
)

// sample returns a registry in which every family has series.
func sample() *metrics.Registry {
	r := metrics.New(metrics.Options{
		Reasons: []string{"none", "no_route", "connect_refused"},
		Now:     func() time.Time { return time.Unix(1_700_000_000, 0) },
	})
	r.BuildInfo("1.2.3", "abcdef")
	r.TableVersion().Set(12)
	r.TableAge(func() float64 { return 1.5 })
	r.TableRejected("invalid").Add(0, 1)
	r.ConnectionsOpen("client").Add(0, 2)
	r.ConnectionsRefused("connection_limit").Add(0, 5)
	r.OverloadLevel(func() float64 { return 1 })
	r.TLSHandshakes("client", "failed", "version").Add(0, 2)
	r.TLSCertificateNotAfter(func(yield func(string, float64) bool) { yield("tls/shop.crt", 1_800_000_000) })
	r.TLSCertificateReloads("ok").Add(0, 3)
	r.HTTP2StreamsRefused("too_many").Add(0, 2)
	r.HTTP2ConnectionsEnded("age").Add(0, 7)
	r.RequestsRefused("no_gateway").Add(0, 3)
	r.Retries("connected").Add(0, 4)
	r.EditsSkipped("rewrite").Add(0, 1)
	r.RateKeysForgotten().Add(0, 6)
	r.Panics()
	r.Books()
	r.ControlProxies(func(yield func(string, int) bool) { _ = yield("current", 3) && yield("behind", 1) })
	r.ControlSessionsEnded("closed").Add(0, 2)
	r.ControlSessionsRefused("identity").Add(0, 1)
	r.ControlMessagesDropped("rate").Add(0, 4)
	r.ControlUpdates().Add(0, 9)
	r.ControlUpdateBytes().Add(0, 4096)
	r.ControlSeries(func() float64 { return 12 })
	r.ControlSeriesLeftOut().Add(0, 1)
	r.Discovery(func(yield func(metrics.Discovery) bool) { yield(metrics.Discovery{Resource: "pods", Objects: 3}) })
	r.ControlEvents("stored").Add(0, 8)
	r.ControlEventStreams().Add(0, 2)
	r.ControlEventStreamsEnded("slow").Add(0, 1)
	r.KubernetesLeader().Set(1)
	r.KubernetesWrites("service", "done").Add(0, 3)
	for _, took := range []time.Duration{20 * time.Millisecond, 30 * time.Millisecond, 3 * time.Minute} {
		r.ControlConvergence("config").Observe(took)
	}
	r.ControlConnected().Set(1)
	r.ControlReconnects().Add(0, 3)
	r.TableStale(func() float64 { return 2.5 })
	r.TableIgnored("older").Add(0, 1)
	r.TableHeldBack().Set(2)
	r.TableDiskWrites("ok").Add(0, 5)
	r.TableDiskDamaged().Set(1)
	gw := r.Gateway("shop")
	stable, canary := gw.Route("shop/1.0.0"), gw.Route(`[::1]:80 "\`)
	gw.SetShares([]metrics.Share{{Route: stable, Asked: 0.9}, {Route: canary, Asked: 0.1}})
	gw.SetConditions([]metrics.ConditionKey{{Route: canary.Path(), Condition: "User-Agent == Firefox"}})
	serve := func(route *metrics.Route, o metrics.Observation) {
		gw.Conditions().Asked(0, 1, false)
		route.Begin(0)
		route.End(0, &o)
	}
	for _, d := range []time.Duration{20 * time.Microsecond, time.Millisecond, 3 * time.Millisecond, time.Second, 2 * time.Minute} {
		serve(stable, metrics.Observation{Code: 200, Duration: d, Upstream: d / 2, BytesIn: 100, BytesOut: 1000})
	}
	serve(canary, metrics.Observation{Code: 502, Duration: time.Millisecond, BytesIn: 100, BytesOut: 50, Reason: 2})
	serve(canary, metrics.Observation{Code: 200, GRPC: 15}) // which Code does not tell of
	gw.Begin(0)
	gw.End(0, &metrics.Observation{Code: 503, Reason: 1}) // reached no route
	gw.Conditions().Asked(0, 0, true)
	canary.BeginTaken(0)
	stable.SetLoad(func() metrics.Load { return metrics.Load{Queues: true, Queued: 7} })
	canary.SetLoad(func() metrics.Load { return metrics.Load{Breaks: true, Breaker: 2, Opened: 3} })
	canary.SetRetries(func(uint64) metrics.RouteRetries { return metrics.RouteRetries{Begun: 8, Spent: 2, Budget: 0.25} })
	stable.SetInstances(func() metrics.Instances {
		return metrics.Instances{Watched: true, States: [4]int{5, 1, 0, 2}, Ejections: [3]uint64{4, 0, 6}, Panic: true, Panics: 3, Checked: true, Checks: [2]uint64{9, 2}}
	})
	tunnels := stable.Tunnels()
	tunnels.Open()
	tunnels.Open()
	tunnels.BytesIn(0, 10)
	tunnels.BytesOut(0, 20)
	tunnels.Close(metrics.TunnelIdle)
	return r
}

// scrape returns head and body of the answer to one request.
func scrape(t *testing.T, h http.Handler, accept string) (http.Header, []byte) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody)
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	if w.Code != http.StatusOK {
		t.Fatalf("GET /metrics = %d %s", w.Code, w.Body)
	}
	return w.Header(), w.Body.Bytes()
}

// decode scrapes and returns the families.
func decode(t *testing.T, h http.Handler, accept string) map[string]*dto.MetricFamily {
	t.Helper()
	header, body := scrape(t, h, accept)
	families := map[string]*dto.MetricFamily{}
	d := expfmt.NewDecoder(bytes.NewReader(body), expfmt.ResponseFormat(header))
	for {
		f := new(dto.MetricFamily)
		err := d.Decode(f)
		if errors.Is(err, io.EOF) {
			return families
		}
		if err != nil {
			t.Fatal(err)
		}
		if families[f.GetName()] != nil {
			t.Errorf("%s comes twice", f.GetName())
		}
		families[f.GetName()] = f
	}
}

func TestTextIsAsWritten(t *testing.T) {
	_, body := scrape(t, prom.Handler(sample()), "")
	var got bytes.Buffer
	for line := range strings.Lines(string(body)) {
		name := strings.TrimPrefix(strings.TrimPrefix(line, "# HELP "), "# TYPE ")
		if strings.HasPrefix(name, "sluice_") {
			got.WriteString(strings.ReplaceAll(line, runtime.Version(), "GOVERSION"))
		}
	}
	path := filepath.Join("testdata", "metrics.txt")
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("the text differs from %s (rewrite it with -update):\n%s", path, got.Bytes())
	}
}

func TestLint(t *testing.T) {
	problems, err := testutil.GatherAndLint(prom.Gatherer(sample()))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// A registry of client_golang checks what it gathers: labels in order, no
// series twice, all valid.
func TestFamiliesPassTheChecksOfARegistry(t *testing.T) {
	if _, err := (prometheus.Gatherers{prom.Gatherer(sample())}).Gather(); err != nil {
		t.Error(err)
	}
}

func TestFormatsAreNegotiated(t *testing.T) {
	h := prom.Handler(sample())
	for _, tt := range []struct{ name, accept, contentType string }{
		{"text if nothing is asked for", "", "text/plain"},
		{"text for a browser", "text/html,*/*;q=0.8", "text/plain"},
		{"OpenMetrics", openMetrics, "application/openmetrics-text"},
		{"protobuf", protobuf, "application/vnd.google.protobuf"},
		{"what a scraper likes best", protobuf + ";q=0.7," + openMetrics + ";q=0.6,text/plain;q=0.5", "application/vnd.google.protobuf"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			header, body := scrape(t, h, tt.accept)
			if got := header.Get("Content-Type"); !strings.HasPrefix(got, tt.contentType) {
				t.Errorf("Content-Type = %q, want %q", got, tt.contentType)
			}
			for _, want := range []string{"sluice_requests", "go_goroutines", "process_start_time_seconds"} {
				if !bytes.Contains(body, []byte(want)) {
					t.Errorf("the answer has no %s", want)
				}
			}
			if tt.contentType == "application/openmetrics-text" && !bytes.HasSuffix(body, []byte("# EOF\n")) {
				t.Error("OpenMetrics does not end in # EOF")
			}
		})
	}
}

// nativeCounts returns the count of each native index, as readers of spans and
// deltas do.
func nativeCounts(h *dto.Histogram) map[int]int64 {
	counts := map[int]int64{}
	index, at, count := 0, 0, int64(0)
	for _, s := range h.GetPositiveSpan() {
		index += int(s.GetOffset())
		for range s.GetLength() {
			count += h.GetPositiveDelta()[at]
			counts[index] = count
			index++
			at++
		}
	}
	return counts
}

func TestNativeHistograms(t *testing.T) {
	r := metrics.New(metrics.Options{})
	route := r.Gateway("shop").Route("a")
	durations := []time.Duration{
		0, 61035, // not above the lowest bound, 2^-14 s
		61036, 70 * time.Microsecond, 80 * time.Microsecond,
		time.Millisecond, time.Millisecond,
		time.Second, time.Second + 1,
		64 * time.Second, 65 * time.Second, time.Hour,
	}
	want := map[int]int64{} // by native index
	var below int64
	for _, d := range durations {
		route.Begin(0)
		route.End(0, &metrics.Observation{Code: 200, Duration: d})
		switch index := int(math.Ceil(math.Log2(d.Seconds()) * 4)); {
		case d.Seconds() <= math.Ldexp(1, -14):
			below++
		case d > 64*time.Second:
			want[25]++
		default:
			want[index]++
		}
	}
	h := decode(t, prom.Handler(r), protobuf)[metrics.RequestDuration.Name].GetMetric()[0].GetHistogram()
	if h.GetSchema() != 2 || h.GetZeroThreshold() != math.Ldexp(1, -14) || h.GetZeroCount() != uint64(below) {
		t.Errorf("schema %d, zero bucket %d up to %v; want 2, %d up to 2^-14",
			h.GetSchema(), h.GetZeroCount(), h.GetZeroThreshold(), below)
	}
	got := nativeCounts(h)
	for index, n := range got {
		if n == 0 {
			delete(got, index) // bridges between spans
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("native buckets = %v, want %v", got, want)
	}
	if h.GetSampleCount() != uint64(len(durations)) || len(h.GetBucket()) != 41 {
		t.Errorf("%d observations in %d classic buckets, want %d in 41", h.GetSampleCount(), len(h.GetBucket()), len(durations))
	}
	for _, b := range h.GetBucket() {
		var n uint64
		for _, d := range durations {
			if d.Seconds() <= b.GetUpperBound() {
				n++
			}
		}
		if b.GetCumulativeCount() != n {
			t.Errorf("classic bucket le=%v = %d, want %d", b.GetUpperBound(), b.GetCumulativeCount(), n)
		}
	}
}

func TestTextHasNoNativeHistograms(t *testing.T) {
	for name, f := range decode(t, prom.Handler(sample()), "") {
		for _, m := range f.GetMetric() {
			if h := m.GetHistogram(); h != nil && strings.HasPrefix(name, "sluice_") {
				if got := len(h.GetBucket()); got != 42 {
					t.Errorf("%s has %d buckets, want 41 and +Inf", name, got)
				}
			}
		}
	}
}

func TestSeriesSayWhenTheyBegan(t *testing.T) {
	for name, f := range decode(t, prom.Handler(sample()), protobuf) {
		for _, m := range f.GetMetric() {
			if !strings.HasPrefix(name, "sluice_") || m.GetGauge() != nil {
				continue
			}
			created := m.GetCounter().GetCreatedTimestamp()
			if m.GetHistogram() != nil {
				created = m.GetHistogram().GetCreatedTimestamp()
			}
			if got := created.GetSeconds(); got != 1_700_000_000 {
				t.Errorf("%s began at %d, want 1700000000", name, got)
			}
		}
	}
}

func TestExtraFamilies(t *testing.T) {
	extra := prometheus.NewRegistry()
	extra.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "aaa", Help: "Extra."}, func() float64 { return 1 }))
	broken := prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) { return nil, errors.New("out of order") })
	h := prom.Handler(sample(), extra, broken)
	families := decode(t, h, protobuf)
	if families["aaa"] == nil || families[metrics.Requests.Name] == nil {
		t.Error("families are missing beside a part that cannot be gathered")
	}
	faults := decode(t, h, protobuf)["promhttp_metric_handler_errors_total"]
	var n float64
	for _, m := range faults.GetMetric() {
		n += m.GetCounter().GetValue()
	}
	if n == 0 {
		t.Error("the part that cannot be gathered is not counted")
	}
}

// Scrapes run beside counting, in all formats; what is counted comes out
// exact, and no counter ever falls.
func TestScrapesWhileCounting(t *testing.T) {
	const workers, each = 4, 5000
	r := metrics.New(metrics.Options{Shards: 4})
	h := prom.Handler(r)
	gw := r.Gateway("shop")
	gw.SetConditions([]metrics.ConditionKey{{Route: "a", Condition: "x"}})
	var counting sync.WaitGroup
	for w := range uint32(workers) {
		counting.Go(func() {
			route := gw.Route(fmt.Sprint("r", w%2))
			o := metrics.Observation{Code: 200, Duration: time.Millisecond, Upstream: time.Microsecond, BytesOut: 3}
			for range each {
				route.Begin(w)
				gw.Conditions().Asked(w, 1, false)
				route.End(w, &o)
			}
		})
	}
	done := make(chan struct{})
	go func() { counting.Wait(); close(done) }()
	var last float64
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		for _, accept := range []string{"", openMetrics} {
			scrape(t, h, accept)
		}
		total := sum(decode(t, h, protobuf)[metrics.GatewayRequests.Name])
		if total < last {
			t.Fatalf("requests fell from %v to %v", last, total)
		}
		last = total
	}
	families := decode(t, h, protobuf)
	for _, f := range []metrics.Family{metrics.Requests, metrics.GatewayRequests} {
		if got := sum(families[f.Name]); got != workers*each {
			t.Errorf("%s = %v, want %d", f.Name, got, workers*each)
		}
	}
	if got := sum(families[metrics.ResponseBytes.Name]); got != 3*workers*each {
		t.Errorf("%s = %v, want %d", metrics.ResponseBytes.Name, got, 3*workers*each)
	}
	if got := sum(families[metrics.ConditionEvaluations.Name]); got != workers*each {
		t.Errorf("%s = %v, want %d", metrics.ConditionEvaluations.Name, got, workers*each)
	}
	for _, m := range families[metrics.UpstreamDuration.Name].GetMetric() {
		if route := m.GetLabel()[1].GetValue(); route != "a" && m.GetHistogram().GetSampleCount() != workers*each/2 {
			t.Errorf("%s of %s = %d, want %d", metrics.UpstreamDuration.Name, route, m.GetHistogram().GetSampleCount(), workers*each/2)
		}
	}
}

// sum adds up the counters of a family.
func sum(f *dto.MetricFamily) (total float64) {
	for _, m := range f.GetMetric() {
		total += m.GetCounter().GetValue()
	}
	return total
}

// The page of metrics, the list in the code and what is shown name the same
// families, with the same kinds and labels.
func TestPageNamesWhatIsShown(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	var documented []string // name kind labels
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, "|")
		if len(cells) < 5 || !strings.HasPrefix(cells[1], " `sluice_") {
			continue
		}
		var labels []string
		for label := range strings.SplitSeq(strings.ReplaceAll(cells[3], "`", ""), ",") {
			if label = strings.TrimSpace(label); label != "–" {
				labels = append(labels, label)
			}
		}
		slices.Sort(labels)
		documented = append(documented, fmt.Sprint(strings.Trim(cells[1], " `"), " ", strings.TrimSpace(cells[2]), " ", labels))
	}
	var listed, exposed []string
	for _, f := range metrics.Families() {
		listed = append(listed, fmt.Sprint(f.Name, " ", f.Kind, " ", f.Labels))
	}
	families, err := prom.Gatherer(sample()).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		labels := []string{}
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		exposed = append(exposed, fmt.Sprint(f.GetName(), " ", strings.ToLower(f.GetType().String()), " ", labels))
	}
	for _, list := range [][]string{documented, listed, exposed} {
		slices.Sort(list)
	}
	if !slices.Equal(documented, listed) {
		t.Errorf("docs/metrics.md names\n%s\nwant\n%s", strings.Join(documented, "\n"), strings.Join(listed, "\n"))
	}
	if !slices.Equal(exposed, listed) {
		t.Errorf("shown are\n%s\nwant\n%s", strings.Join(exposed, "\n"), strings.Join(listed, "\n"))
	}
}
