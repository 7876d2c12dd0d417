// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// secretScheme begins the name of a file that is part of a Secret.
const secretScheme = "secret:"

// Secret is a certificate with its key that does not stand in a file of the
// proxy, but is handed to it: a Secret of Kubernetes. It is not changed once it
// was handed on. However it is formatted, only its name shows.
type Secret struct {
	Namespace, Name string // as in Kubernetes
	// Certificate and Key are PEM; CA, which may be empty, is who vouches for
	// others.
	Certificate, Key, CA []byte
}

// Ref returns how gateways name the Secret: secret:NAMESPACE/NAME.
func (s Secret) Ref() string { return secretScheme + s.Namespace + "/" + s.Name }

// String returns Ref.
func (s Secret) String() string { return s.Ref() }

// Format writes Ref, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.Ref())) }

// MarshalText returns Ref, so that no encoder and no log shows more.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.Ref()), nil }

// SameSecret reports whether both, either of which may be nil, are the same and
// hold the same.
func SameSecret(a, b *Secret) bool {
	if a == b || a == nil || b == nil {
		return a == b
	}
	return a.Namespace == b.Namespace && a.Name == b.Name &&
		bytes.Equal(a.Certificate, b.Certificate) && bytes.Equal(a.Key, b.Key) && bytes.Equal(a.CA, b.CA)
}

// CompareSecrets orders Secrets by namespace and name.
func CompareSecrets(a, b *Secret) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}

// SecretOf returns the Secret that a file name of a gateway names; ok is false
// if it names a file.
func SecretOf(file string) (namespace, name string, ok bool) {
	rest, is := strings.CutPrefix(file, secretScheme)
	if !is {
		return "", "", false
	}
	namespace, name, _ = strings.Cut(rest, "/")
	return namespace, name, IsSecretName(namespace, name)
}

// IsSecretName reports whether a namespace and a name can be those of a
// Secret: a label and a name of DNS in lower case (RFC 1123), which are safe as
// the names of folders and files.
func IsSecretName(namespace, name string) bool {
	return len(namespace) <= 63 && !strings.Contains(namespace, ".") && isLowerName(namespace) && len(name) <= 253 && isLowerName(name)
}

func isLowerName(text string) bool {
	for label := range strings.SplitSeq(text, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' || strings.ContainsFunc(label, notInLowerNames) {
			return false
		}
	}
	return true
}

func notInLowerNames(c rune) bool {
	return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-'
}

// EachSecret calls f with the Ref of each Secret that the gateway names, until
// f returns false. One that is named twice comes twice.
func (g *Gateway) EachSecret(f func(ref string) bool) {
	ask := func(files ...string) bool {
		for _, file := range files {
			if strings.HasPrefix(file, secretScheme) && !f(file) {
				return false
			}
		}
		return true
	}
	if t := g.TLS; t != nil {
		for _, pair := range t.Certificates {
			if !ask(pair.Certificate, pair.Key) {
				return
			}
		}
		if !ask(t.ClientCA) {
			return
		}
	}
	for _, r := range g.Routes {
		if t := r.TLS; t != nil && !ask(t.CA, t.KeyPair.Certificate, t.KeyPair.Key) {
			return
		}
	}
}

// SecretsOf returns those of a list that gateways name, in the order of the
// list, and nil if there are none.
func SecretsOf(gateways []*Gateway, all []*Secret) []*Secret {
	if len(all) == 0 {
		return nil
	}
	named := make(map[string]bool)
	for _, g := range gateways {
		g.EachSecret(func(ref string) bool {
			named[ref] = true
			return true
		})
	}
	if len(named) == 0 {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(all), func(s *Secret) bool { return !named[s.Ref()] })
}

// secretFile checks the name of a file that is part of a Secret, and reports
// whether it may be used.
func (r *reader) secretFile(v *value, text, path string) bool {
	namespace, name, ok := SecretOf(text)
	switch {
	case !ok:
		r.refuse(codeUnexpectedType, v.place, path, quote(text)+" is no name of a Secret", "secret:NAMESPACE/NAME is allowed")
	case r.within != "" && namespace != r.within:
		r.refuse(codeForeignSecret, v.place, path, "the Secret "+name+" is of the namespace "+namespace,
			"what stands in an object of the namespace "+r.within+" may name Secrets of that namespace")
	default:
		return true
	}
	return false
}
