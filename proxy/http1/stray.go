// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"net/http"

	"github.com/sluice-mesh/sluice/proxy/live"
)

// stray reports whether what came over a kept connection was sent before the
// request: something that is no answer, the goodbye of a server that waited for
// a request in vain (RFC 9110 section 15.5.9), or an answer with more behind it,
// which is the one that was asked for. The request is to be sent over a fresh
// connection then. Only what is safe to send again is asked for: for all else
// the connection was looked at just before (upstream.Instance.Get).
func (w *work) stray() bool {
	if !w.plan.safe || w.interim > 0 {
		return false
	}
	if w.fault != live.None || w.answer.close && w.answer.status == http.StatusRequestTimeout {
		return true
	}
	rest := int64(w.got - len(w.answer.raw))
	switch w.framing() {
	case noBody:
		return rest > 0
	case byLength:
		return rest > w.answer.length
	default:
		return false
	}
}
