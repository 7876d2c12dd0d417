// SPDX-License-Identifier: Apache-2.0

package prom

import (
	"net/http"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/sluice-mesh/sluice/metrics"
)

// maxScrapes bounds how many answers are made at the same time: one for
// 10,000 routes takes some 150 MB of memory while it is made. More get
// a 503.
const maxScrapes = 3

// Handler shows the registry, the Go runtime, the process, and whatever extra
// gathers. It takes no lock that counting takes. Families of extra have names
// of their own. A part that cannot be gathered is left out and counted in
// promhttp_metric_handler_errors_total.
func Handler(r *metrics.Registry, extra ...prometheus.Gatherer) http.Handler {
	base := prometheus.NewRegistry()
	base.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	others := append(prometheus.Gatherers{base}, extra...)
	o := promhttp.HandlerOpts{
		Registry:            base,
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes,
		EnableOpenMetrics:   true,
	}
	text := promhttp.HandlerFor(gatherer{r, others, false}, o)
	protobuf := promhttp.HandlerFor(gatherer{r, others, true}, o)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if expfmt.NegotiateIncludingOpenMetrics(req.Header).FormatType() == expfmt.TypeProtoDelim {
			protobuf.ServeHTTP(w, req)
			return
		}
		text.ServeHTTP(w, req)
	})
}

// Gatherer returns the families of the registry alone, with native
// histograms beside the classic ones.
func Gatherer(r *metrics.Registry) prometheus.Gatherer { return gatherer{r, nil, true} }

// gatherer gathers our families itself: a prometheus.Registry would take each
// of some million samples through a channel and a table of hashes, to check
// what holds by construction.
type gatherer struct {
	registry *metrics.Registry
	others   prometheus.Gatherers // may be nil
	native   bool
}

// Gather returns all families by name, with those it could get if there is an
// error.
func (g gatherer) Gather() ([]*dto.MetricFamily, error) {
	families := expose(g.registry, g.native)
	var err error
	if g.others != nil {
		var rest []*dto.MetricFamily
		rest, err = g.others.Gather()
		families = append(families, rest...)
	}
	slices.SortFunc(families, func(a, b *dto.MetricFamily) int {
		return strings.Compare(a.GetName(), b.GetName())
	})
	return families, err
}
