// SPDX-License-Identifier: Apache-2.0

package freeport_test

import (
	"net"
	"strconv"
	"sync"
	"testing"

	"github.com/sluice-mesh/sluice/test/freeport"
)

func TestPortsDifferAndAreFree(t *testing.T) {
	var mu sync.Mutex
	seen := make(map[int]bool)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			ports, err := freeport.Take(t.Context(), 100)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			for _, p := range ports {
				if seen[p] {
					t.Errorf("port %d was handed out twice", p)
				}
				seen[p] = true
			}
		})
	}
	wg.Wait()
	for p := range seen {
		ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p)))
		if err != nil {
			t.Fatal(err)
		}
		_ = ln.Close()
	}
}

func TestPortsAreBelowThoseThatKernelsChoose(t *testing.T) {
	if p := freeport.One(t); p < 10_000 || p >= 20_000 {
		t.Errorf("One() = %d, want a port from 10000 to 19999", p)
	}
}

// A test repeated many times does not run out.
func TestPortsComeAround(t *testing.T) {
	for range 4_000 {
		freeport.One(t)
	}
}
