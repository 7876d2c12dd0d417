// SPDX-License-Identifier: Apache-2.0

package api

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/maphash"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/sluice-mesh/sluice/control/auth"
)

// authorHeader names the person who changes something, where nobody shows a
// token.
const authorHeader = "Sluice-Author"

// maxAuthor bounds what it says.
const maxAuthor = 100

// Check returns why an address cannot be served: others reach it, and there
// are no tokens or there is no TLS.
func (a *API) Check(addr net.Addr) error {
	if isLoopback(addr) || a.o.Tokens != nil && a.o.TLS != nil {
		return nil
	}
	return fmt.Errorf("the API on %v would be open to others: it needs TLS and tokens there (see 'sluice pki'), or an address of this machine alone, such as 127.0.0.1:8090", addr)
}

// isLoopback reports whether an address is reached from this machine alone.
func isLoopback(addr net.Addr) bool {
	if addr == nil {
		return false
	}
	if addr.Network() == "unix" {
		return true
	}
	at, err := netip.ParseAddrPort(addr.String())
	return err == nil && at.Addr().Unmap().IsLoopback()
}

// local reports whether both ends of a request's connection are on this
// machine.
func local(r *http.Request) bool {
	addr, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	return isLoopback(addr) && err == nil && from.Addr().Unmap().IsLoopback()
}

// guard lets requests in, or does not.
type guard struct {
	tokens *auth.Tokens
	secure bool // TLS is spoken
	hosts  []string
	tries  tries
}

func newGuard(o Options) *guard {
	g := &guard{tokens: o.Tokens, secure: o.TLS != nil, tries: tries{now: o.Clock, seed: maphash.MakeSeed()}}
	for _, h := range o.Hosts {
		g.hosts = append(g.hosts, strings.ToLower(strings.TrimSuffix(h, ".")))
	}
	return g
}

// origin refuses what pages of other sites have a browser do: by a name that
// they made lead here, or by a request of theirs that changes something.
func (g *guard) origin(r *http.Request) error {
	if !g.knows(r.Host) {
		return refuse(http.StatusForbidden, fmt.Sprintf("the API is not called %.100q: ask it by an address of this machine or by localhost, or add the name to those that it goes by", r.Host))
	}
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return refuse(http.StatusForbidden, "a page of another origin asks: the API answers its own pages alone")
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		u, err := url.Parse(origin)
		if err != nil || !strings.EqualFold(u.Host, r.Host) {
			return refuse(http.StatusForbidden, fmt.Sprintf("a page of %.100q asks: the API answers its own pages alone", origin))
		}
	}
	return nil
}

// knows reports whether the API goes by the host of a request.
func (g *guard) knows(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
	if name == "localhost" || slices.Contains(g.hosts, name) {
		return true
	}
	if addr, err := netip.ParseAddr(name); err == nil && addr.Unmap().IsLoopback() {
		return true
	}
	// A page that made its own name lead here has no token.
	return len(g.hosts) == 0 && g.tokens != nil && g.secure
}

// admit finds out who asks, and refuses what they may not do. A path or method
// that is not there takes no less than one that is.
func (g *guard) admit(c *call) error {
	if c.route != nil && c.route.open {
		return nil
	}
	person, err := g.person(c.r)
	if err != nil {
		if e, ok := errors.AsType[*Error](err); ok && e.Status == http.StatusUnauthorized {
			if _, shown := bearer(c.r); shown { // as often as an address may try
				c.api.o.Log.WarnContext(c.ctx(), "token refused", "address", c.r.RemoteAddr, "why", e.Message)
			}
			c.w.Header().Set("WWW-Authenticate", `Bearer realm="sluice"`)
		}
		return err
	}
	c.person = person
	if c.author, err = authorOf(person, c.r); err != nil {
		return err
	}
	need, where := auth.Viewer, c.ns
	if c.route != nil {
		need = c.route.need
	}
	if c.route == nil || c.route.everywhere || c.route.root {
		where = auth.Everywhere
	}
	if c.route == nil {
		return nil // whoever has a token may learn that there is nothing
	}
	return person.Allow(where, need)
}

// person returns who shows the token of a request.
func (g *guard) person(r *http.Request) (auth.Person, error) {
	if g.tokens == nil {
		if !local(r) {
			return auth.Person{}, refuse(http.StatusForbidden, "the API has no tokens and is for this machine alone")
		}
		return auth.Person{Name: "local", Grants: []auth.Grant{{Namespace: auth.Everywhere, Rank: auth.Admin}}}, nil
	}
	token, ok := bearer(r)
	if !ok {
		return auth.Person{}, refuse(http.StatusUnauthorized,
			"a token is needed: send 'Authorization: Bearer TOKEN' with one of 'sluice pki token'")
	}
	addr, _ := netip.ParseAddrPort(r.RemoteAddr)
	hash := sha256.Sum256([]byte(token))
	if wait := g.tries.wait(addr.Addr(), hash); wait > 0 {
		e := refuse(http.StatusTooManyRequests, "too many wrong tokens came from this address")
		e.RetryAfter = int(wait.Seconds()) + 1
		return auth.Person{}, e
	}
	person, err := g.tokens.Person(r.Context(), r.TLS, net.TCPAddrFromAddrPort(addr), token)
	if _, of := errors.AsType[*auth.TokenError](err); of || errors.Is(err, auth.ErrUnknownToken) || errors.Is(err, auth.ErrNoTLS) {
		g.tries.wrong(addr.Addr())
		return auth.Person{}, refuse(http.StatusUnauthorized, err.Error())
	}
	if err == nil {
		g.tries.right(hash)
	}
	return person, err
}

// bearer returns the token of a request (RFC 6750 section 2.1).
func bearer(r *http.Request) (string, bool) {
	values := r.Header.Values("Authorization")
	if len(values) != 1 {
		return "", false
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	token = strings.TrimSpace(token)
	return token, ok && token != "" && strings.EqualFold(scheme, "Bearer")
}

// authorOf returns the name under which a person's changes stand.
func authorOf(p auth.Person, r *http.Request) (string, error) {
	if p.Token != "" {
		return p.String(), nil
	}
	name := strings.TrimSpace(r.Header.Get(authorHeader))
	if name == "" {
		return p.Name, nil
	}
	if len(name) > maxAuthor || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return "", refuse(http.StatusBadRequest, fmt.Sprintf("%s is no name: up to %d bytes without control characters are allowed", authorHeader, maxAuthor))
	}
	return p.Name + ": " + name, nil
}

// Wrong tokens: an address may show so many at once, and one more each pause.
const (
	maxTries   = 10
	triesPause = 6 * time.Second
)

// tries slows down who guesses. Addresses share slots, so that it does not
// grow; tokens that were right lately are not held up by the wrong ones of
// others behind the same address. The zero tries needs now and seed.
type tries struct {
	now  func() time.Time
	seed maphash.Seed

	mu    sync.Mutex // guards the fields below
	slots [4096]time.Time
	good  [1024][sha256.Size]byte
}

// wait returns how long an address has to wait before it may show a token.
func (t *tries) wait(from netip.Addr, token [sha256.Size]byte) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	if *t.goodSlot(token) == token {
		return 0
	}
	// The slot holds when all that was wrong is forgiven.
	held, now := t.slot(from).Add(-(maxTries-1)*triesPause), t.now()
	if !held.After(now) {
		return 0 // the difference to the zero time would be too long for a Duration
	}
	return held.Sub(now)
}

func (t *tries) wrong(from netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, now := t.slot(from), t.now()
	if s.Before(now) {
		*s = now
	}
	*s = s.Add(triesPause)
	if most := now.Add(maxTries * triesPause); s.After(most) {
		*s = most // however many were shown at the same time
	}
}

func (t *tries) right(token [sha256.Size]byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	*t.goodSlot(token) = token
}

// slot returns that of an address; of IPv6, of its network.
func (t *tries) slot(from netip.Addr) *time.Time {
	if from = from.Unmap(); from.Is6() {
		if p, err := from.Prefix(64); err == nil {
			from = p.Addr()
		}
	}
	return &t.slots[maphash.Comparable(t.seed, from)%uint64(len(t.slots))]
}

func (t *tries) goodSlot(token [sha256.Size]byte) *[sha256.Size]byte {
	return &t.good[maphash.Comparable(t.seed, token)%uint64(len(t.good))]
}
