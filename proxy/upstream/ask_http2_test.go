// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/test/certs"
)

// call returns a message as gRPC frames it.
func call(message string) string {
	var head [5]byte
	binary.BigEndian.PutUint32(head[1:], uint32(len(message)))
	return string(head[:]) + message
}

// calls returns a server of gRPC that answers each call with some bytes and a
// status.
func calls(message, status, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/grpc")
		if message == "" { // nothing but trailers
			w.Header().Set("Grpc-Status", status)
			w.Header().Set("Grpc-Message", text)
			w.WriteHeader(http.StatusOK)
			return
		}
		w.Header().Set("Trailer", "Grpc-Status, Grpc-Message")
		_, _ = io.WriteString(w, message)
		w.Header().Set("Grpc-Status", status)
		w.Header().Set("Grpc-Message", text)
	}
}

// grpcHealth returns a check by gRPC.
func grpcHealth(service string) routing.Health {
	h := routing.DefaultHealth(routing.HealthGRPC)
	h.Service, h.Timeout = service, patience
	return h
}

func TestAskByGRPC(t *testing.T) {
	const serving, notServing = "\x08\x01", "\x08\x02"
	for _, tt := range []struct {
		name, service string
		answers       http.HandlerFunc
		want          string // part of the error; empty for a success
	}{
		{"it serves", "", calls(call(serving), "0", ""), ""},
		{"the service is served", "shop.Cart", calls(call(serving), "0", ""), ""},
		{"it does not serve", "", calls(call(notServing), "0", ""), "it says that it is NOT_SERVING"},
		{"it does not know whether it serves", "", calls(call(""), "0", ""), "it says that it is UNKNOWN"},
		{"a state of the future", "", calls(call("\x08\x09"), "0", ""), "it says that it is 9"},
		{"fields of the future", "", calls(call("\x12\x01x"+serving+"\x1d1234"), "0", ""), ""},
		{"the service is not known", "shop.Cart", calls("", "5", "unknown service"), "it does not know of a service shop.Cart"},
		{"there is no such service", "", calls("", "12", ""), "it has no service grpc.health.v1.Health: register it, or check by tcp"},
		{"it is unavailable", "", calls("", "14", "going%20away"), `it answers with grpc-status 14: "going away"`},
		{"it fails behind its answer", "", calls(call(serving), "13", ""), "it answers with grpc-status 13"},
		{"no status", "", calls(call(serving), "", ""), "its answer has no grpc-status"},
		{"a strange status", "", calls(call(serving), "fine", ""), `its grpc-status is "fine"`},
		{"a message that is cut off", "", calls(call(serving)[:6], "0", ""), "its answer is not one to a health check"},
		{"two messages", "", calls(call(serving)+call(serving), "0", ""), "its answer is not one to a health check"},
		{"a compressed message", "", calls("\x01"+call(serving)[1:], "0", ""), "its answer is not one to a health check"},
		{"it does not speak gRPC", "", hello, "it does not answer by gRPC"},
		{"an answer of HTTP", "", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }, "it answers 404"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, _ := swept(t, nil)
			asked := make(chan string, 1)
			s := speaksHTTP2(t, 10, nil, func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				asked <- strings.Join([]string{r.Method, r.URL.Path, r.Header.Get("Te"), r.Header.Get("Content-Type"), r.Header.Get("Grpc-Timeout"), string(body)}, " ")
				tt.answers(w, r)
			})
			err := p.Ask(t.Context(), s.addr(), upstream.Way{}, grpcHealth(tt.service))
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want one that says %q", err, tt.want)
			}
			message := call("")
			if tt.service != "" {
				message = call("\x0a" + string(rune(len(tt.service))) + tt.service)
			}
			if got, want := <-asked, "POST /grpc.health.v1.Health/Check trailers application/grpc 60000m "+message; got != want {
				t.Errorf("asked %q, want %q", got, want)
			}
			eventually(t, "its connection is closed", func() bool { return s.open.Load() == 0 })
		})
	}
}

// A check goes the way of requests: by HTTP/2, and by TLS if they do.
func TestChecksGoByHTTP2(t *testing.T) {
	ca := certs.New(t)
	pair := []tls.Certificate{ca.Issue(t, "shop.internal").TLS()}
	secret := sealed
	secret.Secure = true
	h := routing.DefaultHealth(routing.HealthHTTP)
	h.Path, h.Timeout, h.Body, h.Fields = "/well", patience, "HTTP/2.0 GET /well", "X-Secret: 1\r\n"
	for _, tt := range []struct {
		name   string
		way    upstream.Way
		h      routing.Health
		config *tls.Config
		does   http.HandlerFunc
		want   string // part of the error; empty for a success
	}{
		{"by HTTP in plain text", plain, h, nil, hello, ""},
		{"by HTTP in TLS", secret, h, &tls.Config{Certificates: pair}, hello, ""},
		{"by gRPC in TLS", secret, grpcHealth(""), &tls.Config{Certificates: pair}, calls(call("\x08\x01"), "0", ""), ""},
		{"a wrong answer", plain, h, nil, answerNothing, "it answers 500"},
		{"a certificate that is not to be trusted", secret, h, &tls.Config{Certificates: []tls.Certificate{certs.New(t).Issue(t, "shop.internal").TLS()}}, hello, "vouches for its certificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, _ := swept(t, func(o *upstream.Options) { o.TLS = trusting(ca.Pool(), nil) })
			s := speaksHTTP2(t, 10, tt.config, tt.does)
			err := p.Ask(t.Context(), s.addr(), tt.way, tt.h)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want one that says %q", err, tt.want)
			}
			eventually(t, "its connection is closed", func() bool { return s.open.Load() == 0 })
		})
	}
	for _, tt := range []struct {
		name string
		way  upstream.Way
		h    routing.Health
		at   func(*testing.T) netip.AddrPort
		want string
	}{
		{
			"who speaks HTTP/1", plain, h,
			func(t *testing.T) netip.AddrPort {
				t.Helper()
				at, _ := speaker(t, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
				return at
			},
			"it answers by HTTP/1",
		},
		{
			"who agrees to HTTP/1 alone", secret, h,
			func(t *testing.T) netip.AddrPort {
				t.Helper()
				at, _ := secured(t, &tls.Config{Certificates: pair})
				return at
			},
			"it does not agree to speak HTTP/2 by TLS",
		},
		{
			"who agrees to HTTP/1 alone and is only connected to", secret, routing.DefaultHealth(routing.HealthTCP),
			func(t *testing.T) netip.AddrPort {
				t.Helper()
				at, _ := secured(t, &tls.Config{Certificates: pair})
				return at
			},
			"it does not agree to speak HTTP/2 by TLS",
		},
		{
			"who ends the connection", plain, h,
			func(t *testing.T) netip.AddrPort {
				t.Helper()
				return serving(t, func(nc net.Conn) { _, _ = nc.Read(make([]byte, 1)) })
			},
			"",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, _ := swept(t, func(o *upstream.Options) { o.TLS = trusting(ca.Pool(), nil) })
			err := p.Ask(t.Context(), tt.at(t), tt.way, tt.h)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one that says %q", err, tt.want)
			}
		})
	}
}

func answerNothing(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusInternalServerError)
}

// A check that takes too long is over in time, and leaves nothing behind.
func TestChecksByHTTP2EndInTime(t *testing.T) {
	for _, tt := range []struct {
		name string
		at   func(*testing.T) netip.AddrPort
	}{
		{"who says nothing", func(t *testing.T) netip.AddrPort {
			t.Helper()
			return listen(t).addr
		}},
		{"who does not answer", func(t *testing.T) netip.AddrPort {
			t.Helper()
			return speaksHTTP2(t, 10, nil, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }).addr()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, _ := swept(t, nil)
			h := grpcHealth("")
			h.Timeout = 50 * time.Millisecond
			if err := p.Ask(t.Context(), tt.at(t), plain, h); err == nil || err.Error() != "no answer in time" {
				t.Errorf("error %v, want that there was no answer in time", err)
			}
		})
	}
}

// What a service says of itself decides whether it gets requests.
func TestServicesThatSayThatTheyDoNotServeGetNothing(t *testing.T) {
	var status atomic.Pointer[string]
	say := func(message string) { status.Store(&message) }
	say("\x08\x01")
	s := speaksHTTP2(t, 10, nil, func(w http.ResponseWriter, r *http.Request) { calls(call(*status.Load()), "0", "")(w, r) })
	p, _ := swept(t, nil)
	h := grpcHealth("shop.Cart")
	h.Every, h.Fall, h.Rise = 10*time.Millisecond, 2, 2
	at := s.addr()
	target := p.Target(at.Addr().String(), int(at.Port()))
	choosing := target.Choosing()
	choosing.Way, choosing.Watch = plain, routing.PartOf(routing.Watch{Health: h})
	target = p.Balanced(target, choosing)
	p.Retain([]*upstream.Target{target})
	stands := func(state string) func() bool {
		return func() bool { return target.States()[0].State == state }
	}
	eventually(t, "it is healthy", stands(routing.StateHealthy))
	say("\x08\x02")
	eventually(t, "it is unhealthy", stands(routing.StateUnhealthy))
	if why := target.States()[0].Why; why != "it says that it is NOT_SERVING" {
		t.Errorf("it is unhealthy for %q", why)
	}
	say("\x08\x01")
	eventually(t, "it is healthy again", stands(routing.StateHealthy))
	var w upstream.Walk
	target.Begin(&w, nil, socket.Now())
	if w.Next() == nil {
		t.Error("it gets nothing")
	}
	w.End()
}

// Whatever stands in an answer, it is read to its end or refused, and what it
// says is what was written.
func FuzzServing(f *testing.F) {
	for _, seed := range []string{call(""), call("\x08\x01"), call("\x08\x02\x12\x01x"), call("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "\x01\x00\x00\x00\x00", "\x00"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		status, err := upstream.ParseServing(body)
		if err != nil {
			return
		}
		again := append([]byte(call("")), body[5:]...)
		again = binary.AppendUvarint(append(again, 0x08), status)
		binary.BigEndian.PutUint32(again[1:], uint32(len(again)-5))
		if twice, err := upstream.ParseServing(again); err != nil || twice != status {
			t.Errorf("%q: %d, and with the same field behind it %d, %v", body, status, twice, err)
		}
		if _, err := upstream.ParseServing(body[:len(body)-1]); err == nil {
			t.Errorf("%q: taken without its last byte, too", body)
		}
	})
}
