// SPDX-License-Identifier: Apache-2.0

package auth_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/control/auth"
)

// overTLS is a connection whose client has shown no certificate.
func overTLS() *tls.ConnectionState {
	return &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true}
}

var (
	fromHere  = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}
	fromThere = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1}
)

func joinToken(ns ...string) auth.Token { return auth.Token{Kind: auth.Join, Namespaces: ns} }

func newTokens(t *testing.T) (*auth.Tokens, *clock, string) {
	t.Helper()
	c, dir := new(clock), filepath.Join(t.TempDir(), "tokens")
	return auth.NewTokens(auth.DirVault(dir), c.now), c, dir
}

func mustIssue(t *testing.T, s *auth.Tokens, tok auth.Token, lifetime time.Duration) (string, auth.Token) {
	t.Helper()
	secret, made, err := s.Issue(t.Context(), tok, lifetime)
	if err != nil {
		t.Fatal(err)
	}
	return secret, made
}

func TestJoinToken(t *testing.T) {
	claim := auth.Claim{Node: "edge-1", Namespaces: []string{"acme/prod"}}
	other := auth.Claim{Node: "edge-1", Namespaces: []string{"acme/prod", "acme/dev"}}
	for _, tt := range []struct {
		name  string
		token auth.Token
		after time.Duration
		state *tls.ConnectionState
		claim auth.Claim
		want  error
	}{
		{"joins within its namespaces", joinToken("acme/prod"), 0, overTLS(), claim, nil},
		{"joins until it ends", joinToken("acme/prod"), time.Hour - time.Nanosecond, overTLS(), claim, nil},
		{"is of no use from then on", joinToken("acme/prod"), time.Hour, overTLS(), claim, auth.ErrExpired},
		{"is not taken in clear", joinToken("acme/prod"), 0, nil, claim, auth.ErrNoTLS},
		{"is not taken before the handshake is over", joinToken("acme/prod"), 0, &tls.ConnectionState{}, claim, auth.ErrNoTLS},
		{"gives no other namespace", joinToken("acme/prod"), 0, overTLS(), other, &auth.ScopeError{}},
		{"may be of one node", auth.Token{Kind: auth.Join, Namespaces: []string{"acme/prod"}, Node: "edge-1"}, 0, overTLS(), claim, nil},
		{"and of no other", auth.Token{Kind: auth.Join, Namespaces: []string{"acme/prod"}, Node: "edge-2"}, 0, overTLS(), claim, &auth.ScopeError{}},
		{"of a person is for the API", auth.Token{Kind: auth.API, Grants: []auth.Grant{{"acme/prod", auth.Admin}}}, 0, overTLS(), claim, auth.ErrWrongKind},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, c, _ := newTokens(t)
			secret, made := mustIssue(t, s, tt.token, time.Hour)
			c.set(tt.after)
			got, err := s.Identify(t.Context(), tt.state, secret, tt.claim)
			if scope, ok := errors.AsType[*auth.ScopeError](tt.want); ok {
				if !errors.As(err, &scope) {
					t.Fatalf("Identify() error = %v, want a *ScopeError", err)
				}
				return
			}
			if !errors.Is(err, tt.want) {
				t.Fatalf("Identify() error = %v, want %v", err, tt.want)
			}
			if want := proxy("edge-1", "acme/prod"); err == nil {
				want.Expires, want.Token = start.Add(time.Hour), made.ID
				if !reflect.DeepEqual(got, want) {
					t.Errorf("Identify() = %+v, want %+v", got, want)
				}
			}
		})
	}
}

func TestIdentifyWantsACredential(t *testing.T) {
	s, _, _ := newTokens(t)
	if _, err := s.Identify(t.Context(), overTLS(), "", auth.Claim{Node: "e", Namespaces: []string{"a/b"}}); !errors.Is(err, auth.ErrNoCertificate) {
		t.Errorf("Identify() = %v, want ErrNoCertificate", err)
	}
	secret, _ := mustIssue(t, s, joinToken("a/b"), time.Hour)
	for _, claim := range []auth.Claim{{}, {Node: "e"}, {Node: "../e", Namespaces: []string{"a/b"}}, {Node: "e", Namespaces: []string{auth.Everywhere}}} {
		if id, err := s.Identify(t.Context(), overTLS(), secret, claim); err == nil {
			t.Errorf("Identify(%+v) = %+v, want an error", claim, id)
		}
	}
}

func TestWrongTokensAreAllAlike(t *testing.T) {
	s, _, _ := newTokens(t)
	secret, made := mustIssue(t, s, joinToken("a/b"), time.Hour)
	if _, err := s.Revoke(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	claim := auth.Claim{Node: "e", Namespaces: []string{"a/b"}}
	wrong := []string{
		"x", "sluice_join_", secret + "0", secret[:len(secret)-1], strings.ToUpper(secret), " " + secret,
		strings.Replace(secret, made.ID, "0000000000000000", 1),
		strings.Replace(secret, made.ID, "../../etc/passwd", 1),
		strings.Replace(secret, "join", "api", 1)[:40],
		strings.Repeat("x", 1<<20),
	}
	for at := len(secret) - 64; at < len(secret); at++ { // each digit of the secret counts
		flipped := []byte(secret)
		flipped[at] = "0123456789abcdef0"[strings.IndexByte("0123456789abcdef", flipped[at])+1]
		wrong = append(wrong, string(flipped))
	}
	for _, token := range wrong {
		if _, err := s.Identify(t.Context(), overTLS(), token, claim); err == nil || err.Error() != auth.ErrUnknownToken.Error() {
			t.Errorf("Identify with %.80q = %v, want ErrUnknownToken", token, err)
		}
	}
	if _, err := s.Identify(t.Context(), overTLS(), secret, claim); !errors.Is(err, auth.ErrRevoked) {
		t.Errorf("Identify with the revoked token = %v, want ErrRevoked", err)
	}
}

func TestRevocationCountsAtOnceAndForEver(t *testing.T) {
	s, c, dir := newTokens(t)
	secret, made := mustIssue(t, s, auth.Token{Kind: auth.API, Name: "alice", Grants: []auth.Grant{{"a/b", auth.Viewer}}}, day)
	if _, err := s.Person(t.Context(), overTLS(), fromThere, secret); err != nil {
		t.Fatal(err)
	}
	other := auth.NewTokens(auth.DirVault(dir), c.now) // as another process
	c.set(time.Minute)
	if _, err := other.Revoke(t.Context(), made.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Person(t.Context(), overTLS(), fromThere, secret); !errors.Is(err, auth.ErrRevoked) {
		t.Errorf("Person() = %v, want ErrRevoked", err)
	}
	c.set(time.Hour)
	again, err := s.Revoke(t.Context(), made.ID)
	if err != nil || !again.Revoked.Equal(start.Add(time.Minute)) {
		t.Errorf("Revoke again = %v, %v; want it to stay at the first time", again.Revoked, err)
	}
	if _, err := s.Revoke(t.Context(), "0000000000000000"); !errors.Is(err, auth.ErrUnknownToken) {
		t.Errorf("Revoke of another = %v, want ErrUnknownToken", err)
	}
}

func TestATokenMayEndBeforeItsTime(t *testing.T) {
	s, c, _ := newTokens(t)
	secret, made := mustIssue(t, s, joinToken("a/b"), day)
	claim := auth.Claim{Node: "n", Namespaces: []string{"a/b"}}
	if _, err := s.Shorten(t.Context(), made.ID, start); err == nil {
		t.Error("a token may end when it was made")
	}
	if got, err := s.Shorten(t.Context(), made.ID, start.Add(2*day)); err != nil || !got.Expires.Equal(made.Expires) {
		t.Errorf("Shorten to a later time = %v, %v; want it as it was", got.Expires, err)
	}
	if got, err := s.Shorten(t.Context(), made.ID, start.Add(time.Hour)); err != nil || !got.Expires.Equal(start.Add(time.Hour)) {
		t.Fatalf("Shorten = %v, %v; want an end in an hour", got.Expires, err)
	}
	c.set(59 * time.Minute)
	if _, err := s.Identify(t.Context(), overTLS(), secret, claim); err != nil {
		t.Errorf("Identify() before the end = %v", err)
	}
	c.set(time.Hour)
	if _, err := s.Identify(t.Context(), overTLS(), secret, claim); !errors.Is(err, auth.ErrExpired) {
		t.Errorf("Identify() after the end = %v, want ErrExpired", err)
	}
	_, gone := mustIssue(t, s, joinToken("a/b"), day)
	if _, err := s.Revoke(t.Context(), gone.ID); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Shorten(t.Context(), gone.ID, start.Add(2*time.Hour)); err != nil || !got.Expires.Equal(gone.Expires) || got.Revoked.IsZero() {
		t.Errorf("Shorten of what was revoked = %+v, %v; want it as it was", got, err)
	}
	if _, err := s.Shorten(t.Context(), "0000000000000000", start); !errors.Is(err, auth.ErrUnknownToken) {
		t.Errorf("Shorten of another = %v, want ErrUnknownToken", err)
	}
}

func TestPersonNeedsTLSOrThisMachine(t *testing.T) {
	s, _, _ := newTokens(t)
	secret, _ := mustIssue(t, s, auth.Token{Kind: auth.API, Grants: []auth.Grant{{"a/b", auth.Viewer}}}, day)
	join, _ := mustIssue(t, s, joinToken("a/b"), day)
	for _, tt := range []struct {
		name  string
		state *tls.ConnectionState
		from  net.Addr
		token string
		want  error
	}{
		{"over TLS from anywhere", overTLS(), fromThere, secret, nil},
		{"in clear from this machine", nil, fromHere, secret, nil},
		{"in clear from elsewhere", nil, fromThere, secret, auth.ErrNoTLS},
		{"in clear from nobody knows where", nil, nil, secret, auth.ErrNoTLS},
		{"the token of a proxy", nil, fromHere, join, auth.ErrWrongKind},
		{"none", nil, fromHere, "", auth.ErrUnknownToken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := s.Person(t.Context(), tt.state, tt.from, tt.token); !errors.Is(err, tt.want) {
				t.Errorf("Person() error = %v, want %v", err, tt.want)
			}
		})
	}
}

func TestAllow(t *testing.T) {
	alice := auth.Person{Name: "alice", Token: "1", Grants: []auth.Grant{{"a/prod", auth.Viewer}, {"a/dev", auth.Admin}}}
	root := auth.Person{Token: "2", Grants: []auth.Grant{{auth.Everywhere, auth.Operator}, {"a/prod", auth.Viewer}}}
	for _, tt := range []struct {
		name    string
		who     auth.Person
		in      string
		need    auth.Rank
		allowed bool
	}{
		{"nobody sees nothing", auth.Person{}, "a/prod", auth.Viewer, false},
		{"a viewer sees", alice, "a/prod", auth.Viewer, true},
		{"and moves nothing", alice, "a/prod", auth.Operator, false},
		{"an admin does all that is below", alice, "a/dev", auth.Viewer, true},
		{"but elsewhere nothing", alice, "a/test", auth.Viewer, false},
		{"nor of all", alice, auth.Everywhere, auth.Viewer, false},
		{"everywhere is anywhere", root, "b/c", auth.Operator, true},
		{"the highest counts", root, "a/prod", auth.Operator, true},
		{"and no more", root, "b/c", auth.Admin, false},
		{"to need nothing is denied", root, "b/c", 0, false},
		{"to need too much is denied", root, "b/c", auth.Admin + 1, false},
		{"a rank that is none gives nothing", auth.Person{Grants: []auth.Grant{{"a/b", 77}}}, "a/b", auth.Viewer, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.who.Allow(tt.in, tt.need)
			denied, _ := errors.AsType[*auth.DeniedError](err)
			if (denied == nil) != tt.allowed {
				t.Errorf("%v.Allow(%q, %v) = %v, want allowed = %t", tt.who, tt.in, tt.need, err, tt.allowed)
			}
		})
	}
}

func TestIssueTokenRefuses(t *testing.T) {
	s, _, dir := newTokens(t)
	grant := []auth.Grant{{"a/b", auth.Viewer}}
	for _, tt := range []struct {
		name     string
		token    auth.Token
		lifetime time.Duration
		want     string
	}{
		{"no kind", auth.Token{}, day, "kind"},
		{"no end", joinToken("a/b"), 0, "expires"},
		{"too late an end", joinToken("a/b"), auth.MaxLifetime + day, "expires"},
		{"no namespace", joinToken(), day, "there are none"},
		{"all namespaces for a proxy", joinToken("*"), day, "not organisation/environment"},
		{"a proxy with grants", auth.Token{Kind: auth.Join, Namespaces: []string{"a/b"}, Grants: grant}, day, "for people"},
		{"a person of a node", auth.Token{Kind: auth.API, Node: "e", Grants: grant}, day, "for proxies"},
		{"a person without grants", auth.Token{Kind: auth.API}, day, "there are none"},
		{"a grant of nothing", auth.Token{Kind: auth.API, Grants: []auth.Grant{{"a/b", 0}}}, day, "no rank"},
		{"two grants in one namespace", auth.Token{Kind: auth.API, Grants: []auth.Grant{{"a/b", 1}, {"a/b", 2}}}, day, "twice"},
		{"a name of two lines", auth.Token{Kind: auth.API, Name: "a\nb", Grants: grant}, day, "name"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, _, err := s.Issue(t.Context(), tt.token, tt.lifetime); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Issue(%+v) error = %v, want %q", tt.token, err, tt.want)
			}
		})
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was written: %v", err)
	}
}

func TestTokensAreKeptAsHashes(t *testing.T) {
	s, _, dir := newTokens(t)
	want := auth.Token{Kind: auth.API, Name: "alice", Grants: []auth.Grant{{"*", auth.Operator}, {"a/b", auth.Admin}}}
	secret, made := mustIssue(t, s, want, day)
	path := filepath.Join(dir, made.ID+".json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), secret[len(secret)-64:]) {
		t.Error("the file holds the secret")
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	list, err := s.List(t.Context())
	if err != nil || len(list) != 1 || !reflect.DeepEqual(list[0], made) {
		t.Errorf("List() = %+v, %v; want %+v", list, err, made)
	}
}

// staticVault holds one text under every ID.
type staticVault struct {
	auth.Vault
	text []byte
}

func (v staticVault) Load(context.Context, string) ([]byte, error) { return v.text, nil }

// Whatever a file holds, it lets in nobody who does not know the secret, nor
// whom it does not grant anything; who knows it gets valid ranks alone.
func FuzzRecord(f *testing.F) {
	const id = "0123456789abcdef"
	secret := bytes.Repeat([]byte{0x11}, 32)
	sum := sha256.Sum256(secret)
	zeros, hash := strings.Repeat("0", 64), hex.EncodeToString(sum[:])
	head := `{"schema":1,"sha256":"` + zeros + `","id":"` + id + `",`
	times := `"created":"2030-01-02T03:04:05Z","expires":"2030-01-03T03:04:05Z"}`
	f.Add([]byte(head + `"kind":"join","namespaces":["a/b"],` + times))
	f.Add([]byte(head + `"kind":"api","grants":[{"namespace":"*","rank":"admin"}],` + times))
	f.Add([]byte(head + `"kind":"api","grants":null,"more":1,` + times))
	token := "sluice_api_" + id + "_" + hex.EncodeToString(secret)
	now := func() time.Time { return start }
	f.Fuzz(func(t *testing.T, text []byte) {
		if !bytes.Contains(text, []byte(hash)) {
			s := auth.NewTokens(staticVault{text: text}, now)
			if p, err := s.Person(t.Context(), overTLS(), fromHere, token); err == nil {
				t.Fatalf("%q lets in %v", text, p)
			}
		}
		known := bytes.Replace(text, []byte(zeros), []byte(hash), 1)
		p, err := auth.NewTokens(staticVault{text: known}, now).Person(t.Context(), overTLS(), fromHere, token)
		if err != nil {
			return
		}
		if len(p.Grants) == 0 {
			t.Fatalf("%q lets in somebody without a grant", known)
		}
		for _, g := range p.Grants {
			if err := p.Allow(g.Namespace, g.Rank); err != nil {
				t.Fatalf("%q: %v", known, err)
			}
		}
	})
}

func TestGoodRecordLetsIn(t *testing.T) {
	s, _, _ := newTokens(t)
	secret, _ := mustIssue(t, s, auth.Token{Kind: auth.API, Grants: []auth.Grant{{"*", auth.Admin}}}, day)
	p, err := s.Person(t.Context(), nil, fromHere, secret)
	if err != nil || p.Allow("any/where", auth.Admin) != nil {
		t.Errorf("Person() = %v, %v; want an admin of all namespaces", p, err)
	}
}

func TestDamagedTokenFilesDeny(t *testing.T) {
	s, _, dir := newTokens(t)
	secret, made := mustIssue(t, s, joinToken("a/b"), day)
	_, whole := mustIssue(t, s, joinToken("a/b"), day)
	path := filepath.Join(dir, made.ID+".json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	claim := auth.Claim{Node: "e", Namespaces: []string{"a/b"}}
	for size := range len(text) - 1 { // the last byte is a line end
		if err := os.WriteFile(path, text[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Identify(t.Context(), overTLS(), secret, claim); err == nil {
			t.Fatalf("a file that was cut after %d bytes lets in", size)
		}
	}
	list, err := s.List(t.Context())
	if err == nil || !strings.Contains(err.Error(), made.ID) || len(list) != 1 || list[0].ID != whole.ID {
		t.Errorf("List() = %+v, %v; want the other one, and an error that names this one", list, err)
	}
}
