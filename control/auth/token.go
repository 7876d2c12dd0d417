// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Kind is what a token is for.
type Kind string

// The kinds.
const (
	Join Kind = "join" // a proxy joins by it
	API  Kind = "api"  // a person uses the API by it
)

// Token is what is known of a token, and not the token itself.
type Token struct {
	ID   string `json:"id"` // 16 hexadecimal digits, part of the token
	Kind Kind   `json:"kind"`
	// Name says whose it is or what for: at most 128 bytes of UTF-8 without
	// control characters, for people to read.
	Name string `json:"name,omitempty"`
	// Node is which node may join, empty for any.
	Node string `json:"node,omitempty"`
	// Namespaces are those that proxies may join, for kind Join alone.
	Namespaces []string `json:"namespaces,omitempty"`
	// WithoutSecrets keeps Secrets, such as the keys of gateways, from proxies
	// that join by it; for kind Join alone.
	WithoutSecrets bool `json:"without_secrets,omitempty"`
	// Grants are for kind API alone, at most one a namespace.
	Grants  []Grant   `json:"grants,omitempty"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	Revoked time.Time `json:"revoked,omitzero"` // zero if it was not
}

// maxTokenName bounds the name of a token.
const maxTokenName = 128

// check returns all that is wrong with what a token is for.
func (t *Token) check() error {
	var faults []error
	if len(t.Name) > maxTokenName || !utf8.ValidString(t.Name) || strings.ContainsFunc(t.Name, unicode.IsControl) {
		faults = append(faults, fmt.Errorf("name: %.140q is not at most %d bytes of UTF-8 without control characters", t.Name, maxTokenName))
	}
	if t.Node != "" && !isNode(t.Node) {
		faults = append(faults, fmt.Errorf("node: %.140q is not 1 to %d of letters, digits, '.', '-' and '_' that begin with a letter or digit", t.Node, MaxNode))
	}
	if life := t.Expires.Sub(t.Created); life <= 0 || life > MaxLifetime {
		faults = append(faults, fmt.Errorf("expires: a lifetime of %v is not above 0 and at most %d days", life, MaxLifetime/(24*time.Hour)))
	}
	return errors.Join(append(faults, t.checkScope())...)
}

func (t *Token) checkScope() error {
	switch t.Kind {
	case Join:
		if len(t.Grants) > 0 {
			return errors.New("grants: are for people, not for proxies")
		}
		return checkNamespaces(t.Namespaces, false)
	case API:
		if t.WithoutSecrets {
			return errors.New("without_secrets: is for proxies, not for people, who get none")
		}
		if len(t.Namespaces) > 0 || t.Node != "" {
			return errors.New("namespaces, node: are for proxies; people have grants")
		}
		var faults []error
		var names []string
		for _, g := range t.Grants {
			names = append(names, g.Namespace)
			if g.Rank < Viewer || g.Rank > Admin {
				faults = append(faults, fmt.Errorf("grants: %s: no rank", g.Namespace))
			}
		}
		return errors.Join(append(faults, checkGranted(names))...)
	default:
		return fmt.Errorf("kind: %.40q is neither join nor api", string(t.Kind))
	}
}

// checkGranted lets Everywhere stand beside others, where another rank is
// granted.
func checkGranted(names []string) error {
	if at := slices.Index(names, Everywhere); at >= 0 && len(names) > 1 {
		names = slices.Delete(slices.Clone(names), at, at+1)
		if slices.Contains(names, Everywhere) {
			return errors.New("namespaces: * is there twice")
		}
	}
	return checkNamespaces(names, true)
}

// The form of a token: a prefix that says what it is, so that scanners find it
// where it should not be, the ID, and the secret.
const (
	joinPrefix  = "sluice_join_"
	apiPrefix   = "sluice_api_"
	idBytes     = 8
	secretBytes = 32
	maxToken    = 128
)

// format returns the token as it is shown once.
func format(kind Kind, id string, secret []byte) string {
	prefix := joinPrefix
	if kind == API {
		prefix = apiPrefix
	}
	return prefix + id + "_" + hex.EncodeToString(secret)
}

// parse takes a token apart.
func parse(token string) (kind Kind, id string, secret []byte, ok bool) {
	if len(token) > maxToken {
		return "", "", nil, false
	}
	kind = Join
	rest, found := strings.CutPrefix(token, joinPrefix)
	if !found {
		kind = API
		if rest, found = strings.CutPrefix(token, apiPrefix); !found {
			return "", "", nil, false
		}
	}
	id, text, _ := strings.Cut(rest, "_")
	secret, err := hex.DecodeString(text)
	if err != nil || len(secret) != secretBytes || !isID(id) || format(kind, id, secret) != token {
		return "", "", nil, false
	}
	return kind, id, secret, true
}

// isID reports whether s is an ID, which then is safe as a name of a file.
func isID(s string) bool {
	return len(s) == 2*idBytes && !strings.ContainsFunc(s, func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'a' || c > 'f')
	})
}

// record is a token as it is kept.
type record struct {
	Schema int    `json:"schema"`
	SHA256 string `json:"sha256"` // of the secret, in hexadecimal
	Token
}

const recordSchema = 1

// matches reports whether a secret is that of the record, in a time that tells
// nothing of it.
func (r *record) matches(secret []byte) bool {
	sum := sha256.Sum256(secret)
	kept, err := hex.DecodeString(r.SHA256)
	return err == nil && subtle.ConstantTimeCompare(sum[:], kept) == 1
}

func (r *record) encode() ([]byte, error) {
	text, err := json.MarshalIndent(r, "", "  ")
	return append(text, '\n'), err
}

// decode reads what encode wrote. All that it does not know is an error: it may
// be a bound that this program would not keep.
func decode(id string, text []byte) (*record, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var r record
	if err := d.Decode(&r); err != nil {
		return nil, fmt.Errorf("token %s: cannot be read: %w", id, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("token %s: cannot be read: something follows it", id)
	}
	switch {
	case r.Schema != recordSchema:
		return nil, fmt.Errorf("token %s: is kept by schema %d, this program knows %d", id, r.Schema, recordSchema)
	case r.ID != id:
		return nil, fmt.Errorf("token %s: is kept under the name of another", id)
	case len(r.SHA256) != 2*sha256.Size:
		return nil, fmt.Errorf("token %s: has no hash", id)
	}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("token %s: %w", id, err)
	}
	return &r, nil
}
