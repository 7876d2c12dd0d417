// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy"
	"github.com/sluice-mesh/sluice/proxy/sniff"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// told is a server at which connections begin with a PROXY header. It answers
// each request with the number of its connection and what the header said.
type told struct {
	address string
	conns   atomic.Int64
	open    atomic.Int64
	local   atomic.Int64 // connections that were the proxy's own
}

func newTold(t *testing.T) *told {
	t.Helper()
	ln := listen(t)
	o := &told{address: ln.Addr().String()}
	var serving sync.WaitGroup
	t.Cleanup(serving.Wait)
	t.Cleanup(func() { _ = ln.Close() })
	serving.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { o.serve(nc) })
		}
	})
	return o
}

func (o *told) serve(nc net.Conn) {
	defer nc.Close()
	o.open.Add(1)
	defer o.open.Add(-1)
	_ = nc.SetDeadline(time.Now().Add(time.Minute))
	br := bufio.NewReader(nc)
	h, err := readHeader(br)
	if err != nil {
		return
	}
	n := o.conns.Add(1)
	if h.Local {
		o.local.Add(1)
	}
	for {
		r, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		body := fmt.Sprintf("%d %v %v", n, h.Source, h.Destination)
		if r.URL.Path == "/close" {
			_, _ = fmt.Fprintf(nc, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			return
		}
		_, _ = fmt.Fprintf(nc, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
}

// readHeader takes a PROXY header off a connection, and nothing behind it.
func readHeader(r io.Reader) (sniff.Header, error) {
	var seen []byte
	for one := make([]byte, 1); ; {
		if _, err := io.ReadFull(r, one); err != nil {
			return sniff.Header{}, err
		}
		seen = append(seen, one[0])
		if h, _, err := sniff.ParseHeader(seen); !errors.Is(err, sniff.ErrShort) {
			return h, err
		}
	}
}

// introducing starts a proxy that leads to instances with a PROXY header.
func introducing(t *testing.T, version string, addresses ...string) (b *bed, port int) {
	t.Helper()
	port = freeport.One(t)
	b = start(t, nil)
	b.apply(introduction(port, version, addresses...))
	return b, port
}

func introduction(port int, version string, addresses ...string) string {
	var text strings.Builder
	_, _ = fmt.Fprintf(&text, "name: g\nport: %d\nroutes:\n", port)
	for _, a := range addresses {
		_, _ = fmt.Fprintf(&text, "  \"[%s]\": {weight: %d%%, sluice: {proxy_protocol: %s}}\n", a, 100/len(addresses), version)
	}
	return text.String()
}

func TestInstancesAreToldOfTheClient(t *testing.T) {
	for _, version := range []string{"v1", "v2"} {
		t.Run(version, func(t *testing.T) {
			o := newTold(t)
			_, port := introducing(t, version, o.address)
			for n := 1; n <= 2; n++ {
				k := keep(t, local(port))
				for range 3 {
					k.send(t, "/")
					a, _ := k.receive(t)
					if want := fmt.Sprintf("%d %v %v", n, k.LocalAddr(), k.RemoteAddr()); a.body != want {
						t.Errorf("client %d is told %q, want %q: its own connection, each time the same", n, a.body, want)
					}
				}
			}
		})
	}
}

// TestInstancesAreToldWhatBalancersSay holds that the vectors of a header that
// came are those of the header that goes out, but not for another client.
func TestInstancesAreToldWhatBalancersSay(t *testing.T) {
	tlvs := []byte{0x02, 0, 4, 's', 'h', 'o', 'p', 0xe0, 0, 1, 7}
	ln := listen(t)
	headers := make(chan sniff.Header, 10)
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				h, err := readHeader(nc)
				if err != nil {
					return
				}
				headers <- h
				if _, err := http.ReadRequest(bufio.NewReader(nc)); err == nil {
					_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
				}
			}()
		}
	}()
	port := freeport.One(t)
	b := start(t, believing(t, "203.0.113.9"))
	b.apply(fmt.Sprintf(`{name: g, port: %d, sluice: {proxy_protocol: 127.0.0.1}, routes: {"[%s]": {sluice: {proxy_protocol: v2}}}}`, port, ln.Addr()))
	k := keep(t, local(port))
	if _, err := k.Write(sniff.AppendHeader(nil, routing.ProxyV2, sniff.Header{
		Source: netip.MustParseAddrPort("203.0.113.9:5000"), Destination: netip.MustParseAddrPort("198.51.100.1:443"), TLVs: tlvs,
	})); err != nil {
		t.Fatal(err)
	}
	for field, want := range map[string]string{"": string(tlvs), "X-Forwarded-For: 192.0.2.7\r\n": ""} {
		if _, err := io.WriteString(k, "GET / HTTP/1.1\r\nHost: a\r\n"+field+"\r\n"); err != nil {
			t.Fatal(err)
		}
		k.receive(t)
		if h := <-headers; string(h.TLVs) != want {
			t.Errorf("with %q the instance is told %q of %v, want %q", field, h.TLVs, h.Source, want)
		}
	}
}

func TestAConnectionOfAClientEndsWithIt(t *testing.T) {
	o := newTold(t)
	_, port := introducing(t, "v2", o.address)
	k := keep(t, local(port))
	k.send(t, "/")
	k.receive(t)
	if o.open.Load() != 1 {
		t.Fatalf("%d connections are open, want 1", o.open.Load())
	}
	_ = k.Close()
	eventually(t, "the connection to the instance ends", func() bool { return o.open.Load() == 0 })
}

func TestAClientsConnectionThatEndedIsReplaced(t *testing.T) {
	o := newTold(t)
	_, port := introducing(t, "v2", o.address)
	k := keep(t, local(port))
	for n := 1; n <= 3; n++ {
		k.send(t, "/close")
		if a, _ := k.receive(t); !strings.HasPrefix(a.body, fmt.Sprint(n, " ")) {
			t.Errorf("request %d is told %q", n, a.body)
		}
	}
}

// Several instances take turns; what rests of connections is bounded.
func TestAClientKeepsAConnectionToEachOfAFew(t *testing.T) {
	for _, tt := range []struct {
		instances int
		conns     int64 // in all, after three rounds
	}{{1, 1}, {2, 2}, {4, 4}, {5, 15}} {
		t.Run(strconv.Itoa(tt.instances), func(t *testing.T) {
			var all []*told
			var addresses []string
			for range tt.instances {
				o := newTold(t)
				all, addresses = append(all, o), append(addresses, o.address)
			}
			_, port := introducing(t, "v1", addresses...)
			k := keep(t, local(port))
			// The routes take turns in the order of their schedule, so that five
			// of them need each other's room.
			for range 3 * tt.instances {
				k.send(t, "/")
				if a, _ := k.receive(t); a.status != http.StatusOK {
					t.Fatalf("answered %d", a.status)
				}
			}
			conns, open := int64(0), int64(0)
			for _, o := range all {
				conns += o.conns.Load()
			}
			if conns < int64(tt.instances) || conns > tt.conns {
				t.Errorf("%d connections were made, want at most %d", conns, tt.conns)
			}
			eventually(t, "no more than four rest", func() bool {
				open = 0
				for _, o := range all {
					open += o.open.Load()
				}
				return open <= 4
			})
		})
	}
}

// Behind a proxy that is trusted each request may be another client's.
func TestClientsBehindATrustedProxyShareNoConnection(t *testing.T) {
	o := newTold(t)
	port := freeport.One(t)
	b := start(t, believing(t, "127.0.0.0/8"))
	b.apply(introduction(port, "v2", o.address))
	k := keep(t, local(port))
	for i, from := range []string{"203.0.113.1", "203.0.113.2", "203.0.113.1"} {
		_, _ = fmt.Fprintf(k, "GET / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: %s\r\n\r\n", from)
		a, _ := k.receive(t)
		want := fmt.Sprintf("%d %s:0 %v", []int{1, 2, 1}[i], from, k.RemoteAddr())
		if a.body != want {
			t.Errorf("for %s the instance is told %q, want %q", from, a.body, want)
		}
	}
}

func TestATableThatAsksForAHeaderMakesNewConnections(t *testing.T) {
	plain := behaving(t, telling(http.StatusOK, "plain"))
	b, port := introducing(t, "none", plain.address)
	k := keep(t, local(port))
	k.send(t, "/")
	if a, _ := k.receive(t); a.body != "plain" {
		t.Fatalf("answered %q", a.body)
	}
	b.apply(introduction(port, "v2", plain.address))
	k.send(t, "/")
	// The server knows no header: a kept connection would have served.
	if a, _ := k.receive(t); a.status != http.StatusBadGateway {
		t.Errorf("after the change: %d %q, want 502", a.status, a.body)
	}
	b.apply(introduction(port, "none", plain.address))
	k.send(t, "/")
	if a, _ := k.receive(t); a.body != "plain" {
		t.Errorf("after the change back: %d %q", a.status, a.body)
	}
}

func TestRestingConnectionsEndWithTheirInstance(t *testing.T) {
	o, other := newTold(t), newTold(t)
	b, port := introducing(t, "v2", o.address)
	k := keep(t, local(port))
	k.send(t, "/")
	k.receive(t)
	b.apply(introduction(port, "v2", other.address))
	eventually(t, "the connection to the instance that is gone ends", func() bool { return o.open.Load() == 0 })
	k.send(t, "/")
	if a, _ := k.receive(t); a.status != http.StatusOK {
		t.Errorf("then: %d %q", a.status, a.body)
	}
}

func TestChecksBeginWithAHeaderOfTheProxysOwn(t *testing.T) {
	for _, kind := range []routing.HealthKind{routing.HealthTCP, routing.HealthHTTP} {
		for _, version := range []routing.ProxyVersion{routing.ProxyV1, routing.ProxyV2} {
			t.Run(kind.String()+" "+version.String(), func(t *testing.T) {
				o := newTold(t)
				b := start(t, func(*proxy.Options) {})
				r := route("r", routing.FullWeight, o.address)
				r.ProxyProtocol = version
				h := routing.DefaultHealth(kind)
				h.Every = 20 * time.Millisecond
				r.Health = routing.PartOf(h)
				b.lead(freeport.One(t), nil, r)
				eventually(t, "two checks came", func() bool { return o.local.Load() >= 2 })
				eventually(t, "none names a client", func() bool { return o.conns.Load() == o.local.Load() })
				eventually(t, "it is healthy", func() bool { return b.states(0) == "healthy" })
			})
		}
	}
}
