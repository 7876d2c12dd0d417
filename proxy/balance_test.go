// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluice-mesh/sluice/proxy"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/routing/routingtest"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// instancesAt makes ready instances of addresses.
func instancesAt(addrs ...string) []*routing.Instance {
	var list []*routing.Instance
	for _, addr := range addrs {
		at := netip.MustParseAddrPort(addr)
		list = append(list, &routing.Instance{Address: at.Addr(), Port: int(at.Port()), Ready: true})
	}
	return list
}

func TestRetriesFollowTheBalance(t *testing.T) {
	for _, balance := range []string{"roundrobin", "leastconn", "first", "source", "uri", "hdr(X-User)", "random", "ewma"} {
		t.Run(balance, func(t *testing.T) {
			origin := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			defer origin.Close()
			route := routingtest.Route("r", routing.FullWeight)
			route.Balance = balance
			// Nobody listens on the first port, and no test is given it.
			route.Instances = instancesAt("127.0.0.1:1", strings.TrimPrefix(origin.URL, "http://"))
			p := freeport.One(t)
			bed := start(t, nil)
			snapshot, faults := routing.Compile(nil, routingtest.Table(1, routingtest.Gateway("g", p, route)), routing.CompileOptions{})
			if len(faults) > 0 {
				t.Fatal(faults)
			}
			bed.server.Publish(snapshot)
			for n := range 40 {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/%d", p, n), http.NoBody)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("X-User", strconv.Itoa(n))
				resp, err := http.DefaultClient.Do(r)
				if err != nil {
					t.Fatal(err)
				}
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					t.Fatalf("request %d: %s %s, want the instance that can be reached", n, resp.Status, resp.Header.Get("Sluice-Reason"))
				}
			}
			st := bed.server.Status()[0].Routes[0]
			if st.Balance != strings.Replace(balance, "random", "random(2)", 1) || len(st.Instances) != 2 {
				t.Errorf("the status tells %+v", st)
			}
		})
	}
}

func TestOwnZoneFirst(t *testing.T) {
	var addrs []string
	var served [3]atomic.Int64
	for i := range served {
		origin := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served[i].Add(1) }))
		defer origin.Close()
		addrs = append(addrs, strings.TrimPrefix(origin.URL, "http://"))
	}
	route := routingtest.Route("r", routing.FullWeight)
	route.Instances = instancesAt(addrs...)
	for i, zone := range []string{"a", "b", "c"} {
		route.Instances[i].Zone = zone
	}
	p := freeport.One(t)
	g := routingtest.Gateway("g", p, route)
	g.Locality = routing.Locality{Prefer: routing.NearnessZone, Enough: routing.DefaultEnough}
	bed := start(t, func(o *proxy.Options) { o.Zone = "b" })
	snapshot, _ := routing.Compile(nil, routingtest.Table(1, g), routing.CompileOptions{})
	bed.server.Publish(snapshot)
	for range 30 {
		resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", p)) //nolint:noctx // the test's own
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	for i := range served {
		if got, want := served[i].Load(), []int64{0, 30, 0}[i]; got != want {
			t.Errorf("zone %s served %d, want %d", route.Instances[i].Zone, got, want)
		}
	}
}
