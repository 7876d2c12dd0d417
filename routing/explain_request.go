// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/sluice-mesh/sluice/conditions"
)

// ExplainRequest is a request as somebody describes it, to be explained.
type ExplainRequest struct {
	// Method is as sent. Empty means GET.
	Method string `json:"method,omitempty"`
	// URL is http://HOST[:PORT][/PATH][?QUERY], where the scheme may be left
	// out, the same with https, or tcp://HOST:PORT for a connection that has no
	// requests.
	URL string `json:"url"`
	// SNI is the server name that a client over TLS asks for. Empty means the
	// host of an https URL, unless that is an address, and none of a tcp URL; "-"
	// asks for none.
	SNI string `json:"sni,omitempty"`
	// ALPN are the protocols that it offers. Empty means http/1.1 of an https
	// URL, and none of a tcp URL.
	ALPN []string `json:"alpn,omitempty"`
	// Certificate is that of the client; nil if it has none.
	Certificate *ExplainCertificate `json:"client_certificate,omitempty"`
	// Headers are sent in this order. A Host among them takes the place of
	// the host of the URL, though not of its port.
	Headers []HeaderField `json:"headers,omitempty"`
	// ClientIP is the address that the connection comes from. Empty means
	// 127.0.0.1.
	ClientIP string `json:"client_ip,omitempty"`
	// Gateway names the gateway that takes the request, whatever the port and
	// the host. Empty means the one that they lead to.
	Gateway string `json:"gateway,omitempty"`
	// WhyNot is a route; the explanation says what kept the request away
	// from it. Empty asks for none.
	WhyNot string `json:"why_not,omitempty"`
	// Ticket fixes draws.
	Ticket Tickets `json:"ticket,omitempty"`
}

// ExplainError says what is wrong in an ExplainRequest.
type ExplainError struct {
	Field   string `json:"field"`   // as in JSON, such as url
	Problem string `json:"problem"` // what is wrong, and what is allowed
}

// Error returns "field: problem".
func (e *ExplainError) Error() string { return e.Field + ": " + e.Problem }

func explainErrorf(field, format string, args ...any) error {
	return &ExplainError{field, fmt.Sprintf(format, args...)}
}

// HeaderField is a line of a head. In JSON it is a pair: ["Name", "value"].
type HeaderField struct{ Name, Value string }

// MarshalJSON writes the pair.
func (f HeaderField) MarshalJSON() ([]byte, error) { return json.Marshal([2]string{f.Name, f.Value}) }

// UnmarshalJSON reads a pair, and nothing but a pair.
func (f *HeaderField) UnmarshalJSON(b []byte) error {
	var pair []string
	if err := json.Unmarshal(b, &pair); err != nil || len(pair) != 2 {
		return errors.New(`a header is a pair of texts, such as ["User-Agent", "Firefox"]`)
	}
	f.Name, f.Value = pair[0], pair[1]
	return nil
}

// Tickets fix draws: by role ("strength", "weights"), by role and gateway
// ("weights@shop"), all of them (""), or the number that conditions leave to
// chance ("random"). The more special one counts. A draw that is not fixed
// takes the ticket that would be next; draws that follow on one split take
// the tickets that follow. In JSON one number stands for all.
type Tickets map[string]uint64

// The roles of draws.
const (
	roleAll      = ""
	roleStrength = "strength"
	roleWeights  = "weights"
	roleRandom   = "random"
)

// Set adds what stands in a text: N, ROLE=N or ROLE@GATEWAY=N.
func (t *Tickets) Set(text string) error {
	key, number, found := strings.Cut(text, "=")
	if !found {
		key, number = roleAll, text
	}
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return fmt.Errorf("%q is not a ticket; N, strength=N, weights=N or random=N, with @GATEWAY behind the word if need be", text)
	}
	if err := checkTicket(key, n); err != nil {
		return err
	}
	if *t == nil {
		*t = make(Tickets)
	}
	(*t)[key] = n
	return nil
}

// UnmarshalJSON reads a number or an object of numbers.
func (t *Tickets) UnmarshalJSON(b []byte) error {
	var n uint64
	if json.Unmarshal(b, &n) == nil {
		*t = Tickets{roleAll: n}
		return nil
	}
	var m map[string]uint64
	if json.Unmarshal(b, &m) != nil {
		return errors.New(`a ticket is a number, or an object such as {"strength": 3, "weights@shop": 17}`)
	}
	*t = m
	return nil
}

func checkTicket(key string, n uint64) error {
	role, gateway, special := strings.Cut(key, "@")
	switch {
	case special && (gateway == "" || !utf8.ValidString(gateway)), special && role != roleStrength && role != roleWeights,
		role != roleAll && role != roleStrength && role != roleWeights && role != roleRandom:
		return fmt.Errorf("no draw is called %q; strength, weights or random, the first two also with @GATEWAY", key)
	case role == roleRandom && n > 1<<32-1:
		return fmt.Errorf("random is %d; 0 to %d", n, uint32(1<<32-1))
	}
	return nil
}

// of returns the ticket that is fixed for a role at a gateway.
func (t *Tickets) of(role, gateway string) (n uint64, fixed bool) {
	for _, key := range []string{role + "@" + gateway, role, roleAll} {
		if n, fixed = (*t)[key]; fixed {
			return n, true
		}
	}
	return 0, false
}

// described is a conditions.Request that somebody described.
type described struct {
	method, host, target string
	scheme               string
	secure               bool             // it comes over TLS
	hello                conditions.Hello // what the client says then
	certificate          *conditions.ClientCertificate
	port                 int // that the URL leads to
	fields               []HeaderField
	conn                 conditions.Conn
	random               uint32
	randomAsked          bool
}

// read returns the request that is described.
func (e *ExplainRequest) read() (*described, error) {
	r := &described{method: cmp.Or(e.Method, methodGet)}
	if !isToken(r.method) {
		return nil, explainErrorf("method", "%s is not a method; a word such as GET", quote(r.method))
	}
	if strings.EqualFold(r.method, "CONNECT") {
		return nil, explainErrorf("method", "CONNECT is not forwarded")
	}
	if err := r.readURL(e); err != nil {
		return nil, err
	}
	if err := r.readTLS(e); err != nil {
		return nil, err
	}
	client, err := netip.ParseAddr(cmp.Or(e.ClientIP, "127.0.0.1"))
	if err != nil {
		return nil, explainErrorf("client_ip", "%s is not an IP address; such as 192.0.2.1", quote(e.ClientIP))
	}
	r.conn.Client = netip.AddrPortFrom(client.Unmap().WithZone(""), 0)
	r.conn.Peer = r.conn.Client
	local := netip.IPv4Unspecified()
	if r.conn.Client.Addr().Is6() {
		local = netip.IPv6Unspecified()
	}
	r.conn.Local = netip.AddrPortFrom(local, uint16(r.port))
	for _, key := range slices.Sorted(maps.Keys(e.Ticket)) {
		if err := checkTicket(key, e.Ticket[key]); err != nil {
			return nil, explainErrorf("ticket", "%v", err)
		}
	}
	r.random = uint32(e.Ticket[roleRandom])
	return r, nil
}

// readURL takes a URL apart without changing anything in it: what is sent is
// what conditions see. Only a fragment is left out, as clients do.
func (r *described) readURL(e *ExplainRequest) error {
	scheme, rest, found := strings.Cut(e.URL, "://")
	if !found {
		scheme, rest = schemeHTTP, e.URL
	}
	switch r.scheme = strings.ToLower(scheme); r.scheme {
	case schemeHTTP, schemeHTTPS:
	case schemeTCP:
		return r.readConnection(e, rest)
	default:
		return explainErrorf("url", "%s is not a scheme of gateways; write http://, https:// or tcp://", quote(scheme))
	}
	rest, _, _ = strings.Cut(rest, "#")
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	r.host, r.target = rest[:end], rest[end:]
	if !strings.HasPrefix(r.target, "/") {
		r.target = "/" + r.target
	}
	for i := range len(r.target) {
		if c := r.target[i]; c <= ' ' || c == 0x7f {
			return explainErrorf("url", "a path or query has no blanks and no control characters; write %%20 for a blank")
		}
	}
	if !utf8.ValidString(r.target) {
		return explainErrorf("url", "it is not UTF-8; write such bytes as %%FF")
	}
	name, port, err := splitHost(r.host)
	if err != nil {
		return explainErrorf("url", "%v; such as http://shop.example:8080/cart", err)
	}
	usual := 80
	if r.scheme == schemeHTTPS {
		usual = 443
		if isHostName(name) && !isAddress(name) {
			r.hello.ServerName = strings.ToLower(strings.TrimSuffix(name, "."))
		}
	}
	r.port = cmp.Or(port, usual)
	if port == usual {
		r.host = name // clients leave the usual port out
	}
	return r.readHeaders(e.Headers)
}

// splitHost checks a host and returns it without its port; port is 0 if it
// has none.
func splitHost(host string) (name string, port int, err error) {
	name = withoutPort(host)
	if name != host {
		port, err = strconv.Atoi(host[len(name)+1:])
		if err != nil || port < 1 || port > 65535 {
			return "", 0, fmt.Errorf("%s has no port of 1 to 65535 behind its colon", quote(host))
		}
	}
	literal, bracketed := strings.CutPrefix(name, "[")
	if bracketed {
		addr, err := netip.ParseAddr(strings.TrimSuffix(literal, "]"))
		if err != nil || !addr.Is6() || addr.Zone() != "" || !strings.HasSuffix(name, "]") {
			return "", 0, fmt.Errorf("%s is not a host", quote(host))
		}
		return name, port, nil
	}
	const besides = "-._~%!$&'()*+,;=" // RFC 3986 section 3.2.2, reg-name
	for i := range len(name) {
		if c := name[i]; !isAlphanumeric(c) && strings.IndexByte(besides, c) < 0 {
			return "", 0, fmt.Errorf("%s is not a host", quote(host))
		}
	}
	if name == "" {
		return "", 0, errors.New("there is no host")
	}
	return name, port, nil
}

// readHeaders takes the fields, Host first, as clients send it.
func (r *described) readHeaders(fields []HeaderField) error {
	hosts := 0
	for _, f := range fields {
		f.Value = strings.Trim(f.Value, " \t")
		if !isToken(f.Name) {
			return explainErrorf("headers", "%s is not the name of a header; such as User-Agent", quote(f.Name))
		}
		if !utf8.ValidString(f.Value) {
			return explainErrorf("headers", "the value of %s is not UTF-8, and cannot be told", f.Name)
		}
		for i := range len(f.Value) {
			if c := f.Value[i]; c < ' ' && c != '\t' || c == 0x7f {
				return explainErrorf("headers", "the value of %s has a control character in it", f.Name)
			}
		}
		if !strings.EqualFold(f.Name, "Host") {
			r.fields = append(r.fields, f)
			continue
		}
		if _, _, err := splitHost(f.Value); err != nil {
			return explainErrorf("headers", "Host: %v", err)
		}
		if hosts++; hosts > 1 {
			return explainErrorf("headers", "Host stands twice; such a request is refused")
		}
		r.host = f.Value
	}
	r.fields = slices.Insert(r.fields, 0, HeaderField{"Host", r.host})
	return nil
}

// isToken reports whether s is a token (RFC 9110 section 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		if c := s[i]; !isAlphanumeric(c) && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}

func isAlphanumeric(c byte) bool {
	c = lowerASCII(c)
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
}

// Method implements conditions.Request.
func (r *described) Method() string { return r.method }

// Host implements conditions.Request.
func (r *described) Host() string { return r.host }

// Target implements conditions.Request.
func (r *described) Target() string { return r.target }

// Path implements conditions.Request.
func (r *described) Path() string {
	path, _, _ := strings.Cut(r.target, "?")
	return path
}

// Query implements conditions.Request.
func (r *described) Query() string {
	_, query, _ := strings.Cut(r.target, "?")
	return query
}

// Field implements conditions.Request.
func (r *described) Field(name string, from int) (value string, next int) {
	for i := from; i < len(r.fields); i++ {
		if f := &r.fields[i]; len(f.Name) == len(name) && strings.EqualFold(f.Name, name) {
			return f.Value, i + 1
		}
	}
	return "", -1
}

// Conn implements conditions.Request.
func (r *described) Conn() *conditions.Conn { return &r.conn }

// Random implements conditions.Request, and notes that it was asked: what is
// left to chance is told.
func (r *described) Random() uint32 {
	r.randomAsked = true
	return r.random
}
