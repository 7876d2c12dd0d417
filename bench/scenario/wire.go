// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"bytes"
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// userAgent is sent unless a header field says otherwise.
const userAgent = "sluice-bench"

// wire returns a request of kind k as it is sent, head and body.
func (s *Scenario) wire(k Kind, address string) []byte {
	var b bytes.Buffer
	method := k.method()
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, cmp.Or(k.Path, "/"), cmp.Or(k.Host, s.Host, address))
	fields := slices.Concat(s.Headers, k.Headers)
	if !slices.ContainsFunc(fields, func(h Header) bool { return strings.EqualFold(h.Name, "User-Agent") }) {
		b.WriteString("User-Agent: " + userAgent + "\r\n")
	}
	for _, h := range fields {
		b.WriteString(h.Name + ": " + h.Value + "\r\n")
	}
	if s.PerConnection == 1 {
		// Whoever answers learns that no second request comes, as from a
		// client without keep-alive.
		b.WriteString("Connection: close\r\n")
	}
	if len(k.Body) > 0 || sendsLength(method) {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(k.Body))
	}
	b.WriteString("\r\n")
	b.Write(k.Body)
	return b.Bytes()
}

// sendsLength reports whether requests of a method say their length even
// where it is zero (RFC 9110 section 8.6).
func sendsLength(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}

// MadeUp returns a body of n bytes: letters in lines, so that it can be read
// where it arrives.
func MadeUp(n int) []byte {
	const line = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ.\n"
	return bytes.Repeat([]byte(line), n/len(line)+1)[:n]
}
