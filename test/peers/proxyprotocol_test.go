// SPDX-License-Identifier: Apache-2.0

//go:build peers

package peers

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/test/freeport"
)

// peerDefaults begins each configuration of HAProxy.
const peerDefaults = `global
	maxconn 100
defaults
	timeout client 20s
	timeout connect 5s
	timeout server 20s
`

// from asks over HTTP from an address of the loopback network.
func from(t *testing.T, source, address string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
			return d.DialContext(ctx, network, address)
		},
	}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("%d %v: %s", answer.StatusCode, err, body)
	}
	return string(body)
}

// TestHAProxySendsUsClients has HAProxy stand in front: what it says of the
// client in a PROXY header is who the client is, for conditions and instances.
func TestHAProxySendsUsClients(t *testing.T) {
	for version, send := range map[string]string{"v1": "send-proxy", "v2": "send-proxy-v2"} {
		t.Run(version, func(t *testing.T) {
			port, front := freeport.One(t), freeport.One(t)
			startSluice(t, t.TempDir(), fmt.Sprintf(`name: shop
port: %d
sluice: {proxy_protocol: [127.0.0.1]}
routes:
  "[%s]": {weight: 0%%, condition: ip in 127.0.0.77, sluice: {headers: {request: {set: {X-Route: known}}}}}
  "[%s]": {weight: 100%%}
`, port, echo(t), echo(t)))
			startPeer(t, peerDefaults+fmt.Sprintf("\tmode tcp\nlisten front\n\tbind 127.0.0.1:%d\n\tserver sluice 127.0.0.1:%d %s\n", front, port, send), front)
			contains(t, from(t, "127.0.0.77", loopback(front)), "X-Forwarded-For: 127.0.0.77\r\n", "X-Route: known\r\n")
			contains(t, from(t, "127.0.0.78", loopback(front)), "X-Forwarded-For: 127.0.0.78\r\n")
		})
	}
}

// TestHAProxyLearnsOurClients has HAProxy be the instance.
func TestHAProxyLearnsOurClients(t *testing.T) {
	for _, kind := range []string{"http", "tcp"} {
		for _, version := range []string{"v1", "v2"} {
			t.Run(kind+" "+version, func(t *testing.T) {
				port, behind := freeport.One(t), freeport.One(t)
				startPeer(t, peerDefaults+fmt.Sprintf(`	mode http
frontend behind
	bind 127.0.0.1:%d accept-proxy
	http-request return status 200 content-type text/plain lf-string "%%[src] to %%[dst_port]"
`, behind), behind)
				startSluice(t, t.TempDir(), fmt.Sprintf("name: shop\nport: %d/%s\nroutes:\n  \"[127.0.0.1:%d]\": {weight: 100%%, sluice: {proxy_protocol: %s}}\n", port, kind, behind, version))
				for _, source := range []string{"127.0.0.77", "127.0.0.78"} {
					if got, want := strings.TrimSpace(from(t, source, loopback(port))), fmt.Sprintf("%s to %d", source, port); got != want {
						t.Errorf("HAProxy sees %q, want %q", got, want)
					}
				}
			})
		}
	}
}
