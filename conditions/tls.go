// SPDX-License-Identifier: Apache-2.0

package conditions

import (
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"slices"
	"strings"
)

// serverName returns the name that a client asks for, whoever ends its TLS;
// empty if it gave none.
func (c *Conn) serverName() string {
	switch {
	case c.TLS != nil:
		return c.TLS.ServerName
	case c.Hello != nil:
		return c.Hello.ServerName
	default:
		return ""
	}
}

// certificate returns the certificate of a client for which somebody vouches
// who is trusted; nil if there is none. What others say of themselves is not
// worth asking.
func (c *Conn) certificate() *ClientCertificate {
	if c.TLS == nil || c.TLS.Client == nil || !c.TLS.Client.Verified {
		return nil
	}
	return c.TLS.Client
}

// holdsOfName reports whether the server name compares.
func (s *step) holdsOfName(c *Conn) bool {
	name := c.serverName()
	return name != "" && s.compares(name)
}

// holdsOfProtocol reports whether a protocol compares: the one that was
// negotiated, or one of those offered on a connection that passes through.
func (s *step) holdsOfProtocol(c *Conn) bool {
	switch {
	case c.TLS != nil:
		return c.TLS.ALPN != "" && s.compares(c.TLS.ALPN)
	case c.Hello != nil:
		return s.comparesAny(c.Hello.ALPN)
	default:
		return false
	}
}

// holdsOfSubject reports whether the subject of a client's certificate
// compares.
func (s *step) holdsOfSubject(c *Conn) bool {
	certificate := c.certificate()
	return certificate != nil && s.compares(certificate.Subject)
}

// holdsOfNames reports whether one of the alternative names in a client's
// certificate compares.
func (s *step) holdsOfNames(c *Conn) bool {
	certificate := c.certificate()
	return certificate != nil &&
		(s.comparesAny(certificate.DNSNames) || s.comparesAny(certificate.Emails) || s.comparesAny(certificate.URIs))
}

func (s *step) comparesAny(texts []string) bool { return slices.ContainsFunc(texts, s.compares) }

// nameStep completes the step of a test of the server name. Names have no
// letter case, and one that begins with a star stands for all below it.
func (s *step) nameStep() {
	s.kind = nameCompares
	if s.match == matches {
		return
	}
	s.value = lowerText(s.value)
	if below, ok := strings.CutPrefix(s.value, "*"); ok && s.match == equals && strings.HasPrefix(below, ".") {
		s.match, s.value = endsWith, below
	}
}

// sawTLS notes what a test of a TLS connection looked at.
func (t *transcript) sawTLS(s subject, c *Conn) {
	if s == ofServerName {
		if name := c.serverName(); name != "" {
			t.add(name)
		}
		return
	}
	if s == ofProtocol {
		switch {
		case c.TLS != nil && c.TLS.ALPN != "":
			t.add(c.TLS.ALPN)
		case c.TLS == nil && c.Hello != nil:
			t.addAll(c.Hello.ALPN)
		}
		return
	}
	certificate := c.certificate()
	switch {
	case certificate == nil && c.TLS != nil && c.TLS.Client != nil:
		t.write("not verified")
	case certificate == nil:
	case s == ofNames:
		t.addAll(certificate.DNSNames)
		t.addAll(certificate.Emails)
		t.addAll(certificate.URIs)
	default:
		t.add(certificate.Subject)
	}
}

func (t *transcript) addAll(values []string) {
	for _, v := range values {
		t.add(v)
	}
}

// NewClientCertificate returns the facts of a certificate that a client sent,
// with verified for whether somebody who is trusted vouches for it. It keeps
// none of the certificate's memory but its names.
func NewClientCertificate(c *x509.Certificate, verified bool) *ClientCertificate {
	sum := sha256.Sum256(c.Raw)
	facts := &ClientCertificate{
		Subject: subjectText(c), CommonName: c.Subject.CommonName,
		DNSNames: c.DNSNames, Emails: c.EmailAddresses,
		Fingerprint: hex.EncodeToString(sum[:]), Verified: verified,
	}
	for _, u := range c.URIs {
		facts.URIs = append(facts.URIs, u.String())
	}
	return facts
}

// attributeNames are how RFC 2253 section 2.3 writes types of attributes, and
// how OpenSSL writes others that are frequent.
var attributeNames = map[string]string{
	"2.5.4.3": "CN", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.6": "C", "2.5.4.9": "STREET",
	"0.9.2342.19200300.100.1.25": "DC", "0.9.2342.19200300.100.1.1": "UID",
	"2.5.4.4": "SN", "2.5.4.5": "serialNumber", "2.5.4.12": "title", "2.5.4.17": "postalCode", "2.5.4.42": "GN",
	"1.2.840.113549.1.9.1": "emailAddress",
}

// subjectText writes the subject of a certificate as RFC 2253 has it: all in the
// opposite order.
func subjectText(c *x509.Certificate) string {
	var names pkix.RDNSequence
	if rest, err := asn1.Unmarshal(c.RawSubject, &names); err != nil || len(rest) > 0 {
		names = c.Subject.ToRDNSequence()
	}
	var b strings.Builder
	for _, part := range slices.Backward(names) {
		for j, a := range slices.Backward(part) {
			switch {
			case j < len(part)-1:
				b.WriteByte('+')
			case b.Len() > 0:
				b.WriteByte(',')
			}
			writeAttribute(&b, a)
		}
	}
	return b.String()
}

func writeAttribute(b *strings.Builder, a pkix.AttributeTypeAndValue) {
	id := a.Type.String()
	text, isText := a.Value.(string)
	name, known := attributeNames[id]
	if !known {
		name = id
	}
	b.WriteString(name + "=")
	if isText && known {
		writeAttributeValue(b, text)
		return
	}
	der, err := asn1.Marshal(a.Value)
	if err != nil {
		return // and the value is empty
	}
	b.WriteString("#" + hex.EncodeToString(der))
}

// writeAttributeValue escapes what RFC 2253 section 2.4 says, and control
// characters, which would break lines of logs.
func writeAttributeValue(b *strings.Builder, text string) {
	for i := range len(text) {
		c := text[i]
		switch {
		case c < ' ' || c == 0x7f:
			const digits = "0123456789ABCDEF"
			b.WriteString(`\` + digits[c>>4:c>>4+1] + digits[c&15:c&15+1])
		case strings.IndexByte(`,+"\<>;`, c) >= 0, i == 0 && (c == ' ' || c == '#'), i == len(text)-1 && c == ' ':
			b.WriteString(`\` + text[i:i+1])
		default:
			b.WriteByte(c)
		}
	}
}
