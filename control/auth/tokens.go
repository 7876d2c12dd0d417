// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Vault keeps what is known of tokens, by ID. Every method is safe for
// concurrent use, also by several processes.
type Vault interface {
	// Load returns what is kept under an ID, or an error that is
	// fs.ErrNotExist.
	Load(ctx context.Context, id string) ([]byte, error)
	// Add keeps something under a new ID, durably.
	Add(ctx context.Context, id string, text []byte) error
	// Replace keeps something in the place of what is there, at once and
	// durably.
	Replace(ctx context.Context, id string, text []byte) error
	// IDs returns all IDs, in any order.
	IDs(ctx context.Context) ([]string, error)
}

// Tokens issues tokens and knows those that it issued. It reads them from its
// vault whenever one is shown, so that what another process has issued or
// revoked counts at once. It is safe for concurrent use.
type Tokens struct {
	vault Vault
	clock Clock
}

// NewTokens returns the tokens in a vault.
func NewTokens(v Vault, clock Clock) *Tokens { return &Tokens{v, clock} }

// Issue makes a token. Of t, Kind, Name, Node, Namespaces and Grants count;
// lifetime is more than 0 and at most MaxLifetime. secret is the token itself:
// it can be had only now. What is wrong with t is an *InvalidError.
func (s *Tokens) Issue(ctx context.Context, t Token, lifetime time.Duration) (secret string, _ Token, err error) {
	random := make([]byte, idBytes+secretBytes)
	_, _ = rand.Read(random) // never fails
	sum := sha256.Sum256(random[idBytes:])
	t.ID = hex.EncodeToString(random[:idBytes])
	t.Created = s.clock.now().UTC().Truncate(time.Second)
	t.Expires, t.Revoked = t.Created.Add(lifetime), time.Time{}
	t.Namespaces, t.Grants = slices.Clone(t.Namespaces), slices.Clone(t.Grants)
	if err := t.check(); err != nil {
		return "", Token{}, &InvalidError{err}
	}
	text, err := (&record{Schema: recordSchema, SHA256: hex.EncodeToString(sum[:]), Token: t}).encode()
	if err != nil {
		return "", Token{}, err
	}
	if err := s.vault.Add(ctx, t.ID, text); err != nil {
		return "", Token{}, err
	}
	return format(t.Kind, t.ID, random[idBytes:]), t, nil
}

// Revoke takes a token back, for ever; it is no error if it was already. An ID
// that is not known is ErrUnknownToken.
func (s *Tokens) Revoke(ctx context.Context, id string) (Token, error) {
	r, err := s.load(ctx, id)
	if err != nil || !r.Revoked.IsZero() {
		return tokenOf(r), err
	}
	r.Revoked = s.clock.now().UTC().Truncate(time.Second)
	text, err := r.encode()
	if err != nil {
		return Token{}, err
	}
	return r.Token, s.vault.Replace(ctx, id, text)
}

// Shorten has a token end at a time, and returns what is known of it then. One
// that ends before, or was revoked, stays as it is. A time that is not after the
// making of the token is an *InvalidError; Revoke is for that. ErrUnknownToken
// says that there is no such token.
func (s *Tokens) Shorten(ctx context.Context, id string, end time.Time) (Token, error) {
	r, err := s.load(ctx, id)
	if err != nil || !r.Revoked.IsZero() || !end.Before(r.Expires) {
		return tokenOf(r), err
	}
	r.Expires = end.UTC().Truncate(time.Second)
	if err := r.check(); err != nil {
		return Token{}, &InvalidError{err}
	}
	text, err := r.encode()
	if err != nil {
		return Token{}, err
	}
	return r.Token, s.vault.Replace(ctx, id, text)
}

func tokenOf(r *record) Token {
	if r == nil {
		return Token{}
	}
	return r.Token
}

func (s *Tokens) load(ctx context.Context, id string) (*record, error) {
	if !isID(id) {
		return nil, ErrUnknownToken
	}
	text, err := s.vault.Load(ctx, id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrUnknownToken
	}
	if err != nil {
		return nil, err
	}
	return decode(id, text)
}

// List returns all tokens, the oldest first, those that have expired or were
// revoked included. What cannot be read is an error beside the others.
func (s *Tokens) List(ctx context.Context) ([]Token, error) {
	ids, err := s.vault.IDs(ctx)
	if err != nil {
		return nil, err
	}
	var list []Token
	var faults []error
	for _, id := range ids {
		r, err := s.load(ctx, id)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		list = append(list, r.Token)
	}
	slices.SortFunc(list, func(a, b Token) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.ID, b.ID))
	})
	return list, errors.Join(faults...)
}

// nobody is compared with where a token is not known, so that the answer takes
// as long.
var nobody = record{SHA256: strings.Repeat("0", 2*sha256.Size)}

// find returns the token that is shown, if it is one of a kind and holds now.
// Why it is not is told only to who knows its secret.
func (s *Tokens) find(ctx context.Context, shown string, kind Kind) (*record, error) {
	of, id, secret, ok := parse(shown)
	if !ok {
		return nil, ErrUnknownToken
	}
	r, err := s.load(ctx, id)
	if errors.Is(err, ErrUnknownToken) {
		nobody.matches(secret)
	}
	if err != nil {
		return nil, err
	}
	if !r.matches(secret) {
		return nil, ErrUnknownToken
	}
	switch {
	case r.Kind != kind || of != kind:
		return nil, &TokenError{id, ErrWrongKind}
	case !r.Revoked.IsZero():
		return nil, &TokenError{id, ErrRevoked}
	case !s.clock.now().Before(r.Expires):
		return nil, &TokenError{id, ErrExpired}
	}
	return r, nil
}

// Claim is what a peer says of itself.
type Claim struct {
	Node       string
	Namespaces []string
}

// Identify returns who a peer is: by its certificate, or else by the join token
// that it sent, empty for none. state is that of its connection, nil if it is
// not of TLS. What it claims must be within what it has proven, and is what the
// identity is limited to; else it is a *ScopeError.
func (s *Tokens) Identify(ctx context.Context, state *tls.ConnectionState, token string, claim Claim) (Identity, error) {
	proven, err := FromConnection(state)
	if errors.Is(err, ErrNoCertificate) && token != "" {
		proven, err = s.join(ctx, token, claim)
	}
	if err != nil {
		return Identity{}, err
	}
	if proven.Node != claim.Node || slices.ContainsFunc(claim.Namespaces, func(ns string) bool { return !proven.Serves(ns) }) {
		return Identity{}, &ScopeError{proven, claim}
	}
	proven.Namespaces = slices.Sorted(slices.Values(claim.Namespaces))
	return proven, proven.Check()
}

// join returns who may join by a token.
func (s *Tokens) join(ctx context.Context, token string, claim Claim) (Identity, error) {
	r, err := s.find(ctx, token, Join)
	if err != nil {
		return Identity{}, err
	}
	return Identity{
		Role: RoleProxy, Node: cmp.Or(r.Node, claim.Node), Namespaces: r.Namespaces, Expires: r.Expires, Token: r.ID, WithoutSecrets: r.WithoutSecrets,
	}, nil
}

// Person returns who shows a token of kind API. It must have come over TLS
// (state is not nil), or from this machine; else it is ErrNoTLS.
func (s *Tokens) Person(ctx context.Context, state *tls.ConnectionState, from net.Addr, token string) (Person, error) {
	if state == nil && !isLoopback(from) {
		return Person{}, ErrNoTLS
	}
	r, err := s.find(ctx, token, API)
	if err != nil {
		return Person{}, err
	}
	return Person{Token: r.ID, Name: r.Name, Grants: r.Grants}, nil
}

func isLoopback(a net.Addr) bool {
	if a == nil {
		return false
	}
	at, err := netip.ParseAddrPort(a.String())
	return err == nil && at.Addr().Unmap().IsLoopback()
}

// DirVault is a Vault in a folder: a file for each token, with mode 0600, so
// that processes need not wait for each other. The folder is made with the
// first one.
type DirVault string

// suffix ends the names of files with tokens.
const suffix = ".json"

// Load implements Vault.
func (d DirVault) Load(_ context.Context, id string) ([]byte, error) {
	return readFile(filepath.Join(string(d), id+suffix), true)
}

// Add implements Vault.
func (d DirVault) Add(_ context.Context, id string, text []byte) error {
	return writeNew(string(d), []file{{id + suffix, text, 0o600}})
}

// Replace implements Vault.
func (d DirVault) Replace(_ context.Context, id string, text []byte) error {
	return writeOver(string(d), []file{{id + suffix, text, 0o600}})
}

// IDs implements Vault.
func (d DirVault) IDs(context.Context) ([]string, error) {
	entries, err := os.ReadDir(string(d))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var ids []string
	for _, e := range entries {
		if id, ok := strings.CutSuffix(e.Name(), suffix); ok && isID(id) {
			ids = append(ids, id)
		}
	}
	return ids, nil
}
