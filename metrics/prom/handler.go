// SPDX-License-Identifier: Apache-2.0

package prom

import (
	"compress/gzip"
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/sluice-mesh/sluice/metrics"
)

// maxScrapes bounds how many answers are made at the same time: one for 10,000
// gateways takes seconds of a CPU. More get a 503.
const maxScrapes = 3

// Handler shows the registry, the Go runtime, the process, and whatever extra
// gathers. It takes no lock that counting takes. What gateways and routes count
// is written while it is read, family by family, so that an answer in text takes
// some megabytes however many there are, and one in protobuf as much as its
// largest family, some 0.6 KB a route; two families of one answer are therefore
// not of one instant. Families of extra have names of their own. What cannot be
// gathered or encoded is left out and counted in
// promhttp_metric_handler_errors_total.
func Handler(r *metrics.Registry, extra ...prometheus.Gatherer) http.Handler {
	base := prometheus.NewRegistry()
	h := &handler{
		registry: r,
		others:   append(prometheus.Gatherers{base}, extra...),
		seats:    make(chan struct{}, maxScrapes),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "promhttp_metric_handler_errors_total",
			Help: "Total number of internal errors encountered by the promhttp metric handler.",
		}, []string{"cause"}),
	}
	base.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		h.errors,
	)
	h.errors.WithLabelValues("gathering")
	h.errors.WithLabelValues("encoding")
	return h
}

type handler struct {
	registry *metrics.Registry
	others   prometheus.Gatherers
	seats    chan struct{} // taken by those who write
	errors   *prometheus.CounterVec
}

// ServeHTTP answers with all families by name, or with those that name[] asks
// for, in the form that the client likes best.
func (h *handler) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	select {
	case h.seats <- struct{}{}:
		defer func() { <-h.seats }()
	default:
		http.Error(rw, "Too many scrapes at the same time; try again later.", http.StatusServiceUnavailable)
		return
	}
	format := expfmt.NegotiateIncludingOpenMetrics(req.Header)
	rw.Header().Set("Content-Type", string(format))
	w := writing{out: rw, format: format}
	if takesGzip(req.Header) {
		rw.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(rw)
		defer z.Close()
		w.out = z
	}
	h.write(&w, req.URL.Query()["name[]"])
	h.errors.WithLabelValues("encoding").Add(float64(w.left))
	if w.err != nil && w.left > 0 {
		panic(http.ErrAbortHandler) // so that nobody takes it for all
	}
}

// write writes all families by name; those of names alone, if there are any.
func (h *handler) write(w *writing, names []string) {
	others, err := h.others.Gather()
	if err != nil {
		h.errors.WithLabelValues("gathering").Inc()
	}
	e := exposition{registry: h.registry, native: w.format.FormatType() == expfmt.TypeProtoDelim}
	list := make([]item, 0, len(others)+len(sources)+64)
	for _, f := range append(e.values(), others...) {
		list = append(list, item{f.GetName(), func() { w.whole(f) }})
	}
	for i := range sources {
		list = append(list, item{sources[i].family.Name, func() { w.family(h.registry, &sources[i]) }})
	}
	slices.SortFunc(list, func(a, b item) int { return strings.Compare(a.name, b.name) })
	for _, one := range list {
		if len(names) == 0 || slices.Contains(names, one.name) {
			one.write()
		}
	}
	w.end()
}

// item is a family that is to be written.
type item struct {
	name  string
	write func()
}

// takesGzip reports whether a client takes answers in gzip (RFC 9110 section
// 12.5.3): it names it, or anything, and not with a quality of 0.
func takesGzip(header http.Header) bool {
	takes := false
	for _, line := range header.Values("Accept-Encoding") {
		for coding := range strings.SplitSeq(line, ",") {
			name, quality, _ := strings.Cut(strings.TrimSpace(coding), ";")
			q, weighed := strings.CutPrefix(strings.TrimSpace(quality), "q=")
			ok := !weighed || strings.Trim(q, "0.") != ""
			switch name = strings.TrimSpace(name); {
			case strings.EqualFold(name, "gzip"):
				return ok
			case name == "*":
				takes = ok
			}
		}
	}
	return takes
}

// Gatherer returns the families of the registry alone, with native
// histograms beside the classic ones.
func Gatherer(r *metrics.Registry) prometheus.Gatherer { return gatherer{r} }

// gatherer gathers our families itself: a prometheus.Registry would take each
// of some million samples through a channel and a table of hashes, to check
// what holds by construction.
type gatherer struct{ registry *metrics.Registry }

// Gather returns all families by name.
func (g gatherer) Gather() ([]*dto.MetricFamily, error) {
	families := expose(g.registry, true)
	slices.SortFunc(families, func(a, b *dto.MetricFamily) int {
		return strings.Compare(a.GetName(), b.GetName())
	})
	return families, nil
}
