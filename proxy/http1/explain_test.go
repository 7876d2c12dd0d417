// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/sluice-mesh/sluice/conditions"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/routing/routingtest"
)

func TestOnlyTrustedProxiesVouchForTLS(t *testing.T) {
	trust, err := NewTrust([]string{"10.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, peer string
		fields     []string
		want       bool
	}{
		{"a trusted proxy says https", "10.0.0.1", []string{"X-Forwarded-Proto: https"}, true},
		{"in any letter case", "10.0.0.1", []string{"X-Forwarded-Proto: HTTPS"}, true},
		{"of a websocket", "10.0.0.1", []string{"X-Forwarded-Proto: wss"}, true},
		{"it says http", "10.0.0.1", []string{"X-Forwarded-Proto: http"}, false},
		{"it says nothing", "10.0.0.1", nil, false},
		{"it says both", "10.0.0.1", []string{"X-Forwarded-Proto: https", "X-Forwarded-Proto: http"}, false},
		{"anybody says https", "192.0.2.1", []string{"X-Forwarded-Proto: https"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := routingtest.NewRequest("GET", "shop.example", "/", tt.fields...)
			r.Conn().Peer = netip.AddrPortFrom(netip.MustParseAddr(tt.peer), 1)
			if got := trust.Vouches(r); got != tt.want {
				t.Errorf("Vouches = %v, want %v", got, tt.want)
			}
			if (*Trust)(nil).Vouches(r) {
				t.Error("nobody is trusted, and yet somebody vouches")
			}
		})
	}
}

// A request that explains itself is described with what is known of its TLS,
// so that conditions see it again.
func TestDescribeTLS(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   conditions.TLS
		want routing.ExplainRequest
	}{
		{"server name and protocol", conditions.TLS{ServerName: "a.example", ALPN: "http/1.1"}, routing.ExplainRequest{SNI: "a.example", ALPN: []string{"http/1.1"}}},
		{"no server name", conditions.TLS{}, routing.ExplainRequest{SNI: "-"}},
		{
			"a certificate",
			conditions.TLS{ServerName: "a.example", Client: &conditions.ClientCertificate{
				Subject: "CN=c", DNSNames: []string{"c.example"}, Emails: []string{"c@c.example"}, URIs: []string{"spiffe://c"}, Fingerprint: "00", Verified: true,
			}},
			routing.ExplainRequest{SNI: "a.example", Certificate: &routing.ExplainCertificate{
				Subject: "CN=c", SANs: []string{"c.example", "c@c.example", "spiffe://c"}, Fingerprint: "00",
			}},
		},
		{
			"one that was not verified",
			conditions.TLS{ServerName: "a.example", Client: &conditions.ClientCertificate{Subject: "CN=c"}},
			routing.ExplainRequest{SNI: "a.example"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := routing.ExplainRequest{URL: "http://127.0.0.1:443/a"}
			describeTLS(&got, &tt.in)
			if got.URL != "https://127.0.0.1:443/a" || got.SNI != tt.want.SNI || !slices.Equal(got.ALPN, tt.want.ALPN) {
				t.Errorf("described as %+v, want %+v", got, tt.want)
			}
			switch c, want := got.Certificate, tt.want.Certificate; {
			case (c == nil) != (want == nil):
				t.Errorf("the certificate is %+v, want %+v", c, want)
			case c != nil && (c.Subject != want.Subject || !slices.Equal(c.SANs, want.SANs) || c.Fingerprint != want.Fingerprint):
				t.Errorf("the certificate is %+v, want %+v", c, want)
			}
		})
	}
}
