// SPDX-License-Identifier: Apache-2.0

package shop_test

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/cmd/internal/shop"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// patience bounds how long a test waits for what must come.
const patience = time.Minute

// runOne runs one instance on two ports until the test ends.
func runOne(t *testing.T, version string) (addresses []string, end func() error) {
	t.Helper()
	ports, err := freeport.Take(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	for _, port := range ports {
		addresses = append(addresses, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	ended := make(chan error, 1)
	go func() { ended <- shop.One{Version: version, Name: "z", Addresses: addresses}.Run(ctx) }()
	for _, address := range addresses {
		listens(t, address)
	}
	return addresses, func() error {
		cancel()
		return <-ended
	}
}

// listens waits until somebody listens on an address.
func listens(t *testing.T, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err == nil {
			conn.Close()
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: %v", address, err)
		case <-tick.C:
		}
	}
}

func TestOne(t *testing.T) {
	t.Run("it serves on all of its addresses", func(t *testing.T) {
		addresses, end := runOne(t, "7.1")
		for _, address := range addresses {
			if a := ask(t, "GET", "http://"+address+"/version"); a.body != "shop 7.1 instance z\n" {
				t.Errorf("%s = %q", address, a.body)
			}
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
	t.Run("a version without a page of its own shows that of the newest", func(t *testing.T) {
		addresses, _ := runOne(t, "7.1")
		if a := ask(t, "GET", "http://"+addresses[0]+"/"); a.status != 200 || !strings.Contains(a.body, "7.1") || !strings.Contains(a.body, "</html>") {
			t.Errorf("GET / = %d %.100s", a.status, a.body)
		}
	})
	t.Run("it lets a request end that has begun", func(t *testing.T) {
		addresses, end := runOne(t, "7.1")
		ask(t, "POST", "http://"+addresses[0]+"/knobs?latency=100ms")
		answered := make(chan answer, 1)
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", addresses[0])
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("GET /version HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		go func() {
			b := make([]byte, 4096)
			n, _ := conn.Read(b)
			answered <- answer{body: string(b[:n])}
		}()
		accepted(t, addresses[0])
		if err := end(); err != nil {
			t.Error(err)
		}
		if a := <-answered; !strings.HasPrefix(a.body, "HTTP/1.1 200 ") {
			t.Errorf("answer %q, want 200", a.body)
		}
	})
	t.Run("it ends where an address is taken", func(t *testing.T) {
		var lc net.ListenConfig
		ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		err = shop.One{Version: "1", Name: "a", Addresses: []string{ln.Addr().String()}}.Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), ln.Addr().String()) {
			t.Errorf("Run() = %v, want an error that names the address", err)
		}
	})
}

// accepted waits until all connections so far have been accepted: they are in
// their order, so it asks over one more and waits for the answer.
func accepted(t *testing.T, address string) {
	t.Helper()
	own := &http.Transport{}
	defer own.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/knobs", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := own.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}
