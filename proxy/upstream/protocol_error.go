// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"errors"

	"github.com/sluice-mesh/sluice/proxy/http2"
)

// ProtocolError reports that an instance was reached and does not speak
// HTTP/2, which it ought to. Its text says to people what they can do.
type ProtocolError struct {
	Instance string // address and port
	Way      Way
	Err      error

	known bool // the one before said the same
}

func (e *ProtocolError) Error() string { return "HTTP/2 with " + e.Instance + ": " + e.Why() }

func (e *ProtocolError) Unwrap() error { return e.Err }

// Why is Error without the address.
func (e *ProtocolError) Why() string {
	switch {
	case errors.Is(e.Err, errSpeaksHTTP1):
		return "it answers by HTTP/1: lead the route to its port for HTTP/2, or set protocol to http1"
	case errors.Is(e.Err, errNotHTTP2) && e.Way.Secure:
		return "what it sends is not HTTP/2: lead the route to its port for HTTP/2, or set protocol to what it speaks"
	case errors.Is(e.Err, errNotHTTP2):
		return "what it sends is not HTTP/2: lead the route to its port for HTTP/2, set tls if that is what it speaks, or protocol to what it speaks"
	default:
		return "it breaks the protocol: " + e.Err.Error()
	}
}

// misfit reports whether an error says that the peer does not speak HTTP/2 as
// it ought to.
func misfit(err error) bool {
	if errors.Is(err, errSpeaksHTTP1) || errors.Is(err, errNotHTTP2) {
		return true
	}
	e, ok := errors.AsType[*http2.ConnError](err)
	return ok && !e.Peer
}

// misfits notes why an instance cannot be spoken to by HTTP/2.
func (i *Instance) misfits(err error) *ProtocolError {
	next := &ProtocolError{Instance: i.String(), Way: i.way.Value(), Err: err}
	before := i.misfit.Swap(next)
	next.known = before != nil && before.Why() == next.Why()
	return next
}

// speaks notes that an instance was spoken to by HTTP/2.
func (i *Instance) speaks() {
	if i.misfit.Swap(nil) != nil {
		i.pool.options.Log.Info("an instance can be spoken to by HTTP/2 again", "instance", i.String())
	}
}

// Problem returns why an instance could not be spoken to when that was tried
// last, nil if all can: a *TLSError, or a *ProtocolError. It is the first one's
// of the present instances.
func (t *Target) Problem() error {
	for _, i := range t.Instances() {
		if e := i.refusal.Load(); e != nil {
			return e
		}
		if e := i.misfit.Load(); e != nil {
			return e
		}
	}
	return nil
}
