// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Role is what a peer of the control plane is.
type Role string

// The roles. The empty Role is none.
const (
	RoleProxy   Role = "proxy"   // takes tables
	RoleControl Role = "control" // hands them out
)

// Everywhere stands for all namespaces, in the identity of a control plane and
// in what a token grants to a person.
const Everywhere = "*"

// The bounds of identities.
const (
	MaxNode       = 128 // bytes of the name of a node
	MaxNamespaces = 100 // namespaces of one identity or token
)

// Identity is who a peer is. The zero Identity is nobody.
type Identity struct {
	Role Role
	// Node is 1 to MaxNode of a-z, A-Z, 0-9, dot, hyphen and underscore, and
	// begins with a letter or digit.
	Node string
	// Namespaces are organisation/environment, sorted, at least one; a control
	// plane may have Everywhere instead.
	Namespaces []string
	// Expires is until when what proved the identity holds; zero if nothing
	// has.
	Expires time.Time
	// Token is the ID of the join token that proved it, empty if a certificate
	// did.
	Token string
	// WithoutSecrets says that it is not handed Secrets, such as the keys of
	// gateways.
	WithoutSecrets bool
}

// String returns role and node, such as "proxy edge-1".
func (i Identity) String() string { return string(i.Role) + " " + i.Node }

// Serves reports whether the identity has a namespace.
func (i Identity) Serves(namespace string) bool {
	return slices.Contains(i.Namespaces, namespace) ||
		i.Role == RoleControl && slices.Contains(i.Namespaces, Everywhere)
}

// Check returns all that is wrong with role, node and namespaces, joined.
func (i Identity) Check() error {
	var faults []error
	if i.Role != RoleProxy && i.Role != RoleControl {
		faults = append(faults, fmt.Errorf("role: %.40q is neither proxy nor control", string(i.Role)))
	}
	if !isNode(i.Node) {
		faults = append(faults, fmt.Errorf("node: %.140q is not 1 to %d of letters, digits, '.', '-' and '_' that begin with a letter or digit", i.Node, MaxNode))
	}
	return errors.Join(append(faults, checkNamespaces(i.Namespaces, i.Role == RoleControl))...)
}

// checkNamespaces returns what is wrong with a list of namespaces.
func checkNamespaces(list []string, everywhere bool) error {
	var faults []error
	switch {
	case len(list) == 0:
		faults = append(faults, errors.New("namespaces: there are none; name at least one, such as default/default"))
	case len(list) > MaxNamespaces:
		faults = append(faults, fmt.Errorf("namespaces: there are %d, more than %d", len(list), MaxNamespaces))
	}
	for at, ns := range list[:min(len(list), MaxNamespaces)] {
		switch {
		case slices.Contains(list[:at], ns):
			faults = append(faults, fmt.Errorf("namespaces: %.140q is there twice", ns))
		case everywhere && ns == Everywhere && len(list) == 1:
		case everywhere && ns == Everywhere:
			faults = append(faults, fmt.Errorf("namespaces: %s is all of them and stands alone", Everywhere))
		case !isNamespace(ns):
			faults = append(faults, fmt.Errorf("namespaces: %.140q is not organisation/environment, each 1 to 63 of a-z, 0-9 and -", ns))
		}
	}
	return errors.Join(faults...)
}

func isNamespace(s string) bool {
	organisation, environment, ok := strings.Cut(s, "/")
	return ok && isLabel(organisation) && isLabel(environment)
}

func isLabel(s string) bool {
	return s != "" && len(s) <= 63 && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-'
	})
}

func isNode(s string) bool {
	return s != "" && len(s) <= MaxNode && !strings.ContainsRune("._-", rune(s[0])) &&
		!strings.ContainsFunc(s, func(c rune) bool {
			return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("._-", c)
		})
}

const scheme = "sluice"

// URIs returns what names the identity in a certificate, one URI for each
// namespace. The identity has passed Check.
func (i Identity) URIs() []*url.URL {
	uris := make([]*url.URL, 0, len(i.Namespaces))
	for _, ns := range i.Namespaces {
		uris = append(uris, uriOf(i.Role, i.Node, ns))
	}
	return uris
}

func uriOf(role Role, node, ns string) *url.URL {
	u := &url.URL{Scheme: scheme, Path: "/" + string(role) + "/" + node}
	if ns != Everywhere {
		organisation, environment, _ := strings.Cut(ns, "/")
		u.Host, u.Path = organisation, "/"+environment+u.Path
	}
	return u
}

// errURI reports a URI of our scheme that names nobody.
var errURI = errors.New("is not sluice://ORGANISATION/ENVIRONMENT/ROLE/NODE")

// FromURIs returns the identity that the URIs of a certificate name. URIs of
// other schemes do not count. All others must be of one role and node, in
// exactly the form that Identity.URIs gives; errors quote at most 300 bytes.
func FromURIs(uris []*url.URL) (Identity, error) {
	var id Identity
	for _, u := range uris {
		if u == nil || u.Scheme != scheme {
			continue
		}
		role, node, ns, err := parseURI(u)
		switch {
		case err != nil:
			return Identity{}, err
		case id.Role == "":
			id.Role, id.Node = role, node
		case id.Role != role || id.Node != node:
			return Identity{}, fmt.Errorf("the certificate names %s and %s %s; one is allowed", id, role, node)
		}
		id.Namespaces = append(id.Namespaces, ns)
	}
	if id.Role == "" {
		return Identity{}, ErrNoIdentity
	}
	slices.Sort(id.Namespaces)
	if err := id.Check(); err != nil {
		return Identity{}, err
	}
	return id, nil
}

func parseURI(u *url.URL) (role Role, node, ns string, err error) {
	parts := strings.Split(strings.TrimPrefix(u.Path, "/"), "/")
	switch {
	case u.Host == "" && len(parts) == 2:
		role, node, ns = Role(parts[0]), parts[1], Everywhere
	case u.Host != "" && len(parts) == 3:
		role, node, ns = Role(parts[1]), parts[2], u.Host+"/"+parts[0]
	}
	one := Identity{Role: role, Node: node, Namespaces: []string{ns}}
	if one.Check() != nil || one.URIs()[0].String() != u.String() {
		return "", "", "", fmt.Errorf("%.300q %w", u.String(), errURI)
	}
	return role, node, ns, nil
}

// FromCertificate returns whom a certificate names. It does not verify the
// certificate: ask for that of a peer by FromConnection.
func FromCertificate(c *x509.Certificate) (Identity, error) {
	id, err := FromURIs(c.URIs)
	if err != nil {
		return Identity{}, err
	}
	id.Expires = c.NotAfter
	return id, nil
}
