// SPDX-License-Identifier: Apache-2.0

package tcp_test

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/proxy/upstream"
)

func TestRatesCountConnections(t *testing.T) {
	b := newBed(t, only(origin(t, echo)), "sluice: {limits: {rate: {requests: 2, per: 24h, key: ip}}}")
	served := 0
	for range 5 {
		c := b.connect()
		_, _ = io.WriteString(c, "ping") // it may be reset already
		_ = c.CloseWrite()
		if got, err := io.ReadAll(c); err == nil && string(got) == "ping" {
			served++
		}
	}
	got := b.totals()
	if served != 2 || got.Reasons[live.RateLimited] != 3 {
		t.Errorf("%d connections were served and %d limited, want 2 and 3", served, got.Reasons[live.RateLimited])
	}
}

func TestLeastConnectionsBetweenRoutes(t *testing.T) {
	b := newBed(t, fmt.Sprintf(`{"[%s]": {weight: 75%%}, "[%s]": {weight: 25%%}}`, named(t, "a"), named(t, "b")), "sluice: {between_routes: leastconn}")
	counts := map[string]int{}
	name := make([]byte, 2)
	for range 40 { // they stay
		c := b.connect()
		if _, err := io.ReadFull(c, name); err != nil {
			t.Fatal(err)
		}
		counts[string(name)]++
	}
	if counts["a:"] != 30 || counts["b:"] != 10 {
		t.Errorf("counts = %v, want 30 of a and 10 of b", counts)
	}
}

// everywhere returns a port on which all addresses of shop.test. echo.
func everywhere(t *testing.T) (port string) {
	t.Helper()
	for range 50 {
		all := listenEverywhere(t)
		if all == nil {
			continue // somebody has the port
		}
		for _, ln := range all {
			go func() {
				for {
					nc, err := ln.Accept()
					if err != nil {
						return
					}
					go func() {
						defer nc.Close()
						echo(nc.(*net.TCPConn))
					}()
				}
			}()
			t.Cleanup(func() { _ = ln.Close() })
		}
		_, port, _ = net.SplitHostPort(all[0].Addr().String())
		return port
	}
	t.Fatal("no port is free on all addresses")
	return ""
}

func listenEverywhere(t *testing.T) (all []net.Listener) {
	t.Helper()
	port := "0"
	for _, addr := range []string{"127.0.0.1", "127.0.0.2", "127.0.0.3"} {
		ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort(addr, port))
		if err != nil {
			for _, ln := range all {
				_ = ln.Close()
			}
			return nil
		}
		all = append(all, ln)
		_, port, _ = net.SplitHostPort(ln.Addr().String())
	}
	return all
}

// left waits until so many connections are left.
func (b *bed) left(n int) {
	b.t.Helper()
	for deadline := time.Now().Add(patience); b.listener.Open() > n; runtime.Gosched() {
		if time.Now().After(deadline) {
			b.t.Fatalf("%d connections are left, want %d", b.listener.Open(), n)
		}
	}
}

// Each instance takes one connection, and the first one is always asked first.
func TestRetriesHaveABudget(t *testing.T) {
	for _, tt := range []struct {
		name              string
		retries           string
		served            int // of four
		retried, notTried int64
	}{
		{"none", "{attempts: 2, budget: 0%, budget_min: 0}", 1, 0, 3},
		// A retry is over once the instance is reached, and not when the
		// connection ends.
		{"one at a time", "{attempts: 2, budget: 0%, budget_min: 1}", 3, 5, 0},
		{"one attempt", "{attempts: 1, budget: 0%, budget_min: 1}", 2, 3, 0},
		{"the default", "{}", 3, 5, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			routes := fmt.Sprintf(`{"[shop.test.:%s]": {balance: first, sluice: {retries: %s}}}`, everywhere(t), tt.retries)
			b := newBedWith(t, upstream.Options{MaxOpen: 1}, routes)
			for i := range 4 {
				c := b.connect()
				if i >= tt.served {
					expectEnd(t, c, syscall.ECONNRESET)
					b.left(tt.served) // what it took is given back
					continue
				}
				write(t, c, "ping")
				expect(t, c, "ping")
			}
			if n := b.registry.Retries("connected").Value(); n != tt.retried {
				t.Errorf("%d retries are counted, want %d", n, tt.retried)
			}
			if n := b.registry.Retries("retry_budget_spent").Value(); n != tt.notTried {
				t.Errorf("%d retries were not made for want of a budget, want %d", n, tt.notTried)
			}
		})
	}
}
