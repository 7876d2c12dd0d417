// SPDX-License-Identifier: Apache-2.0

package tlsconf_test

import (
	"bytes"
	"crypto/tls"
	"testing"

	"github.com/sluice-mesh/sluice/proxy/tlsconf"
	"github.com/sluice-mesh/sluice/test/certs"
)

// FuzzCheck reads files of any content. What is taken is what crypto/tls takes,
// less what is cut short; what is not is told in words that hold nothing of the
// key.
func FuzzCheck(f *testing.F) {
	ca := certs.New(f)
	p := ca.Issue(f, "shop.example")
	f.Add(p.Certificate, p.Key)
	f.Add(p.Key, p.Certificate)
	f.Add(append(bytes.Clone(p.Certificate), ca.PEM...), p.Key)
	f.Add(append(bytes.Clone(p.Certificate), ca.PEM[:100]...), p.Key)
	f.Add(p.Certificate, ca.Issue(f, "other").Key)
	f.Add(p.Certificate, bytes.Replace(p.Key, []byte("PRIVATE"), []byte("ENCRYPTED PRIVATE"), 2))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n"), []byte("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, certificate, key []byte) {
		err := tlsconf.Check(certificate, key)
		if _, known := tls.X509KeyPair(certificate, key); err == nil && known != nil {
			t.Errorf("taken is what is no pair: %v", known)
		}
		if err == nil {
			return
		}
		for line := range bytes.Lines(key) {
			if line = bytes.TrimSpace(line); len(line) > 20 && !bytes.HasPrefix(line, []byte("-")) && bytes.Contains([]byte(err.Error()), line) {
				t.Errorf("the error %q shows the key", err)
			}
		}
	})
}
