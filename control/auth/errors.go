// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrNoIdentity reports a certificate that names no peer of a control
	// plane.
	ErrNoIdentity = errors.New("the certificate names no identity: it has no URI that begins with sluice://; make one with 'sluice pki issue'")
	// ErrNoCertificate reports a peer that shows neither a certificate nor a
	// token.
	ErrNoCertificate = errors.New("no certificate and no join token: give the proxy one of 'sluice pki issue', or a token of 'sluice pki token'")
	// ErrNoTLS reports an identity or token that was sent without TLS, where
	// anybody may have read or changed it.
	ErrNoTLS = errors.New("not over TLS: tokens and identities are not taken in clear; use the https or TLS address, and make another token in place of the one that was sent")
	// ErrUnknownToken reports a token that was never issued, or not by this
	// control plane. It is the same for every wrong token, whatever is wrong.
	ErrUnknownToken = errors.New("unknown token: make one with 'sluice pki token' where the control plane runs")
	// ErrExpired reports a token whose time is over.
	ErrExpired = errors.New("has expired; make another with 'sluice pki token'")
	// ErrRevoked reports a token that was taken back.
	ErrRevoked = errors.New("was revoked; ask who issued it, or make another with 'sluice pki token'")
	// ErrWrongKind reports a token for proxies that a person shows, or the
	// other way round.
	ErrWrongKind = errors.New("is of the other kind: proxies join with one of --role proxy, people use one of viewer, operator or admin")
	// ErrExists reports a file that would be written over.
	ErrExists = errors.New("exists already")
)

// TokenError says of a token that was issued why it is not taken.
type TokenError struct {
	ID  string // names the token and is no secret
	Err error  // ErrExpired, ErrRevoked or ErrWrongKind
}

func (e *TokenError) Error() string { return "token " + e.ID + ": " + e.Err.Error() }
func (e *TokenError) Unwrap() error { return e.Err }

// InvalidError reports a token that cannot be issued as it was asked for.
type InvalidError struct {
	Err error // all that is wrong, joined
}

func (e *InvalidError) Error() string { return e.Err.Error() }
func (e *InvalidError) Unwrap() error { return e.Err }

// ScopeError reports a peer that says it is more than what it has proven.
type ScopeError struct {
	Proven Identity
	Asked  Claim
}

func (e *ScopeError) Error() string {
	if e.Proven.Node != e.Asked.Node {
		return fmt.Sprintf("says it is node %.140q, but has proven to be %q: start it with --node %s, or issue credentials for the other name", e.Asked.Node, e.Proven.Node, e.Proven.Node)
	}
	var beyond []string
	for _, ns := range e.Asked.Namespaces {
		if !e.Proven.Serves(ns) && len(beyond) < 10 {
			beyond = append(beyond, fmt.Sprintf("%.140q", ns))
		}
	}
	return fmt.Sprintf("%s asks for %s, but its credentials are for %s: issue others with --namespace",
		e.Proven, strings.Join(beyond, ", "), strings.Join(e.Proven.Namespaces, ", "))
}

// DeniedError reports something that a person may not do.
type DeniedError struct {
	Who       string
	Namespace string
	Need, Has Rank
}

func (e *DeniedError) Error() string {
	if e.Need < Viewer || e.Need > Admin {
		return fmt.Sprintf("%s: denied in namespace %.140q: nobody may do this", e.Who, e.Namespace)
	}
	return fmt.Sprintf("%s: denied in namespace %.140q: needs %s, has %s; use a token of 'sluice pki token --role %s --namespace %.140s'",
		e.Who, e.Namespace, e.Need, e.Has, e.Need, e.Namespace)
}
