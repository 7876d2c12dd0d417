// SPDX-License-Identifier: Apache-2.0

package tlsconf

import (
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"time"
)

// CertificateStatus is what may be shown of a certificate, or of a file of
// authorities.
type CertificateStatus struct {
	File string `json:"file"`          // name as in the table
	Key  string `json:"key,omitempty"` // name of the key's file; empty of authorities
	// Names are the host names and addresses that the certificate is for; of
	// authorities, their subjects.
	Names []string `json:"names"`
	// NotBefore and NotAfter bound its time; of authorities, that of the one
	// that ends first. They are zero if nothing could be read so far.
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	Expired   bool      `json:"expired"`
	// Fingerprint is the SHA-256 of the certificate in lower-case hexadecimal;
	// empty of authorities.
	Fingerprint string `json:"fingerprint,omitempty"`
	// Error says why the file, as it is now, cannot be used. What was read
	// before is in use still, if there is any.
	Error string `json:"error,omitempty"`
}

// Status returns what is known of all files in use, by name. Keys are not
// known outside.
func (s *Store) Status() []CertificateStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]CertificateStatus, 0, len(s.sources))
	for _, src := range s.sources {
		list = append(list, src.status(time.Now()))
	}
	slices.SortFunc(list, func(a, b CertificateStatus) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Key, b.Key))
	})
	return list
}

// ServerStatus returns what is known of the files of a server, in the order of
// the table, those who vouch for clients last.
func (s *Store) ServerStatus(srv *Server) []CertificateStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]CertificateStatus, 0, len(srv.sources))
	for _, src := range srv.sources {
		list = append(list, src.status(time.Now()))
	}
	return list
}

// status returns what may be shown. The store is locked.
func (s *source) status(now time.Time) CertificateStatus {
	st := CertificateStatus{File: s.pair.Certificate, Key: s.pair.Key, Names: []string{}}
	if s.err != nil {
		st.Error = s.err.Error()
	}
	if s.certificate != nil {
		leaf := s.certificate.Leaf
		sum := sha256.Sum256(leaf.Raw)
		st.Names = namesOf(leaf)
		st.NotBefore, st.NotAfter = leaf.NotBefore, leaf.NotAfter
		st.Fingerprint = hex.EncodeToString(sum[:])
	}
	for _, m := range s.members {
		st.Names = append(st.Names, m.Subject.String())
		if st.NotAfter.IsZero() || m.NotAfter.Before(st.NotAfter) {
			st.NotBefore, st.NotAfter = m.NotBefore, m.NotAfter
		}
	}
	st.Expired = !st.NotAfter.IsZero() && now.After(st.NotAfter)
	return st
}

// namesOf returns what a certificate is for: host names and addresses, or what
// its subject is called if it names none.
func namesOf(c *x509.Certificate) []string {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 && c.Subject.CommonName != "" {
		names = append(names, c.Subject.CommonName)
	}
	return names
}

// ends tells when certificates in use end, as metrics show it.
func (s *Store) ends(yield func(file string, seconds float64) bool) {
	for _, st := range s.Status() {
		if !st.NotAfter.IsZero() && !yield(st.File, float64(st.NotAfter.Unix())) {
			return
		}
	}
}
