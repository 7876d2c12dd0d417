// SPDX-License-Identifier: Apache-2.0

//go:build !race

package proxy_test

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// TestExchangeByTLSDoesNotAllocate holds it for exchanges over kept connections
// with instances that speak TLS, that are told of the client by a PROXY header,
// or both.
func TestExchangeByTLSDoesNotAllocate(t *testing.T) {
	const n = 20_000
	for _, tt := range []struct {
		name  string
		tls   bool
		proxy routing.ProxyVersion
		body  int
	}{
		{"TLS", true, routing.ProxyNone, 0},
		{"TLS and a body", true, routing.ProxyNone, 1 << 10},
		{"a PROXY header", false, routing.ProxyV2, 0},
		{"a PROXY header and TLS", true, routing.ProxyV1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			answer := "HTTP/1.1 200 OK\r\nContent-Length: 128\r\n\r\n" + strings.Repeat("x", 128)
			in := newInner(t)
			b := start(t, in.options)
			port := freeport.One(t)
			b.publish(port, func(r *routing.Route) {
				r.ProxyProtocol = tt.proxy
				if tt.tls {
					r.TLS = in.dial()
				}
			}, rawOriginBehind(t, tt.proxy, in.configIf(tt.tls), tt.body, answer))
			request := fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", tt.body, strings.Repeat("p", tt.body))
			most := uint64(few)
			if tt.tls {
				most += 2 * n // crypto/tls makes one whenever it reads, here and at the origin
			}
			if got, _ := allocating(t, port, n, request, len(answer)); got > most {
				t.Errorf("%d allocations in %d exchanges, want none in an exchange but those of crypto/tls", got, n)
			}
		})
	}
}

// configIf returns how instances speak TLS, nil if they do not.
func (n *inner) configIf(speak bool) *tls.Config {
	if !speak {
		return nil
	}
	return n.config()
}

// rawOriginBehind is rawOrigin behind a PROXY header, if there is to be one,
// and TLS, unless config is nil.
func rawOriginBehind(t *testing.T, version routing.ProxyVersion, config *tls.Config, body int, answer string) string {
	t.Helper()
	ln := listen(t)
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				if version != routing.ProxyNone {
					if _, err := readHeader(nc); err != nil {
						return
					}
				}
				if config != nil {
					nc = tls.Server(nc, config)
				}
				answerAll(nc, body, []byte(answer))
			}()
		}
	}()
	return ln.Addr().String()
}
