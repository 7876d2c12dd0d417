// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"net"
	"net/http"
	"strings"
)

// guard keeps those away who do not show the token, if there is one, and web
// pages of others. It lets Run wait for answers under way.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.serving.RLock()
		defer s.serving.RUnlock()
		if s.closed {
			return
		}
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("X-Content-Type-Options", "nosniff")
		switch {
		case s.local && !ours(r.Host):
			// A page whose name was made to resolve to this machine: its
			// scripts would be of the same origin as our answers. At other
			// addresses we go by any name, and pages do not know the token.
			http.Error(w, "the admin server answers requests to localhost and loopback addresses only", http.StatusForbidden)
		case s.origin.Check(r) != nil:
			http.Error(w, "a page of another origin may not change anything here", http.StatusForbidden)
		case !probes[r.URL.Path] && !s.trusted(r):
			s.challenge(w, r)
		default:
			r.Body = http.MaxBytesReader(w, r.Body, maxBodyBytes)
			next.ServeHTTP(w, r)
		}
	})
}

// ours tells whether the Host field of a request names this machine. Ports
// are free, since tunnels change them. None at all is what HTTP/1.0 probes
// send, and no browser.
func ours(field string) bool {
	if field == "" {
		return true
	}
	host, _, err := net.SplitHostPort(field)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(field, "["), "]")
	}
	return loopback(host)
}
