// SPDX-License-Identifier: Apache-2.0

package conditions_test

import (
	"crypto/x509/pkix"
	"encoding/asn1"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/conditions"
	"github.com/sluice-mesh/sluice/test/certs"
)

// secured makes a request one of a client with a certificate.
func secured(r *staticRequest) {
	for _, line := range []string{
		"tls eu.shop.example h2", `certificate CN=cart,OU=c+OU=a\,b,O="Example; Ltd",C=NL`,
		"san cart.internal", "san cart@shop.example", "san spiffe://shop.example/cart",
	} {
		first, second, _ := strings.Cut(line, " ")
		r.knowTLS(first, second)
	}
}

var (
	commonName   = asn1.ObjectIdentifier{2, 5, 4, 3}
	country      = asn1.ObjectIdentifier{2, 5, 4, 6}
	organisation = asn1.ObjectIdentifier{2, 5, 4, 10}
	unit         = asn1.ObjectIdentifier{2, 5, 4, 11}
	component    = asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}
	email        = asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 1}
)

// names makes a distinguished name, in the order of the certificate, of parts
// of one attribute each.
func names(parts ...pkix.AttributeTypeAndValue) (all pkix.RDNSequence) {
	for _, p := range parts {
		all = append(all, pkix.RelativeDistinguishedNameSET{p})
	}
	return all
}

func TestNewClientCertificate(t *testing.T) {
	ca := certs.New(t)
	for _, tt := range []struct {
		name    string
		subject pkix.RDNSequence
		want    string
	}{
		{"the last part stands first", names(
			pkix.AttributeTypeAndValue{Type: country, Value: "NL"},
			pkix.AttributeTypeAndValue{Type: organisation, Value: "Example Ltd"},
			pkix.AttributeTypeAndValue{Type: commonName, Value: "cart"},
		), "CN=cart,O=Example Ltd,C=NL"},
		{"types without a name stand in numbers", names(
			pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{1, 3, 9999}, Value: "x"},
			pkix.AttributeTypeAndValue{Type: commonName, Value: "cart"},
		), "CN=cart,1.3.9999=#130178"},
		{"parts of a domain and addresses have names", names(
			pkix.AttributeTypeAndValue{Type: component, Value: "example"},
			pkix.AttributeTypeAndValue{Type: component, Value: "shop"},
			pkix.AttributeTypeAndValue{Type: email, Value: "a@shop.example"},
		), "emailAddress=a@shop.example,DC=shop,DC=example"},
		{"what has a meaning is escaped", names(
			pkix.AttributeTypeAndValue{Type: commonName, Value: ` a,b+c"d\\e<f>g;h=i `},
			pkix.AttributeTypeAndValue{Type: commonName, Value: "#a\nb"},
		), `CN=\#a\0Ab,CN=\ a\,b\+c\"d\\\\e\<f\>g\;h=i\ `},
		{"an attribute may have several values", pkix.RDNSequence{{
			pkix.AttributeTypeAndValue{Type: unit, Value: "a"}, pkix.AttributeTypeAndValue{Type: unit, Value: "b"},
		}}, "OU=b+OU=a"},
		{"there may be no subject", nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pair := ca.With(certs.RawSubject(tt.subject)).Issue(t, "cart.internal")
			got := conditions.NewClientCertificate(pair.Leaf, true)
			if got.Subject != tt.want {
				t.Errorf("the subject is %s, want %s", got.Subject, tt.want)
			}
		})
	}
	uri, err := url.Parse("spiffe://shop.example/cart")
	if err != nil {
		t.Fatal(err)
	}
	leaf := ca.With(certs.Emails("cart@shop.example"), certs.URIs(uri), certs.Subject(pkix.Name{CommonName: "cart"})).Issue(t, "cart.internal", "b.internal").Leaf
	got := conditions.NewClientCertificate(leaf, false)
	if !slices.Equal(got.DNSNames, []string{"cart.internal", "b.internal"}) || !slices.Equal(got.Emails, []string{"cart@shop.example"}) ||
		!slices.Equal(got.URIs, []string{"spiffe://shop.example/cart"}) || got.CommonName != "cart" || got.Verified || len(got.Fingerprint) != 64 {
		t.Errorf("the facts are %+v", got)
	}
}

// Nobody vouches for what a certificate says that was not verified.
func TestUnverifiedCertificatesAreNotAsked(t *testing.T) {
	r := newRequest()
	secured(r)
	r.conn.TLS.Client.Verified = false
	for _, text := range []string{"client certificate", "client subject has cart", "client san == cart.internal", `client subject matches "."`, "ssl_c_verify 0"} {
		if mustCompile(t, text).Holds(r) {
			t.Errorf("%q holds of a certificate that was not verified", text)
		}
	}
	for _, text := range []string{"not client certificate", "client subject misses cart", "ssl_c_used", "ssl_c_verify 20", "ssl_c_s_dn(cn) cart"} {
		if !mustCompile(t, text).Holds(r) {
			t.Errorf("%q does not hold", text)
		}
	}
	if _, clauses := mustCompile(t, "client certificate").Explain(r); clauses[0].Saw != "not verified" {
		t.Errorf("the test saw %s", clauses[0].Saw)
	}
}

// FuzzSubject holds that what is written into a subject is found in it again,
// whatever stands around it.
func FuzzSubject(f *testing.F) {
	f.Add("cart", "Example Ltd")
	f.Add(` a,b+c"d\e<f>g;h=i `, "#a\n")
	f.Add("", " ")
	f.Add(`\`, `"`)
	f.Fuzz(func(t *testing.T, first, second string) {
		if strings.ContainsRune(first+second, 0) || len(first)+len(second) > 2<<10 {
			return
		}
		subject := "CN=" + conditions.AttributeValue(first) + ",O=" + conditions.AttributeValue(second)
		r := newRequest()
		r.knowTLS("certificate", "-")
		r.conn.TLS.Client.Subject = subject
		for name, want := range map[string]string{"cn": first, "O": second} {
			if got, ok := conditions.SubjectOf(r.Conn(), name); !ok || got != want {
				t.Errorf("%s of %q is %q, %v, want %q", name, subject, got, ok, want)
			}
		}
		if got, ok := conditions.SubjectOf(r.Conn(), ""); !ok || got != "/O="+second+"/CN="+first {
			t.Errorf("%q is %q in one line, %v", subject, got, ok)
		}
	})
}

// FuzzSubjectText holds that no text that stands where a subject belongs does
// harm.
func FuzzSubjectText(f *testing.F) {
	for _, text := range []string{`CN=a,O="b;c",C=d`, "=", ",", `a\`, `a="`, strings.Repeat("a=b,", 100), "a=b+c=d;e=f", `a=\4`, "a= \\ "} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r := newRequest()
		r.knowTLS("certificate", "-")
		r.conn.TLS.Client.Subject = text
		line, ok := conditions.SubjectOf(r.Conn(), "")
		if ok && (len(line) > 2*len(text)+2 || !strings.HasPrefix(line, "/")) {
			t.Errorf("%q is %q in one line", text, line)
		}
		if value, ok := conditions.SubjectOf(r.Conn(), "cn"); ok && len(value) > len(text) {
			t.Errorf("the cn of %q is %q", text, value)
		}
	})
}

func TestACLOfSubject(t *testing.T) {
	r := newRequest()
	secured(r)
	many := newRequest()
	many.knowTLS("certificate", strings.TrimSuffix(strings.Repeat("OU=a,", 65), ","))
	for _, tt := range []struct {
		text string
		want bool
	}{
		{`ssl_c_s_dn "/C=NL/O=Example; Ltd/OU=a,b/OU=c/CN=cart"`, true},
		{"ssl_c_s_dn(cn) cart", true},
		{"ssl_c_s_dn(CN) cart", true},
		{"ssl_c_s_dn(cn,1) cart", true},
		{"ssl_c_s_dn(cn,2) -m found", false},
		{"ssl_c_s_dn(ou) 'a,b'", true},
		{"ssl_c_s_dn(ou,2) c", true},
		{"ssl_c_s_dn(ou,-1) c", true},
		{"ssl_c_s_dn(ou,-2) 'a,b'", true},
		{"ssl_c_s_dn(ou,-3) -m found", false},
		{"ssl_c_s_dn(l) -m found", false},
		{"ssl_c_s_dn -m found", true},
	} {
		if got := mustParseACL(t, tt.text).Holds(r); got != tt.want {
			t.Errorf("%q holds: %v, want %v", tt.text, got, tt.want)
		}
	}
	for _, nobody := range []*staticRequest{newRequest(), many, newRequest("tls - h2"), newRequest("certificate -")} {
		if mustParseACL(t, "ssl_c_s_dn -m found").Holds(nobody) {
			t.Errorf("%+v has a subject", nobody.conn.TLS)
		}
	}
}

func TestAsks(t *testing.T) {
	for _, tt := range []struct {
		text  string
		want  conditions.Facts
		tests []string // of requests
	}{
		{"ip in 10.0.0.0/8 and < src 10.0.0.0/8 > or < rand(2) 1 >", 0, nil},
		{"< ssl_fc > or < dst_port 443 > or < always_true >", 0, nil},
		{"sni == a or alpn == b", conditions.FactName | conditions.FactProtocol, nil},
		{"client certificate or client subject == a or client san == b", conditions.FactCertificate, nil},
		{"< ssl_c_used > or < ssl_c_s_dn(cn) a >", conditions.FactCertificate, nil},
		{"< ssl_fc_sni a > or < ssl_fc_alpn a > or < ssl_fc_protocol TLSv1.3 > or < ssl_c_verify 0 >", conditions.FactTLS, nil},
		{"< req.ssl_sni a > or < req.ssl_alpn a > or < req_ssl_hello_type 1 >", conditions.FactHello, nil},
		{"not (host == a and sni == b)", conditions.FactRequest | conditions.FactName, []string{"host == a"}},
		{"has cookie a or header b has c or query d == e", conditions.FactRequest, []string{"has cookie a", "header b has c", "query d == e"}},
		{"{ src 10.0.0.0/8 } { path /a }", conditions.FactRequest, []string{"< { src 10.0.0.0/8 } { path /a } >"}},
		{`expr(in_cidr(ip, "10.0.0.0/8"))`, 0, nil},
		{`expr(has_query("a"))`, conditions.FactRequest, []string{`expr(has_query("a"))`}},
		{`expr(host == "a")`, conditions.FactRequest, []string{`expr(host == "a")`}},
	} {
		c := mustCompile(t, tt.text)
		if got := c.Asks(); got != tt.want {
			t.Errorf("Asks(%q) = %b, want %b", tt.text, got, tt.want)
		}
		if got := c.TestsOf(conditions.FactRequest); !slices.Equal(got, tt.tests) {
			t.Errorf("TestsOf(%q) = %q, want %q", tt.text, got, tt.tests)
		}
	}
	var zero conditions.Condition
	if zero.Asks() != 0 || zero.TestsOf(^conditions.Facts(0)) != nil {
		t.Error("the zero Condition asks for something")
	}
}
