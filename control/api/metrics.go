// SPDX-License-Identifier: Apache-2.0

package api

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-mesh/sluice/control/auth"
	"github.com/sluice-mesh/sluice/control/book"
)

// metricRoutes are those of metrics.
func (a *API) metricRoutes() []route {
	return []route{
		{method: http.MethodGet, path: "/metrics/gateways/{gateway...}/routes/{route...}/{metric}", need: auth.Viewer, serve: (*call).metric},
		{method: http.MethodGet, path: "/metrics/gateways/{gateway...}/{metric}", need: auth.Viewer, serve: (*call).metric},
		{method: http.MethodGet, path: "/gateways/{gateway...}/figures", need: auth.Viewer, serve: (*call).figures},
	}
}

// numbers are what can be asked of a gateway or route by name. The first two
// are Vamp's, and as Vamp rounded them. Times are in milliseconds.
var numbers = map[string]func(*book.Figures) float64{
	"rate":         (*book.Figures).VampRate,
	"responseTime": (*book.Figures).VampResponseTime,
	"errorRate":    func(f *book.Figures) float64 { return f.ErrorRate },
	"errorRatio":   func(f *book.Figures) float64 { return f.ErrorRatio },
	"p50":          func(f *book.Figures) float64 { return f.P50 * 1e3 },
	"p90":          func(f *book.Figures) float64 { return f.P90 * 1e3 },
	"p99":          func(f *book.Figures) float64 { return f.P99 * 1e3 },
	"bytesIn":      func(f *book.Figures) float64 { return f.BytesIn },
	"bytesOut":     func(f *book.Figures) float64 { return f.BytesOut },
	"inFlight":     func(f *book.Figures) float64 { return float64(f.InFlight) },
}

// metric answers one number of a gateway or route.
func (c *call) metric() error {
	number := numbers[c.param("metric")]
	if number == nil {
		return missing("metrics", c.param("metric"))
	}
	f, err := c.figuresOf(c.param("gateway"), c.param("route"))
	if err != nil {
		return err
	}
	return c.bare(number(f))
}

// bare answers a bare number, with a decimal as Vamp did.
func (c *call) bare(n float64) error {
	text := strconv.FormatFloat(n, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	c.send(http.StatusOK, typeJSON, []byte(text))
	return nil
}

// figuresOf returns the figures of a gateway, or of one of its routes if route
// is not empty. What is there but was not asked for anything has figures of
// nothing.
func (c *call) figuresOf(gateway, route string) (*book.Figures, error) {
	if c.api.o.Book != nil {
		if f, ok := c.api.o.Book.Figures(c.ns, gateway, route, c.window()); ok {
			return &f, nil
		}
	}
	if !c.planned(gateway, route) {
		if route != "" {
			return nil, missing("gateways", gateway+"/routes/"+route)
		}
		return nil, missing("gateways", gateway)
	}
	return new(book.Figures), nil
}

// planned reports whether there is such a gateway, with such a route if route
// is not empty.
func (c *call) planned(gateway, route string) bool {
	plan, ok := c.api.o.Plans.Last(c.ns)
	if !ok || plan.Table == nil {
		return false
	}
	for _, g := range plan.Table.Gateways {
		if g.Name != gateway {
			continue
		}
		if route == "" {
			return true
		}
		for _, r := range g.Routes {
			if r.Path == route {
				return true
			}
		}
	}
	return false
}

// window reads which window is asked for: seconds, or a time such as 1m. What
// is neither means the longest one, as 0 does.
func (c *call) window() time.Duration {
	text := c.query.Get("window")
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && seconds > 0 && seconds < 1e6 {
		return time.Duration(seconds * float64(time.Second))
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0
	}
	return d
}

// gatewayFigures is what is answered of a gateway.
type gatewayFigures struct {
	book.GatewayFigures
	Ill []book.Ill `json:"ill_instances"`
}

// figures answers all figures of a gateway, with those of its routes and
// conditions, and its instances that are not well.
func (c *call) figures() error {
	name := c.param("gateway")
	shown := gatewayFigures{Ill: []book.Ill{}}
	known := false
	if b := c.api.o.Book; b != nil {
		if shown.GatewayFigures, known = b.Gateway(c.ns, name, c.window()); known {
			shown.Ill = b.Ill(c.ns, name)
		}
	}
	if !known && !c.planned(name, "") {
		return missing("gateways", name)
	}
	if !known {
		shown.GatewayFigures = book.GatewayFigures{
			Gateway: name, Figures: book.Figures{Codes: map[string]uint64{}, Reasons: map[string]uint64{}},
			Routes: []book.RouteFigures{}, Conditions: []book.ConditionFigures{},
		}
	}
	return c.answer(http.StatusOK, shown)
}
