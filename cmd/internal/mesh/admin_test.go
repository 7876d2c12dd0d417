// SPDX-License-Identifier: Apache-2.0

package mesh_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/cmd/internal/mesh"
	"github.com/sluice-mesh/sluice/cmd/internal/node"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// What the admin server shows is nowhere to be had from a gateway's port: such
// requests are routed like any other.
func TestGatewaysShowNothingOfTheAdminServer(t *testing.T) {
	port := freeport.One(t)
	source := make(said)
	m, log := start(t, source)
	source <- fmt.Sprintf("name: g\nport: %d\nroutes: {\"[%s]\": {}}\n", port, origin(t, "of the origin"))
	log.await("table published")
	for _, path := range []string{
		"/", "/livez", "/readyz", "/startupz", "/healthz", "/metrics", "/status", "/explain", "/confirm",
		"/debug/pprof/", "/debug/vars", "/config", "/metrics/../status", "//metrics",
	} {
		for _, host := range []string{"a", "127.0.0.1", "localhost", m.Admin()} {
			for _, target := range []string{path, "http://" + m.Admin() + path} {
				status, body := requestRaw(t, port, "GET "+target+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: close\r\n\r\n")
				// Where the two names differ, the request may be refused.
				if status == http.StatusBadRequest && host != m.Admin() && target != path {
					continue
				}
				if status != http.StatusOK || body != "of the origin" {
					t.Errorf("GET %s with Host %s = %d %.60q, want what the route leads to", target, host, status, body)
				}
			}
		}
	}
}

func requestRaw(t *testing.T, port int, text string) (status int, body string) {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

func TestAdminAddressThatOthersReachTakesAToken(t *testing.T) {
	_, err := mesh.Open(t.Context(), mesh.Options{
		Source: make(said), Options: node.Options{GatewayAddress: "127.0.0.1", Admin: "0.0.0.0:0"},
	})
	if err == nil || !strings.Contains(err.Error(), "--admin-token-file") {
		t.Errorf("Open() = %v, want an error that says what to add", err)
	}
	_, err = mesh.Open(t.Context(), mesh.Options{
		Source: make(said), Options: node.Options{GatewayAddress: "127.0.0.1", Admin: "127.0.0.1:0", AdminTokenFile: "missing"},
	})
	if err == nil || !strings.HasPrefix(err.Error(), "--admin-token-file: ") {
		t.Errorf("Open() = %v with a file that is missing, want an error that names the flag", err)
	}
}
