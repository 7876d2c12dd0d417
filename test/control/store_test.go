// SPDX-License-Identifier: Apache-2.0

//go:build linux

package control

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/sluice-mesh/sluice/control/store"
)

// A store that was restored from a backup knows nothing of what was made
// since. Proxies hold that back, say so, and let go of it when somebody
// confirms that it is gone; what the backup knows they serve as it was then.
func TestStoreRestored(t *testing.T) {
	long(t)
	t.Parallel()
	m := newMesh(t, 2)
	shop, cart := m.gateways[0], m.gateways[1]
	m.up(t)
	m.put(t, shop, 10)
	_, _, backup, err := askAll(t.Context(), http.MethodGet, m.url("/api/v1/backup"), "")
	if err != nil {
		t.Fatal(err)
	}
	m.begin(t) // cart is made, and shop is changed
	m.control.kill(t)
	if err := store.Restore(m.data, strings.NewReader(backup)); err != nil {
		t.Fatal(err)
	}
	m.up(t)
	m.serve(t, shop, 10)
	for _, p := range m.proxies {
		p.load.among(t, 50)
		p.shows(t, "that cart is held back, and serves", func(s status) bool {
			return s.serves(cart, 100) && s.holds("cart")
		})
		p.counts(t, "sluice_table_held_back", 1)
	}
	// From here on nobody asks for cart.
	for _, p := range m.proxies {
		p.load.stop(t)
		m.gateways = []*gateway{shop}
		p.beginLoad(t)
		if code, body, err := ask(t.Context(), http.MethodPost, "http://"+p.admin+"/confirm"); err != nil || code != http.StatusOK {
			t.Fatalf("%s: /confirm: status %d, %v: %s", p.name, code, err, body)
		}
		p.shows(t, "that cart is gone", func(s status) bool { return s.serves(shop, 10) && !s.serves(cart, 100) })
	}
	m.change(t, shop, 20)
	m.stop(t, 2)
}

// A store that was lost is an empty one of another epoch. Nothing of that
// reaches traffic until it is confirmed or made anew.
func TestStoreLost(t *testing.T) {
	long(t)
	t.Parallel()
	m := everything(t, 2)
	shop, cart := m.gateways[0], m.gateways[1]
	m.change(t, shop, 10)
	m.control.kill(t)
	empty(t, m.data)
	m.up(t)
	for _, p := range m.proxies {
		p.connected(t)
		p.shows(t, "that both are held back, and serve", func(s status) bool {
			return s.serves(shop, 10) && s.serves(cart, 100) && s.holds("cart", "shop")
		})
		p.load.among(t, 50)
	}
	m.put(t, cart, 100)
	m.put(t, shop, 20)
	m.serve(t, shop, 20)
	for _, p := range m.proxies {
		p.shows(t, "that nothing is held back", func(s status) bool { return s.serves(cart, 100) && s.holds() })
		p.counts(t, "sluice_table_held_back", 0)
	}
	m.stop(t, 2)
}

// A store without room refuses writes and says why. Reads go on, proxies serve
// on, and restarted ones get their table.
func TestStoreFull(t *testing.T) {
	long(t)
	t.Parallel()
	if os.Geteuid() != 0 {
		lack(t, "a disk of our own takes root")
	}
	m := newMesh(t, 2)
	empty(t, m.data)
	if err := syscall.Mount("tmpfs", m.data, "tmpfs", 0, "size=4m"); err != nil {
		lack(t, "a disk of our own takes the right to mount: %v", err)
	}
	t.Cleanup(func() {
		if m.control != nil && !m.control.ended() {
			m.control.kill(t)
		}
		if err := syscall.Unmount(m.data, 0); err != nil {
			t.Error(err)
		}
	})
	m.up(t)
	m.begin(t)
	shop, cart := m.gateways[0], m.gateways[1]
	m.change(t, shop, 10)
	ballast := filepath.Join(m.data, "ballast")
	_ = os.WriteFile(ballast, make([]byte, 8<<20), 0o600) // until there is no room
	code, body, accepted := 0, "", 10
	for n := range 1000 { // there may be room in the store's file
		var err error
		share := n%90 + 1
		text := shop.text(share) + "# " + strings.Repeat("x", 10_000+n) + "\n"
		if code, _, body, err = m.tryPut(t, shop, text); err != nil {
			t.Fatal(err)
		}
		if code > 202 {
			break
		}
		accepted = share
	}
	if code != http.StatusInsufficientStorage {
		t.Errorf("PUT without room: status %d: %s, want 507", code, body)
	}
	if code, body := m.stored(t, "shop"); code != http.StatusOK || !strings.Contains(body, fmt.Sprintf("%q", strconv.Itoa(accepted)+"%")) {
		t.Errorf("GET without room: status %d: %s, want what was accepted last, %d%%", code, body, accepted)
	}
	if code, _ := m.stored(t, "cart"); code != http.StatusOK {
		t.Errorf("GET without room: status %d", code)
	}
	m.serve(t, shop, accepted)
	restarted := m.proxies[0]
	restarted.load.stop(t)
	restarted.end(t)
	empty(t, restarted.data)
	restarted.up(t)
	restarted.ready(t)
	restarted.shows(t, "both gateways, from the control plane", func(s status) bool { return s.serves(cart, 100) })
	restarted.beginLoad(t)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	m.change(t, shop, 77)
	m.stop(t, 1)
}

// A thousand changes under load, of weights and of instances, come to all
// proxies, and no request fails.
func TestThousandChanges(t *testing.T) {
	long(t)
	t.Parallel()
	m := everything(t, 2)
	shop := m.gateways[0]
	others := []string{shop.addrs[0], shop.addrs[1]}
	for i := range 1000 {
		if i%10 == 0 { // instances, too: each route gets that of the other
			others[0], others[1] = others[1], others[0]
			shop.addrs = others
		}
		m.put(t, shop, 1+i%99)
	}
	m.change(t, shop, 42)
	m.serve(t, shop, 42)
	if _, body := m.stored(t, "shop"); !strings.Contains(body, strconv.Itoa(42)+"%") {
		t.Errorf("GET: %s", body)
	}
	m.stop(t, 1)
}
