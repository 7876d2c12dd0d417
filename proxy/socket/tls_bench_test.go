// SPDX-License-Identifier: Apache-2.0

package socket_test

import (
	"crypto/tls"
	"io"
	"testing"

	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/test/certs"
)

// BenchmarkExchange measures a request of 128 bytes and an answer of as many,
// as a server, in plain text and over TLS. The time is that of both sides; the
// client is the same in all cases but for its TLS.
func BenchmarkExchange(b *testing.B) {
	ca := certs.New(b)
	server := &tls.Config{Certificates: []tls.Certificate{ca.Issue(b, "shop.example").TLS()}, DynamicRecordSizingDisabled: true}
	for _, version := range []uint16{0, tls.VersionTLS12, tls.VersionTLS13} {
		name := "plain"
		if version != 0 {
			name = tls.VersionName(version)
		}
		b.Run(name, func(b *testing.B) {
			c, tcp := pair(b, new(socket.Sweeper))
			peer := io.ReadWriteCloser(tcp)
			if version != 0 {
				c.ServerTLS(server)
				peer = tls.Client(tcp, &tls.Config{RootCAs: ca.Pool(), ServerName: "shop.example", MinVersion: version, MaxVersion: version})
			}
			answer := make([]byte, 128)
			h := &script{data: func([]byte) socket.Next {
				_, _ = c.Write(answer)
				return socket.Park
			}}
			done := start(func() error { return c.Loop(h) })
			request, got := make([]byte, 128), make([]byte, 128)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := peer.Write(request); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(peer, got); err != nil {
					b.Fatal(err)
				}
			}
			_ = peer.Close()
			_ = result(b, done)
		})
	}
}
