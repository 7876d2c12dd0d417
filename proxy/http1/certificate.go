// SPDX-License-Identifier: Apache-2.0

package http1

import "github.com/sluice-mesh/sluice/conditions"

// maxCertificate bounds what instances are told of a client's certificate, in
// bytes: they bound heads, too. Names that would pass it are left out.
const maxCertificate = 8 << 10

// appendCertificates appends X-Forwarded-Client-Cert: an element for each proxy
// that saw the certificate of its client, the first one in front. What was said
// before comes from a trusted proxy, or is empty.
func appendCertificates(b, before, own []byte) []byte {
	if len(before)+len(own) == 0 {
		return b
	}
	b = append(b, "X-Forwarded-Client-Cert: "...)
	b = append(b, before...)
	if len(before) > 0 && len(own) > 0 {
		b = append(b, ", "...)
	}
	b = append(b, own...)
	return append(b, "\r\n"...)
}

// appendCertificate appends the element of a certificate: pairs Key=value with
// ";" between them. Subject and URI stand in quotes, and other values if they
// need to.
func appendCertificate(b []byte, c *conditions.ClientCertificate) []byte {
	start := len(b)
	b = append(b, "Hash="...)
	b = append(b, c.Fingerprint...)
	for _, names := range [...]struct {
		key    string
		values []string
		quoted bool
	}{{";Subject=", []string{c.Subject}, true}, {";URI=", c.URIs, true}, {";DNS=", c.DNSNames, false}} {
		for _, v := range names.values {
			end := len(b)
			b = append(b, names.key...)
			if b = appendCertificateValue(b, v, names.quoted); len(b)-start > maxCertificate {
				b = b[:end]
			}
		}
	}
	return b
}

// appendCertificateValue appends a value, quoted (RFC 9110 section 5.6.4) if
// that is asked for or necessary. Whoever has a certificate issued may choose
// what stands in it: bytes that are not visible ASCII become \ and two digits,
// as in distinguished names (RFC 4514 section 2.4), so that no value ends a
// line, or begins another pair.
func appendCertificateValue(b []byte, v string, quoted bool) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(v) {
		quoted = quoted || class[v[i]]&hostByte == 0 || v[i] == ',' || v[i] == ';' || v[i] == '='
	}
	if !quoted {
		return append(b, v...)
	}
	b = append(b, '"')
	for i := range len(v) {
		switch c := v[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c > '~':
			b = append(b, '\\', '\\', digits[c>>4], digits[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
