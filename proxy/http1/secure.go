// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bytes"
	"net/http"
	"strconv"
	"time"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/routing"
)

// serves reports whether a gateway that was found by its host takes requests
// of the connection: over TLS those that speak it, in plain text all but those
// that do not want to be known there.
func (c *conn) serves(tls *routing.ListenTLS) bool {
	if c.facts.TLS != nil {
		return tls != nil
	}
	return tls == nil || tls.Plain != routing.PlainRefuse
}

// secure compares how the connection came with what the gateway of a request
// asks for. If they differ it answers in its place. Over TLS, it notes what the
// answer is to say.
//
// A connection that was there before its port began to speak TLS, or ended to,
// goes on as it is, unless certificates of clients are asked for.
func (c *conn) secure(gen *live.Generation, g *routing.CompiledGateway) (settled, keep bool) {
	asks := g.Asked.TLS
	plain := c.facts.TLS == nil
	if plain && asks != nil && c.listener.gateway(gen) != g && !c.vouched() {
		switch asks.Plain {
		case routing.PlainServe:
			return false, false
		case routing.PlainRedirect:
			return true, c.sendToTLS(gen, g)
		case routing.PlainRefuse: // it was not found
		}
	}
	if asks != c.asked && demands(asks) != demands(c.asked) {
		c.refuse(live.Misdirected)
		return true, false
	}
	if !plain && asks != nil {
		c.w.hsts = asks.HSTS
	}
	return false, false
}

// vouched reports whether a trusted proxy says that the client came to it by
// TLS.
func (c *conn) vouched() bool { return c.trusted && c.w.claims.secure() }

// demand is what a gateway asks of the certificates of its clients.
type demand struct {
	auth routing.ClientAuth
	ca   string
}

func demands(t *routing.ListenTLS) demand {
	if t == nil {
		return demand{}
	}
	return demand{t.ClientAuth, t.ClientCA}
}

// sendToTLS answers a request that came in plain text with its address at
// https.
func (c *conn) sendToTLS(gen *live.Generation, g *routing.CompiledGateway) (keep bool) {
	w := c.w
	keep = !w.plan.close && w.plan.buffered
	w.out = append(w.out[:0], "HTTP/1.1 308 Permanent Redirect\r\nDate: "...)
	w.out = time.Now().UTC().AppendFormat(w.out, http.TimeFormat)
	w.out = append(w.out, "\r\nLocation: "...)
	w.out = c.appendTLSAddress(w.out)
	w.out = append(w.out, "\r\nContent-Length: 0\r\n"...)
	w.out = appendConnection(w.out, !keep, keep && w.plan.http10)
	w.out = append(w.out, "\r\n"...)
	series := gen.Gateway(g).Series
	series.Begin(c.shard)
	c.owed = false
	n, err := c.WriteWithin(w.out, farewell)
	if err != nil {
		keep = false
	}
	c.unread = c.unread || !w.plan.buffered
	began := w.now
	w.now = socket.Now()
	series.End(c.shard, &metrics.Observation{
		Code: http.StatusPermanentRedirect, Duration: time.Duration(w.now - began),
		BytesIn: int64(len(w.head.raw) + len(w.body.have)), BytesOut: int64(n),
	})
	c.hops = 1
	c.over()
	return keep
}

// appendTLSAddress appends the address of the request at https. Who named no
// port came by the usual one, and is sent to the usual one, unless that is not
// mapped to ours.
func (c *conn) appendTLSAddress(b []byte) []byte {
	h := &c.w.head
	host := h.effectiveHost()
	name, asked := splitHostPort(host)
	b = append(b, "https://"...)
	b = append(b, name...)
	if to := c.server.options.TLSPort; to != 443 && (len(asked) > 0 || c.listener.Port == 80) {
		b = append(b, ':')
		b = strconv.AppendInt(b, int64(to), 10)
	}
	target := h.originForm()
	if target[0] != '/' { // RFC 9110 section 4.2.3: an empty path; or "*"
		b = append(b, '/')
		target = bytes.TrimPrefix(target, asterisk)
	}
	for _, x := range target {
		if x < 0x80 {
			b = append(b, x)
			continue
		}
		const digits = "0123456789ABCDEF"
		b = append(b, '%', digits[x>>4], digits[x&15])
	}
	return b
}

var asterisk = []byte{'*'}

// splitHostPort splits a valid authority from its port, if it has one.
func splitHostPort(host []byte) (name, port []byte) {
	i := bytes.LastIndexByte(host, ':')
	if i < 0 || bytes.IndexByte(host[i:], ']') >= 0 {
		return host, nil
	}
	return host[:i], host[i+1:]
}

const hstsName = "Strict-Transport-Security"

// appendHSTS appends Strict-Transport-Security (RFC 6797 section 6.1), unless
// it is empty.
func appendHSTS(b []byte, value string) []byte {
	if value == "" {
		return b
	}
	b = append(b, hstsName+": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

// saysHSTS reports whether the answer says by itself, or by what routes make
// of it, how long to come by TLS: at most one such field counts (RFC 6797
// section 8.1).
func (w *work) saysHSTS(e *fieldEdits) bool {
	if e != nil && e.puts(hstsName) {
		return true
	}
	a := &w.answer
	for i := range a.fields {
		f := &a.fields[i]
		if int(f.name.to-f.name.from) == len(hstsName) && equalFold(a.bytes(f.name), hstsName) {
			return e == nil || !e.drops(a.bytes(f.name))
		}
	}
	return false
}
