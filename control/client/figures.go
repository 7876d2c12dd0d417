// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Figures are what a gateway or a route did in a window, added up over all
// proxies. Times are in seconds.
type Figures struct {
	Window     float64 `json:"window_seconds"` // 10, 60 or 300
	Covers     float64 `json:"covers_seconds"` // of it, what there are figures of
	Requests   uint64  `json:"requests"`       // exchanges that ended
	Rate       float64 `json:"requests_per_second"`
	Errors     uint64  `json:"errors"` // of them, those that ended in 5xx
	ErrorRatio float64 `json:"error_ratio"`
	Mean       float64 `json:"mean_seconds"`
	P50        float64 `json:"p50_seconds"`
	P90        float64 `json:"p90_seconds"`
	P99        float64 `json:"p99_seconds"`
	InFlight   int64   `json:"in_flight"` // now
	Proxies    int     `json:"proxies"`   // that told of it
	Total      uint64  `json:"requests_total"`
}

// RouteFigures are those of a route.
type RouteFigures struct {
	Route string `json:"route"`
	Figures
	// Asked is the share that its weight asks for, and Achieved what came of
	// it, 0 to 1.
	Asked        float64 `json:"asked_share"`
	Achieved     float64 `json:"achieved_share"`
	HealthyShare float64 `json:"healthy_share"` // of its instances, 0 to 1
}

// GatewayFigures are those of a gateway, and of its routes.
type GatewayFigures struct {
	Gateway string `json:"gateway"`
	Figures
	Routes []RouteFigures `json:"routes"`

	Body json.RawMessage `json:"-"` // all of it
}

// Figures returns what a gateway did in a window: the longest one that is kept
// if it is 0, else one that is at least as long, if there is one. If there is
// no such gateway the error is an *Error of status 404.
func (c *Client) Figures(ctx context.Context, gateway string, window time.Duration) (GatewayFigures, error) {
	a, err := c.do(ctx, call{method: http.MethodGet, path: artifactPath("gateways", gateway) + "/figures", query: windowed(window)})
	if err != nil {
		return GatewayFigures{}, err
	}
	g := GatewayFigures{Body: a.body}
	err = a.decode(&g)
	return g, err
}

// Figure returns one figure of a gateway, or of a route if that is not empty,
// in a window as of Figures: rate (requests in a second), responseTime (ms on
// average) and so on, as Vamp's metrics. If there is none the error is an
// *Error of status 404.
func (c *Client) Figure(ctx context.Context, gateway, route, name string, window time.Duration) (float64, error) {
	return c.number(ctx, "metrics", gateway, route, "/"+escape(name), window)
}

// Health returns the health of a gateway, or of a route if that is not empty,
// in a window as of Figures: from 0 to 1. If it is not known the error is an
// *Error of status 404.
func (c *Client) Health(ctx context.Context, gateway, route string, window time.Duration) (float64, error) {
	return c.number(ctx, "health", gateway, route, "", window)
}

func (c *Client) number(ctx context.Context, what, gateway, route, rest string, window time.Duration) (float64, error) {
	path := "/" + what + "/gateways/" + escape(gateway)
	if route != "" {
		path += "/routes/" + escape(route)
	}
	var n float64
	err := c.get(ctx, path+rest, windowed(window), &n)
	return n, err
}

// windowed asks for a window, in seconds.
func windowed(window time.Duration) url.Values {
	if window <= 0 {
		return nil
	}
	return url.Values{"window": {strconv.FormatFloat(window.Seconds(), 'f', -1, 64)}}
}
