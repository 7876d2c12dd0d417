// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// lenient takes connections that begin with a PROXY header and such that do
// not.
type lenient struct{ net.Listener }

func (l lenient) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &lenientConn{Conn: nc, r: bufio.NewReader(nc)}, nil
}

type lenientConn struct {
	net.Conn

	once sync.Once
	r    *bufio.Reader
}

func (c *lenientConn) Read(b []byte) (int, error) {
	c.once.Do(func() {
		if first, err := c.r.Peek(1); err == nil && first[0] != 0x16 {
			_, _ = readHeader(c.r)
		}
	})
	return c.r.Read(b)
}

// However the ways change in which instances are spoken to, no request fails,
// and no connection is left behind.
func TestWaysChangeUnderLoad(t *testing.T) {
	publishes := 200
	if testing.Short() {
		publishes = 30
	}
	n := newInner(t)
	pair := n.Issue(t, "shop.internal", "cart.internal").TLS()
	s := httptest.NewUnstartedServer(http.HandlerFunc(echo))
	s.Listener = tls.NewListener(lenient{s.Listener}, &tls.Config{Certificates: []tls.Certificate{pair}})
	s.Start()
	t.Cleanup(s.Close)
	b := start(t, n.options)
	p := freeport.One(t)
	address := s.Listener.Addr().String()
	change := func(i int) {
		b.publish(p, n.shape(func(r *routing.Route) {
			r.TLS.Name = []string{"shop.internal", "cart.internal"}[i%2]
			r.ProxyProtocol = []routing.ProxyVersion{routing.ProxyNone, routing.ProxyV1, routing.ProxyV2}[i%3]
		}), address)
	}
	change(0)
	url := local(p)
	l := &load{stop: make(chan struct{})}
	kept, fresh := client(t), client(t)
	fresh.Transport.(*http.Transport).DisableKeepAlives = true
	large := strings.Repeat("0123456789abcdef", 20<<10)
	l.run(t, func() error { return post(t, kept, url, "small") })
	l.run(t, func() error { return post(t, fresh, url, "small") })
	l.run(t, func() error { return post(t, kept, url, large) })
	for i := range publishes {
		change(i + 1)
		eventually(t, "requests go on", func() bool { return l.sent.Load() > int64(i) })
	}
	close(l.stop)
	l.all.Wait()
	if l.failed.Load() > 0 {
		t.Errorf("%d of %d requests failed in %d changes, want none", l.failed.Load(), l.sent.Load(), publishes)
	}
	change(publishes + 1) // another way than the last one: what is kept by that one is closed
	kept.CloseIdleConnections()
	eventually(t, "what belonged to clients ends with them", func() bool { return b.open("upstream") == 0 })
}

// open returns how many connections of a kind are open.
func (b *bed) open(kind string) float64 {
	return b.counted("sluice_connections_open", metrics.Label{Name: "kind", Value: kind})
}
