// SPDX-License-Identifier: Apache-2.0

package book

import "time"

// Figures are what a gateway, or one of its routes, does in a window. Times
// are in seconds and rates by second.
type Figures struct {
	Window        float64 `json:"window_seconds"` // what was asked for: 10, 60 or 300
	Covers        float64 `json:"covers_seconds"` // what it covers
	Requests      uint64  `json:"requests"`       // exchanges that ended
	Rate          float64 `json:"requests_per_second"`
	Errors        uint64  `json:"errors"` // those of them that ended in 5xx
	ErrorRate     float64 `json:"errors_per_second"`
	ErrorRatio    float64 `json:"error_ratio"`  // 0 to 1; 0 without requests
	Mean          float64 `json:"mean_seconds"` // 0 without requests, as the quantiles
	P50           float64 `json:"p50_seconds"`
	P90           float64 `json:"p90_seconds"`
	P99           float64 `json:"p99_seconds"`
	UpstreamMean  float64 `json:"upstream_mean_seconds"` // what the instances took of it
	BytesIn       float64 `json:"bytes_in_per_second"`
	BytesOut      float64 `json:"bytes_out_per_second"`
	InFlight      float64 `json:"in_flight"`
	Codes         Codes   `json:"codes"`                    // by class of the status
	Reasons       Reasons `json:"reasons,omitempty"`        // answers of the proxies' own making
	RequestsTotal uint64  `json:"requests_total"`           // since the control plane started to listen, and what proxies had counted before
	Instances     Counts  `json:"instances,omitempty"`      // by state, added up over proxies; of routes
	HealthyShare  float64 `json:"healthy_share"`            // of instances; 1 if none is known
	Asked         float64 `json:"asked_share,omitempty"`    // of what the weights decide; of routes
	Achieved      float64 `json:"achieved_share,omitempty"` // what came of it in the window; of routes
	Decided       uint64  `json:"decided"`                  // by weight in the window
	Proxies       int     `json:"proxies"`                  // connected ones that told of it
}

// Codes counts exchanges by class of the status, such as 2xx.
type Codes map[string]uint64

// Reasons counts answers of the proxies' own making by reason.
type Reasons map[string]uint64

// Counts counts instances by state.
type Counts map[string]uint64

// ConditionFigures are what a condition did in a window.
type ConditionFigures struct {
	Route       string  `json:"route"`
	Condition   string  `json:"condition"`
	Evaluations uint64  `json:"evaluations"`
	Matches     uint64  `json:"matches"`
	Selected    uint64  `json:"selected"`
	MatchRatio  float64 `json:"match_ratio"` // 0 to 1; 0 without evaluations
}

// RouteFigures are the figures of one route.
type RouteFigures struct {
	Route string `json:"route"`
	Figures
}

// GatewayFigures are the figures of a gateway, with its routes and conditions
// by name.
type GatewayFigures struct {
	Gateway string `json:"gateway"`
	Figures
	Routes     []RouteFigures     `json:"routes"`
	Conditions []ConditionFigures `json:"conditions"`
}

// Figures returns those of a gateway, or of one of its routes if route is not
// empty, and false if nothing was told of it. The window is the shortest one
// that is not below the given time.
func (b *Book) Figures(namespace, gateway, route string, window time.Duration) (Figures, bool) {
	return Figures{}, false
}

// Gateway returns the figures of a gateway with its routes and conditions, and
// false if nothing was told of it.
func (b *Book) Gateway(namespace, gateway string, window time.Duration) (GatewayFigures, bool) {
	return GatewayFigures{}, false
}

// Gateways returns the names of the gateways of a namespace of which anything
// was told, sorted.
func (b *Book) Gateways(namespace string) []string { return nil }
