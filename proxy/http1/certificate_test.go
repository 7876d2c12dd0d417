// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/conditions"
)

func TestAppendCertificate(t *testing.T) {
	long := strings.Repeat("n", maxCertificate)
	for _, tt := range []struct {
		name string
		in   conditions.ClientCertificate
		want string
	}{
		{
			"subject, URIs and names stand behind the fingerprint",
			conditions.ClientCertificate{
				Subject: "CN=a,O=b", Fingerprint: "00ff", DNSNames: []string{"a.example", "*.b.example"},
				URIs: []string{"spiffe://c/d"}, Emails: []string{"not@told"},
			},
			`Hash=00ff;Subject="CN=a,O=b";URI="spiffe://c/d";DNS=a.example;DNS=*.b.example`,
		},
		{"quotes and backslashes are escaped", conditions.ClientCertificate{Subject: `CN=a\,"b"`}, `Hash=;Subject="CN=a\\,\"b\""`},
		{"a subject cannot end the line", conditions.ClientCertificate{Subject: "CN=a\r\nHost: b"}, `Hash=;Subject="CN=a\\0D\\0AHost: b"`},
		{"what is beyond ASCII is escaped", conditions.ClientCertificate{Subject: "CN=\u00e4"}, `Hash=;Subject="CN=\\C3\\A4"`},
		{
			"a name cannot begin another pair",
			conditions.ClientCertificate{DNSNames: []string{"a;Hash=b", "a,Hash=b"}},
			`Hash=;Subject="";DNS="a;Hash=b";DNS="a,Hash=b"`,
		},
		{
			"what is too long is left out",
			conditions.ClientCertificate{Subject: long, DNSNames: []string{"a", long, "b"}},
			`Hash=;DNS=a;DNS=b`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(appendCertificate(nil, &tt.in)); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// FuzzCertificate holds that what stands in a certificate can be read back,
// pair by pair, and never leaves its place.
func FuzzCertificate(f *testing.F) {
	f.Add("CN=a", "a.example", "spiffe://a")
	f.Add("CN=\"\r\n", ";,=\"", "\x00\x7f\xff")
	f.Fuzz(func(t *testing.T, subject, dns, uri string) {
		if len(subject)+len(dns)+len(uri) > maxCertificate/8 || strings.Contains(subject+dns+uri, "\\") {
			t.Skip()
		}
		c := conditions.ClientCertificate{Subject: subject, DNSNames: []string{dns}, URIs: []string{uri}, Fingerprint: "00"}
		line := string(appendCertificates(nil, nil, appendCertificate(nil, &c)))
		rest, ok := strings.CutPrefix(line, "X-Forwarded-Client-Cert: ")
		rest, end := strings.CutSuffix(rest, "\r\n")
		if !ok || !end {
			t.Fatalf("no field: %q", line)
		}
		for i := range len(rest) {
			if rest[i] < ' ' || rest[i] > '~' {
				t.Fatalf("%q has byte %#x", rest, rest[i])
			}
		}
		for _, want := range [...]struct{ key, value string }{{"Hash", "00"}, {"Subject", subject}, {"URI", uri}, {"DNS", dns}} {
			var key, value string
			key, value, rest = cutCertificatePair(t, rest)
			if key != want.key || value != want.value {
				t.Fatalf("%s=%q, want %s=%q in %q", key, value, want.key, want.value, line)
			}
		}
		if rest != "" {
			t.Fatalf("%q is left of %q", rest, line)
		}
	})
}

// cutCertificatePair reads a pair as a server would, and undoes the escapes of
// bytes that are not visible, but leaves those that a name may have had.
func cutCertificatePair(t *testing.T, s string) (key, value, rest string) {
	t.Helper()
	key, s, ok := strings.Cut(s, "=")
	if !ok {
		t.Fatalf("no pair: %q", s)
	}
	if !strings.HasPrefix(s, `"`) {
		value, rest, _ = strings.Cut(s, ";")
		return key, value, rest
	}
	var b strings.Builder
	i := 1
	for ; i < len(s) && s[i] != '"'; i++ {
		if s[i] == '\\' {
			i++
			// Two backslashes and two digits: an escape of ours, unless the
			// text had a backslash there itself, which the fuzzer is kept from.
			if i+2 < len(s) && s[i] == '\\' && isHexDigit(s[i+1]) && isHexDigit(s[i+2]) {
				b.WriteByte(fromHex(s[i+1])<<4 | fromHex(s[i+2]))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return key, b.String(), strings.TrimPrefix(s[i+1:], ";")
}

func isHexDigit(c byte) bool { return '0' <= c && c <= '9' || 'A' <= c && c <= 'F' }

func fromHex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c - 'A' + 10
}
