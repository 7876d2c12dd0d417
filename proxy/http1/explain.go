// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/sluice-mesh/sluice/conditions"
	"github.com/sluice-mesh/sluice/routing"
)

// Secret is the field by which a request asks for an explanation of itself.
// It is immutable. A nil Secret is asked by nobody.
type Secret struct {
	name string
	sum  [sha256.Size]byte
}

// minSecret is the least length of a secret: what is shorter can be guessed
// over the network.
const minSecret = 16

// NewSecret returns the Secret of a field name and the value that it must
// have. An error says what is wrong with either of them.
func NewSecret(name, value string) (*Secret, error) {
	for i := range len(name) {
		if class[name[i]]&tokenByte == 0 {
			return nil, fmt.Errorf("%q is not the name of a header; such as X-Explain", name)
		}
	}
	own := len(name) > 7 && fold([]byte(name[:7]), "sluice-")
	switch k := classify([]byte(name)); {
	case name == "":
		return nil, errors.New("the header has no name; such as X-Explain")
	case k != kindOther && (k != kindOwn || !own), strings.EqualFold(name, "Cookie"):
		return nil, fmt.Errorf("%s means something else already; choose another name, such as X-Explain", name)
	case len(value) < minSecret:
		return nil, fmt.Errorf("the secret has %d characters; at least %d", len(value), minSecret)
	}
	for i := range len(value) {
		if c := value[i]; c <= ' ' || c > '~' {
			return nil, errors.New("the secret is to be of visible ASCII characters without blanks")
		}
	}
	return &Secret{name, sha256.Sum256([]byte(value))}, nil
}

// take takes the field out of a request's head, so that neither conditions nor
// instances see it, and reports whether it had the right value. How long that
// takes does not tell how much of a value is right.
func (s *Secret) take(h *head) (right bool) {
	for i := range h.fields {
		f := &h.fields[i]
		if !equalFold(h.bytes(f.name), s.name) {
			continue
		}
		sum := sha256.Sum256(h.bytes(f.value))
		right = subtle.ConstantTimeCompare(sum[:], s.sum[:]) == 1 || right
		f.kind = kindOwn
		f.name.to = f.name.from // no name is empty, so none is equal
	}
	return right
}

// untraced forgets that an explanation was asked for, at gateways that give
// none.
func (w *work) untraced(g *routing.CompiledGateway) {
	if w.exchange.Trace != nil && g.Asked.Unexplained {
		w.exchange.Trace = nil
	}
}

// traced prepares the exchange for its explanation if the request asks for
// one.
func (c *conn) traced() {
	w := c.w
	w.exchange.Trace = nil
	if s := c.server.options.Explain; s != nil && s.take(&w.head) {
		w.exchange.Trace = new(routing.Trace)
	}
}

// tell makes the whole explanation of an exchange that was decided, if it was
// asked for, while the head is still there.
func (c *conn) tell() {
	w := c.w
	w.told = ""
	explain := c.server.options.Explainer
	if w.exchange.Trace == nil || explain == nil {
		return
	}
	e, err := explain(w.exchange.Generation, c.described())
	if err != nil {
		return // the line is told all the same
	}
	text, err := json.Marshal(e)
	if err != nil || len(text) > maxTold {
		return
	}
	w.told = asciiJSON(text)
}

// maxTold bounds an explanation in a head, in bytes: others bound heads too.
const maxTold = 24 << 10

// described returns the request as Explain takes it, with the draws that were
// made for it.
func (c *conn) described() routing.ExplainRequest {
	w := c.w
	h := &w.head
	tickets := w.exchange.Trace.Tickets(&w.exchange.Decision, w.view.Random())
	r := routing.ExplainRequest{
		Method:   string(h.bytes(h.method)),
		URL:      fmt.Sprintf("http://127.0.0.1:%d%s", c.listener.Port, h.originForm()),
		Headers:  []routing.HeaderField{{Name: "Host", Value: string(h.effectiveHost())}},
		ClientIP: c.origin.peer.Addr().String(),
		Ticket:   tickets,
	}
	if t := c.facts.TLS; t != nil {
		describeTLS(&r, t)
	}
	for i := range h.fields {
		f := &h.fields[i]
		if f.name.from != f.name.to && f.kind != kindHost {
			r.Headers = append(r.Headers, routing.HeaderField{Name: string(h.bytes(f.name)), Value: string(h.bytes(f.value))})
		}
	}
	return r
}

// describeTLS tells of the connection of a request that came over TLS.
func describeTLS(r *routing.ExplainRequest, t *conditions.TLS) {
	r.URL = "https" + strings.TrimPrefix(r.URL, "http")
	if r.SNI = t.ServerName; r.SNI == "" {
		r.SNI = "-"
	}
	if t.ALPN != "" {
		r.ALPN = []string{t.ALPN}
	}
	if t.Client != nil && t.Client.Verified {
		r.Certificate = &routing.ExplainCertificate{
			Subject:     t.Client.Subject,
			SANs:        slices.Concat(t.Client.DNSNames, t.Client.Emails, t.Client.URIs),
			Fingerprint: t.Client.Fingerprint,
		}
	}
}

// asciiJSON escapes what is beyond ASCII, so that JSON can stand in a head.
func asciiJSON(text []byte) string {
	var b strings.Builder
	for _, c := range string(text) {
		switch {
		case c < utf8.RuneSelf:
			b.WriteRune(c)
		case c <= 0xffff:
			fmt.Fprintf(&b, "\\u%04x", c)
		default:
			high, low := utf16.EncodeRune(c)
			fmt.Fprintf(&b, "\\u%04x\\u%04x", high, low)
		}
	}
	return b.String()
}

// explained returns the explanation of the exchange as the value of
// Sluice-Explain, and the field Sluice-Explanation behind it; empty if it was
// not asked for. The end is the instance that answers, or the reason why none
// does.
func (w *work) explained(end string) string {
	x := &w.exchange
	if x.Trace == nil {
		return ""
	}
	line := x.Trace.Line(&x.Decision, end)
	if w.told == "" {
		return line
	}
	return line + "\r\nSluice-Explanation: " + w.told
}
