// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-mesh/sluice/conditions"
	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/routing"
)

// edits is what the routes of a decision change of one request and its
// answer. It holds nothing that the head must outlive.
type edits struct {
	on       bool
	path     []byte // instead of the path that came; empty to keep it
	request  fieldEdits
	answer   fieldEdits
	location []byte
}

// fieldEdits are the fields that go and those that come.
type fieldEdits struct {
	drop   []string
	put    []byte // whole lines
	lines  []editLine
	values []byte
}

// editLine is a field on its way into put.
type editLine struct {
	name     string // empty if a later route took it back
	from, to int    // of the value
}

// edit works out what the routes change, and answers at once if one of them
// redirects.
func (c *conn) edit() (answered, keep bool) {
	w := c.w
	e := &w.edits
	e.on = w.exchange.Decision.Edited
	if !e.on {
		return false, false
	}
	d := &w.exchange.Decision
	e.path = e.path[:0]
	if path, rewritten := d.Path(); rewritten {
		e.path = append(e.path, path...)
	}
	c.server.options.Counters.RewritesSkipped.Add(c.shard, int64(d.Skipped()))
	e.request.begin()
	e.answer.begin()
	r := d.Rewritten(&w.view)
	skipped := 0
	for i := range d.Depth {
		if re := d.Hops[i].Route.Edits; re != nil {
			skipped += e.request.add(re.Request, r) + e.answer.add(re.Response, r)
		}
	}
	c.server.options.Counters.HeadersSkipped.Add(c.shard, int64(skipped))
	e.request.end()
	e.answer.end()
	if re := d.Last().Route.Edits; re != nil && re.Redirect != nil {
		return true, c.redirect(re.Redirect, r)
	}
	return false, false
}

func (e *fieldEdits) begin() {
	e.drop, e.lines, e.values, e.put = e.drop[:0], e.lines[:0], e.values[:0], e.put[:0]
}

// add takes in what one route changes, and returns how many fields it has to
// leave out. A field whose value is not fit for a head is dropped all the
// same: what the client wrote there is not what was asked for. Host is the
// exception, since there must be one.
func (e *fieldEdits) add(h *routing.HeaderEdits, r conditions.Request) (skipped int) {
	if h == nil {
		return 0
	}
	for _, name := range h.Drop {
		if !isHost(name) {
			e.remove(name)
		}
	}
	for i := range h.Put {
		f := &h.Put[i]
		from := len(e.values)
		values, ok := f.Value.Append(e.values, r)
		e.values = values
		if ok && isHost(f.Name) {
			if ok = validHost(values[from:]); ok {
				e.remove(f.Name)
			}
		}
		if !ok {
			skipped++
			continue
		}
		e.lines = append(e.lines, editLine{f.Name, from, len(values)})
	}
	return skipped
}

func isHost(name string) bool { return sameName(name, "host") }

// remove takes a field out, also where a route before put it in.
func (e *fieldEdits) remove(name string) {
	e.drop = append(e.drop, name)
	for i := range e.lines {
		if sameName(e.lines[i].name, name) {
			e.lines[i].name = ""
		}
	}
}

func sameName(a, b string) bool { return len(a) == len(b) && strings.EqualFold(a, b) }

// end writes the lines.
func (e *fieldEdits) end() {
	for _, l := range e.lines {
		if l.name == "" {
			continue
		}
		e.put = append(e.put, l.name...)
		e.put = append(e.put, ": "...)
		e.put = append(e.put, e.values[l.from:l.to]...)
		e.put = append(e.put, "\r\n"...)
	}
}

// drops reports whether a field of a name goes.
func (e *fieldEdits) drops(name []byte) bool {
	for _, d := range e.drop {
		if equalFold(name, d) {
			return true
		}
	}
	return false
}

// puts reports whether a field of a name comes.
func (e *fieldEdits) puts(name string) bool {
	for i := range e.lines {
		if sameName(e.lines[i].name, name) {
			return true
		}
	}
	return false
}

// changes returns the edits of an answer; nil if there are none.
func (e *edits) changes() *fieldEdits {
	if !e.on || len(e.answer.drop)+len(e.answer.put) == 0 {
		return nil
	}
	return &e.answer
}

// drops reports whether a field of the request goes.
func (e *edits) drops(name []byte) bool { return e.on && e.request.drops(name) }

var hostName, cookieName = []byte("Host"), []byte("Cookie")

// appendTarget appends the target that the instance gets.
func appendTarget(b []byte, h *head, e *edits) []byte {
	target := h.originForm()
	if e.on && len(e.path) > 0 {
		b = append(b, e.path...)
		if i := bytes.IndexByte(target, '?'); i >= 0 {
			b = append(b, target[i:]...)
		}
		return b
	}
	if h.target.from == h.target.to && string(h.bytes(h.method)) == http.MethodOptions {
		return append(b, '*') // RFC 9112 section 3.2.4
	}
	if target[0] == '?' {
		b = append(b, '/')
	}
	return append(b, target...)
}

// redirect answers with another place to go to.
func (c *conn) redirect(rule *routing.RedirectRule, r conditions.Request) (keep bool) {
	w := c.w
	e := &w.edits
	location, ok := rule.Append(e.location[:0], r)
	e.location = location
	if !ok {
		return c.fail(live.BadRequest)
	}
	keep = !w.plan.close && w.plan.buffered
	w.out = appendRedirect(w.out[:0], rule.Code, e)
	if !e.answer.puts(hstsName) {
		w.out = appendHSTS(w.out, w.hsts)
	}
	if w.exchange.Trace != nil {
		w.out = appendExplain(w.out, w.explained("redirect"))
	}
	w.out = appendConnection(w.out, !keep, keep && w.plan.http10)
	w.out = append(w.out, "\r\n"...)
	w.exchange.Seen.Code = rule.Code
	if c.send(w.out) != nil {
		keep = false
	}
	c.unread = c.unread || !w.plan.buffered
	w.now = socket.Now()
	c.unbind()
	w.exchange.End(w.now)
	return keep
}

// appendRedirect appends the head of a redirect but its last lines. It has no
// body.
func appendRedirect(b []byte, code int, e *edits) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(code), 10)
	b = append(b, ' ')
	b = append(b, http.StatusText(code)...)
	b = append(b, "\r\nDate: "...)
	b = time.Now().UTC().AppendFormat(b, http.TimeFormat)
	b = append(b, "\r\nLocation: "...)
	b = append(b, e.location...)
	b = append(b, "\r\nContent-Length: 0\r\n"...)
	return append(b, e.answer.put...)
}
