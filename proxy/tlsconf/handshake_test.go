// SPDX-License-Identifier: Apache-2.0

package tlsconf_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/proxy/tlsconf"
)

// The reasons are found in real handshakes: crypto/tls has no other names for
// them than its texts.
func TestFailures(t *testing.T) {
	b := newBed(t)
	s := b.server(listen(b.write("shop", b.ca.Issue(t, "shop.example"))))
	for _, tt := range []struct {
		name   string
		shape  func(c *tls.Config)
		config *tls.Config
		want   string
	}{
		{"a version that is too old", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }, nil, "version"},
		{"no cipher that both know", func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
		}, nil, "cipher"},
		{"no protocol that both speak", func(c *tls.Config) { c.NextProtos = []string{"h2"} }, nil, "protocol"},
		{"a client that does not trust us", func(c *tls.Config) { c.RootCAs = nil }, nil, "refused"},
		{"a gateway without a certificate", nil, &tls.Config{
			GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, tlsconf.ErrNoCertificate },
		}, "no_certificate"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, config := b.asking(), s.Config()
			if tt.shape != nil {
				tt.shape(client)
			}
			if tt.config != nil {
				config = tt.config
			}
			_, _, err, _ := shake(t, config, client)
			if err == nil {
				t.Fatal("the handshake did not fail")
			}
			if got := tlsconf.FailureOf(err).String(); got != tt.want {
				t.Errorf("FailureOf(%v) = %s, want %s", err, got, tt.want)
			}
		})
	}
	for _, tt := range []struct {
		err  error
		want string
	}{
		{socket.ErrExpired, "timeout"},
		{fmt.Errorf("read: %w", io.EOF), "gone"},
		{tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, "not_tls"},
		{errors.New("something new"), "other"},
	} {
		if got := tlsconf.FailureOf(tt.err).String(); got != tt.want {
			t.Errorf("FailureOf(%v) = %s, want %s", tt.err, got, tt.want)
		}
	}
}

func TestHandshakesAreCounted(t *testing.T) {
	b := newBed(t)
	b.Shaken(&tls.ConnectionState{}, nil)
	b.Shaken(&tls.ConnectionState{DidResume: true}, nil)
	b.Shaken(&tls.ConnectionState{DidResume: true}, nil)
	b.Shaken(nil, io.EOF)
	for _, tt := range []struct {
		result, reason string
		want           float64
	}{{"ok", "none", 1}, {"resumed", "none", 2}, {"failed", "gone", 1}, {"failed", "version", 0}} {
		if got := b.counted("sluice_tls_handshakes_total", "kind=client", "result="+tt.result, "reason="+tt.reason); got != tt.want {
			t.Errorf("%s, %s: %v are counted, want %v", tt.result, tt.reason, got, tt.want)
		}
	}
}
