// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-mesh/sluice/bench/load"
	"github.com/sluice-mesh/sluice/bench/rival"
	"github.com/sluice-mesh/sluice/bench/scenario"
)

// Row is a load of the suite.
type Row struct {
	Key   string // by which it is chosen
	Title string // what is offered, for reports
	Unit  string // what the CPU time is counted per

	kind  rowKind
	offer scenario.Scenario
	table rival.Table // what Sluice has in its table, for scale rows
	mode  string      // of rival; empty: plain HTTP
	// streams is how many requests there are at once on each connection of
	// HTTP/2; zero: HTTP/1.1 is spoken.
	streams int
}

// rowKind is how a row is measured.
type rowKind int

// conditionsAsked is how many conditions the row about them has before the
// weights; none of them holds.
const conditionsAsked = 100

const (
	closedLoop rowKind = iota // all proxies, as fast as they answer
	halfRate                  // all proxies, at half of HAProxy's maximum
	idle                      // all proxies, connections that do nothing
	scale                     // Sluice with a large table beside itself with a small one
)

// What the rows offer.
const (
	connections       = 64
	largeConnections  = 16
	newConnections    = 32
	activeConnections = 1000
	h2Connections     = 16
	h2Streams         = 8
	idleConnections   = 5000
	mib               = 1 << 20
)

// Rows returns the rows of the suite in their order.
func Rows() []Row {
	get := func(conns int, path string) scenario.Scenario {
		return scenario.Scenario{Host: "bench.example", Connections: conns, Mix: []scenario.Kind{{Path: path}}}
	}
	connect := get(newConnections, "/")
	connect.PerConnection = 1
	post := get(connections, "/")
	post.Mix[0].Body = scenario.MadeUp(1 << 10)
	headers := get(connections, "/")
	headers.Headers = twoKilobytes()
	large := get(largeConnections, fmt.Sprintf("/bytes/%d", mib))
	return []Row{
		{Key: "small", Title: "128 B answers, 64 connections", Unit: "request", offer: get(connections, "/")},
		{Key: "10k", Title: "10 KiB answers, 64 connections", Unit: "request", offer: get(connections, "/bytes/10240")},
		{Key: "1m", Title: "1 MiB answers, 16 connections", Unit: "MiB", offer: large},
		{Key: "connect", Title: "a new connection for each request, 32 at a time", Unit: "request", offer: connect},
		{Key: "active", Title: "128 B answers, 1,000 connections", Unit: "request", offer: get(activeConnections, "/")},
		{Key: "half", Title: "constant rate, half of HAProxy's maximum, 64 connections", Unit: "request", kind: halfRate, offer: get(connections, "/")},
		{Key: "post", Title: "POST of 1 KiB, 64 connections", Unit: "request", offer: post},
		{Key: "headers", Title: "2 KiB of request headers, 64 connections", Unit: "request", offer: headers},
		{Key: "idle", Title: "idle connections, each after one request", Unit: "connection", kind: idle, offer: get(connections, "/")},
		{Key: "gateways", Title: "1,000 further gateways in the table", Unit: "request", kind: scale, offer: get(connections, "/"), table: rival.Table{Gateways: 1000}},
		{Key: "conditions", Title: fmt.Sprintf("%d conditions before the weights", conditionsAsked), Unit: "request", kind: scale, offer: get(connections, "/"), table: rival.Table{Conditions: conditionsAsked}},
		{Key: "routes", Title: "10,000 further routes in the table", Unit: "request", kind: scale, offer: get(connections, "/"), table: rival.Table{Routes: 10_000}},
		{Key: "tls", Title: "128 B answers over TLS, 64 connections", Unit: "request", offer: get(connections, "/"), mode: rival.ModeTLS},
		{Key: "tls-1m", Title: "1 MiB answers over TLS, 16 connections", Unit: "MiB", offer: large, mode: rival.ModeTLS},
		{Key: handshakes, Title: "a full TLS handshake for each request, 32 at a time", Unit: "handshake", offer: connect, mode: rival.ModeTLS},
		{Key: "tls-idle", Title: "idle TLS connections, each after one request", Unit: "connection", kind: idle, offer: get(connections, "/"), mode: rival.ModeTLS},
		{Key: "h2", Title: "128 B answers over HTTP/2, 16 connections of 8 streams, by HTTP/1.1 from instances", Unit: "request", offer: get(h2Connections, "/"), mode: rival.ModeH2, streams: h2Streams},
		{Key: "tcp", Title: "128 B round trips through TCP gateways, 64 connections", Unit: "round trip", offer: get(connections, "/"), mode: rival.ModeTCP},
		{Key: "tcp-1m", Title: "1 MiB through TCP gateways, 16 connections", Unit: "MiB", offer: large, mode: rival.ModeTCP},
	}
}

// chosen returns the rows of the given keys in the suite's order; all for no
// keys.
func chosen(keys []string) ([]Row, error) {
	all := Rows()
	if len(keys) == 0 {
		return all, nil
	}
	known := make([]string, 0, len(all))
	for _, r := range all {
		known = append(known, r.Key)
	}
	for _, key := range keys {
		if !slices.Contains(known, key) {
			return nil, fmt.Errorf("%w %q; one of %s", ErrUnknownRow, key, strings.Join(known, ", "))
		}
	}
	return slices.DeleteFunc(all, func(r Row) bool { return !slices.Contains(keys, r.Key) }), nil
}

// ErrUnknownRow reports a row that the suite does not have.
var ErrUnknownRow = errors.New("unknown row")

// byH2Load reports whether another program than ours is the generator.
func (r Row) byH2Load() bool { return r.streams > 0 }

// plan returns what a row offers to an address, over TLS if that is not nil.
func (r Row) plan(address string, over *tls.Config) (load.Plan, error) {
	p, err := r.offer.Plan(address)
	p.TLS = over
	if r.byH2Load() {
		p.Protocol, p.Streams = load.HTTP2, r.streams
	}
	return p, err
}

// String says in words how load is offered.
func (k rowKind) String() string {
	switch k {
	case halfRate:
		return "open loop"
	case idle:
		return "idle"
	default:
		return "closed loop"
	}
}

// twoKilobytes returns the header fields of a browser that has been at a shop
// for long: 2,048 bytes with names and line ends.
func twoKilobytes() []scenario.Header {
	fields := []scenario.Header{
		{Name: "User-Agent", Value: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"},
		{Name: "Accept", Value: "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
		{Name: "Accept-Language", Value: "en-GB,en;q=0.8,nl;q=0.5"},
		{Name: "Accept-Encoding", Value: "gzip, deflate, br, zstd"},
		{Name: "Referer", Value: "https://shop.example/catalogue?page=3&sort=price"},
		{Name: "Cache-Control", Value: "no-cache"},
		{Name: "Sec-Fetch-Dest", Value: "document"},
		{Name: "Sec-Fetch-Mode", Value: "navigate"},
		{Name: "Sec-Fetch-Site", Value: "same-origin"},
		{Name: "Authorization", Value: "Bearer " + strings.Repeat("eyJhbGciOi", 60)},
		{Name: "Cookie", Value: "session="},
	}
	size := 0
	for _, f := range fields {
		size += len(f.Name) + len(": ") + len(f.Value) + len("\r\n")
	}
	cookie := &fields[len(fields)-1]
	cookie.Value += strings.Repeat("0123456789abcdef", 128)[:2048-size]
	return fields
}
