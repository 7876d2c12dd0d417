// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"

	"github.com/sluice-mesh/sluice/metrics"
	"github.com/sluice-mesh/sluice/proxy/socket"
)

// Handshakes count those of TLS with instances. Checks are not among them. The
// zero Handshakes count nothing.
type Handshakes struct {
	ok, resumed *metrics.Counter
	failed      [troubles]*metrics.Counter
}

// NewHandshakes registers the counters.
func NewHandshakes(r *metrics.Registry) Handshakes {
	h := Handshakes{
		ok:      r.TLSHandshakes("upstream", "ok", "none"),
		resumed: r.TLSHandshakes("upstream", "resumed", "none"),
	}
	for t := range troubles {
		h.failed[t] = r.TLSHandshakes("upstream", "failed", t.String())
	}
	return h
}

func count(c *metrics.Counter) {
	if c != nil {
		c.Add(0, 1)
	}
}

// trouble is why a handshake with an instance failed.
type trouble uint8

const (
	troubleOther       trouble = iota
	troubleTimeout             // it took too long, or nobody waits any more
	troubleGone                // the instance ended the connection
	troubleNotTLS              // it speaks something else
	troubleCertificate         // the one that it showed is not to be trusted
	troubleRefused             // it did not accept what the proxy offers or shows
	troubleSettings            // the proxy's own files cannot be used
	troubles
)

// String returns the label of metrics.
func (t trouble) String() string {
	return [...]string{"other", "timeout", "gone", "not_tls", "certificate", "refused", "settings"}[t]
}

// sessions holds the configuration of an instance, which remembers the
// sessions of this instance alone: another one may not know its tickets.
type sessions struct {
	mu     sync.Mutex // guards all below
	base   *tls.Config
	config *tls.Config // made of base
}

// of returns the configuration that is made of base. Where files have changed
// that is another one, and what was remembered is forgotten.
func (s *sessions) of(base *tls.Config, way *Way) *tls.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.base != base {
		s.base, s.config = base, way.config(base)
		s.config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	}
	return s.config
}

// config adds to a configuration what is spoken inside TLS.
func (w *Way) config(base *tls.Config) *tls.Config {
	c := base.Clone()
	c.ClientSessionCache, c.NextProtos = nil, nil
	switch {
	case w.Protocol.HTTP2():
		c.NextProtos = []string{alpnHTTP2}
	case w.HTTP:
		c.NextProtos = []string{"http/1.1"}
	}
	return c
}

// alpnHTTP2 is how HTTP/2 is called in TLS (RFC 9113 section 3.2).
const alpnHTTP2 = "h2"

// errNoHTTP2 reports an instance that did not agree to HTTP/2.
var errNoHTTP2 = errors.New("no agreement on HTTP/2")

// agreed returns what is wrong with the protocol that was agreed on.
func (w *Way) agreed(protocol string) error {
	if w.Protocol.HTTP2() && protocol != alpnHTTP2 {
		return errNoHTTP2
	}
	return nil
}

// configOf returns the configuration for a way that is secure, as it is now.
func (p *Pool) configOf(w *Way) (*tls.Config, error) {
	if p.options.TLS == nil {
		return nil, fmt.Errorf("%w: no certificates are at hand", ErrSettings)
	}
	base, err := p.options.TLS(*w)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSettings, err)
	}
	return base, nil
}

// secure has the connection speak TLS.
func (i *Instance) secure(ctx context.Context, c *Conn) error {
	done := &i.pool.options.Handshakes
	way := i.way.Value()
	base, err := i.pool.configOf(&way)
	if err == nil {
		c.ClientTLS(i.special.sessions.of(base, &way))
		err = c.Handshake(ctx)
	}
	if err == nil {
		err = way.agreed(c.TLSState().NegotiatedProtocol)
	}
	switch {
	case err == nil && c.TLSState().DidResume:
		count(done.resumed)
	case err == nil:
		count(done.ok)
	case ctx.Err() != nil, errors.Is(err, socket.ErrExpired):
		count(done.failed[troubleTimeout])
		return err
	default:
		e := i.refuse(err, false)
		count(done.failed[e.trouble()])
		return e
	}
	return nil
}

// refuse notes why an instance cannot be spoken to by TLS.
func (i *Instance) refuse(err error, late bool) *TLSError {
	next := &TLSError{Instance: i.String(), Way: i.way.Value(), Err: err, late: late}
	before := i.refusal.Load()
	next.known = before != nil && before.Why() == next.Why()
	i.refusal.Store(next)
	return next
}

// Spoken notes that the connection was of use: its instance took what it was
// shown. Answers of HTTP are noted by Walk.Answered.
func (c *Conn) Spoken() { c.Instance.accepts(true) }

// accepts notes that an instance was spoken to. Other protocols than HTTP have
// only been connected to when they count as answered: it may refuse them yet,
// unless they are proven.
func (i *Instance) accepts(proven bool) {
	before := i.refusal.Load()
	if before == nil || before.late && !i.way.Value().HTTP && !proven {
		return
	}
	if i.refusal.CompareAndSwap(before, nil) {
		i.pool.options.Log.Info("an instance can be spoken to by TLS again", "instance", i.String())
	}
}

// Late returns what ended an exchange: err, unless the instance did not accept
// the certificate that it was shown, or that it was shown none. In TLS 1.3 it
// says so when the handshake is over for the proxy and a request may have been
// sent, of which it took no note (RFC 8446 section 4.4.2.4): then it is a
// *TLSError, as if the handshake had failed.
func (c *Conn) Late(err error) error {
	if err == nil || !c.Instance.way.Value().Secure || c.Reused || c.link != nil {
		return err
	}
	if _, ok := errors.AsType[*socket.WriteError](err); ok && !errors.Is(err, socket.ErrExpired) {
		// It was closed before the request was sent, so this does not wait: why may
		// be there to be read.
		if _, why := c.Read(make([]byte, 1)); why != nil {
			return c.late(err, why)
		}
		return err
	}
	return c.late(err, err)
}

// late returns err, unless why is that the proxy's certificate was refused.
func (c *Conn) late(err, why error) error {
	if alert, ok := remoteAlert(why); !ok || !aboutCertificate(alert) {
		return err
	}
	e := c.Instance.refuse(why, true)
	count(c.Instance.pool.options.Handshakes.failed[troubleRefused])
	return e
}

// tell logs that a route cannot speak to an instance, unless the last attempt
// failed alike.
func (t *Target) tell(err error) {
	log := t.pool.options.Log
	if e, ok := errors.AsType[*TLSError](err); ok && !e.known {
		log.Warn("an instance cannot be spoken to by TLS",
			"route", t.route, "instance", e.Instance, "why", e.Why())
	}
	if e, ok := errors.AsType[*ProtocolError](err); ok && !e.known {
		log.Warn("an instance cannot be spoken to by HTTP/2",
			"route", t.route, "instance", e.Instance, "why", e.Why())
	}
}
