// SPDX-License-Identifier: Apache-2.0

package load

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"time"
)

// Request is one kind of request of a mix.
type Request struct {
	// Name is for the report and may be empty.
	Name string
	// Weight is its share of the mix, relative to the other weights; at least 1.
	Weight int
	// Wire is the whole request as it is sent: HTTP/1.1 head and body. It must
	// not change during a run. A request that says Connection: close ends its
	// connection.
	Wire []byte
	// NoBody says that the answer has no body whatever its head says. A request
	// whose method is HEAD needs no telling.
	NoBody bool
}

// Plan says what is offered to whom. Address and Mix are needed; the other
// zero values are ready to use.
type Plan struct {
	// Address is the host:port that is dialled. A name is looked up once.
	Address string
	// TLS is what connections are made with; nil means plaintext. Without a
	// ServerName, the host of Address is asked for.
	TLS *tls.Config
	// Protocol is what is spoken: http/1.1, which empty means, too, or HTTP2,
	// which h2load speaks: with prior knowledge or, over TLS, by ALPN, without
	// looking at certificates. Then the mix has one GET, and there are neither
	// Rate nor Requests nor PerConnection nor progress.
	Protocol string
	// Streams is how many requests there are at once on a connection of HTTP/2.
	// Zero means 1, and other protocols know no more.
	Streams int
	// Mix holds the kinds of requests, at least one. They are drawn by a fixed
	// smooth schedule: of as many requests as the weights sum up to, divided by
	// what divides them all, each kind has exactly its weight.
	Mix []Request
	// Connections is how many there are at once. Zero means 64.
	Connections int
	// Rate is how many requests are sent in a second, evenly scheduled over all
	// connections, with latencies counted from when each was due. Zero means a
	// closed loop: each connection sends when it has its answer.
	Rate float64
	// Duration is how long is measured. Zero means 10 s.
	Duration time.Duration
	// Warmup goes before it and is not counted.
	Warmup time.Duration
	// Requests ends the measured time once so many requests are answered or
	// failed, and no more are sent. Zero means no bound.
	Requests int64
	// PerConnection is how many requests a connection carries before it is
	// closed and replaced; 1 means a new connection for each request, whose
	// latency then includes connecting. Zero means no bound. Where this is set,
	// or Connections is above 10,000, Linux spreads connections to an address of
	// 127.0.0.0/8 over many local addresses, so that ports do not run out.
	PerConnection int
	// Timeout bounds one request, counted from when a connection takes it, and
	// with it connecting. Zero means 10 s. It is noticed up to a tenth late, and
	// at most 100 ms.
	Timeout time.Duration
}

// errNoMix reports a plan that says nothing to send.
var errNoMix = errors.New("load: the mix is empty")

// spreadAbove is the number of connections from which one local address may
// run out of ports, of which there are about 28,000.
const spreadAbove = 10_000

// checked returns the plan with its defaults, or what is wrong with it.
func (p Plan) checked() (Plan, error) {
	p.Protocol = cmp.Or(p.Protocol, "http/1.1")
	p.Connections = cmp.Or(p.Connections, 64)
	p.Streams = cmp.Or(p.Streams, 1)
	p.Duration = cmp.Or(p.Duration, 10*time.Second)
	p.Timeout = cmp.Or(p.Timeout, 10*time.Second)
	host, _, err := net.SplitHostPort(p.Address)
	switch {
	case err != nil:
		return p, fmt.Errorf("load: address %q is not host:port: %w", p.Address, err)
	case p.Protocol != "http/1.1" && p.Protocol != HTTP2:
		return p, fmt.Errorf("load: unknown protocol %q; known: http/1.1, %s", p.Protocol, HTTP2)
	case p.Streams < 1 || p.Streams > 1 && p.Protocol != HTTP2:
		return p, fmt.Errorf("load: %d streams; 1, or more over HTTP/2", p.Streams)
	case len(p.Mix) == 0:
		return p, errNoMix
	case p.Connections < 0 || p.PerConnection < 0 || p.Requests < 0:
		return p, errors.New("load: connections, requests and requests per connection cannot be negative")
	case p.Duration < 0 || p.Warmup < 0 || p.Timeout < 0:
		return p, errors.New("load: duration, warm-up and timeout cannot be negative")
	case p.Rate < 0 || math.IsNaN(p.Rate) || p.Rate > 1e9:
		return p, fmt.Errorf("load: a rate of %v requests a second cannot be kept; at most 1e9", p.Rate)
	}
	for i, r := range p.Mix {
		switch {
		case r.Weight < 1:
			return p, fmt.Errorf("load: request %d of the mix (%q) has weight %d; at least 1", i, r.Name, r.Weight)
		case len(r.Wire) == 0:
			return p, fmt.Errorf("load: request %d of the mix (%q) has nothing to send", i, r.Name)
		}
	}
	if p.TLS != nil && p.TLS.ServerName == "" && !p.TLS.InsecureSkipVerify {
		p.TLS = p.TLS.Clone()
		p.TLS.ServerName = host
	}
	return p, nil
}
