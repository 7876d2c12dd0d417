// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/routing/routingtest"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// unproven has nobody say of the instances of a route that they answer.
func unproven(r *routing.Route) *routing.Route {
	for _, i := range r.Instances {
		i.Unproven = true
	}
	return r
}

// boots has something answer at an address at last.
func boots(t *testing.T, addr, name string) {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: ln, Config: &http.Server{
		ReadHeaderTimeout: time.Minute,
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) }),
	}}
	s.Start()
	t.Cleanup(s.Close)
}

// The address of a route may become the name of instances, and an address
// again, while requests are under way: none of them fails.
func TestARouteChangesOverToInstancesThatBearItsAddress(t *testing.T) {
	vip, one, two := newMoody(t, "vip"), newMoody(t, "one"), newMoody(t, "two")
	b, p := start(t, nil), freeport.One(t)
	path := "[" + vip.addr() + "]"
	natively := func() *routing.Route { return unproven(route(path, routing.FullWeight, one.addr(), two.addr())) }
	b.lead(p, nil, routingtest.Route(path, routing.FullWeight))
	b.expect(p, map[string]int{"vip": 10})

	vip.mood.Store(pauses)
	under := make(chan string, 1)
	go func() { under <- send(t.Context(), p) }()
	eventually(t, "a request is under way", func() bool { return vip.served.Load() == 11 })
	b.lead(p, nil, natively())
	b.expect(p, map[string]int{"one": 5, "two": 5})
	vip.mood.Store(well)
	close(vip.better)
	if got := <-under; got != "vip" {
		t.Errorf("the request under way is answered %q, want what it went to", got)
	}

	var over atomic.Bool
	var all sync.WaitGroup
	var served, failed atomic.Int64
	for range 4 {
		all.Go(func() {
			for !over.Load() {
				if got := send(t.Context(), p); got != "vip" && got != "one" && got != "two" {
					failed.Add(1)
					t.Errorf("answered %q", got)
				}
				served.Add(1)
				for _, m := range []*moody{vip, one, two} {
					for len(m.begun) > 0 {
						<-m.begun
					}
				}
			}
		})
	}
	for n := range int64(20) {
		b.lead(p, nil, routingtest.Route(path, routing.FullWeight))
		eventually(t, "requests go on", func() bool { return served.Load() > 20*n })
		b.lead(p, nil, natively())
		eventually(t, "requests go on", func() bool { return served.Load() > 20*n+10 })
	}
	over.Store(true)
	all.Wait()
	if served.Load() < 390 || failed.Load() > 0 {
		t.Errorf("%d requests, %d of which failed", served.Load(), failed.Load())
	}
	r := natively()
	for _, i := range r.Instances {
		i.Ready = false
	}
	b.lead(p, nil, r)
	b.expect(p, map[string]int{"503 no_ready_instance": 5})
	b.lead(p, nil, routingtest.Route(path, routing.FullWeight))
	b.expect(p, map[string]int{"vip": 10})
}

// send sends a request and returns the answer, or what went wrong.
func send(ctx context.Context, port int) string {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, local(port), http.NoBody)
	if err != nil {
		return err.Error()
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("Sluice-Reason"), " ", err)
	}
	return string(text)
}

func TestConnectionsStayWhereTheyAreWhenInstancesBearTheAddress(t *testing.T) {
	first, second := greets(t, "first"), greets(t, "second")
	b, p := start(t, nil), freeport.One(t)
	tcp := func(g *routing.Gateway) { g.Port.Type = routing.TCP }
	path := "[" + first + "]"
	b.lead(p, tcp, routingtest.Route(path, routing.FullWeight))
	connect := func(want string) net.Conn {
		t.Helper()
		nc := dial(t, local(p))
		got := make([]byte, len(want))
		if _, err := io.ReadFull(nc, got); err != nil || string(got) != want {
			t.Fatalf("greeted by %q, %v; want %s", got, err, want)
		}
		return nc
	}
	early := connect("first")
	b.lead(p, tcp, unproven(route(path, routing.FullWeight, second)))
	connect("second")
	if _, err := io.WriteString(early, "still there"); err != nil {
		t.Fatal(err)
	}
	_ = early.(*net.TCPConn).CloseWrite()
	if rest, err := io.ReadAll(early); err != nil || string(rest) != "still there" {
		t.Errorf("the early connection brings %q, %v", rest, err)
	}
	b.lead(p, tcp, routingtest.Route(path, routing.FullWeight))
	connect("first")
}

// greets starts a server that says its name and then echoes.
func greets(t *testing.T, name string) string {
	t.Helper()
	ln := listen(t)
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				_, _ = io.WriteString(nc, name)
				_, _ = io.Copy(nc, nc)
			}()
		}
	}()
	return ln.Addr().String()
}

// A version whose instances boot takes nothing from them until they answer:
// others of the route serve meanwhile, and the shares of routes hold exactly.
func TestInstancesThatBootGetNothing(t *testing.T) {
	old, fresh := newMoody(t, "old"), newMoody(t, "fresh")
	b, p := start(t, nil), freeport.One(t)
	booting := fmt.Sprintf("127.0.0.1:%d", freeport.One(t))
	routes := func(addrs ...string) []*routing.Route {
		all := []*routing.Route{
			unproven(route("(1.0)", routing.FullWeight/2, old.addr())), unproven(route("(1.1)", routing.FullWeight/2, addrs...)),
		}
		for _, r := range all {
			for _, i := range r.Instances {
				i.SlowStart = time.Hour
			}
		}
		return all
	}
	b.lead(p, nil, routes(fresh.addr())...)
	b.expect(p, map[string]int{"old": 50, "fresh": 50})
	b.lead(p, nil, routes(fresh.addr(), booting)...)
	b.expect(p, map[string]int{"old": 50, "fresh": 50})
	if s := b.server.InstanceStates("g", "(1.1)")[1]; !s.Awaited || !s.Unused || s.Address != booting {
		t.Errorf("what boots stands as %+v", s)
	}
	boots(t, booting, "booted")
	eventually(t, "it serves", func() bool { return !b.server.InstanceStates("g", "(1.1)")[1].Unused })
	got := b.tell(p, 220)
	if got["old"] != 110 || got["fresh"]+got["booted"] != 110 || got["booted"] != 10 {
		t.Errorf("answers %v, want half of them each, and a tenth of its share from what starts slowly", got)
	}
}

// A route of which nothing answers yet is like any that cannot serve.
func TestARouteOfInstancesThatBootCannotServe(t *testing.T) {
	old := newMoody(t, "old")
	b, p := start(t, nil), freeport.One(t)
	booting := fmt.Sprintf("127.0.0.1:%d", freeport.One(t))
	redistribute := func(g *routing.Gateway) { g.Unavailable = routing.UnavailableRedistribute }
	routes := func() []*routing.Route {
		return []*routing.Route{
			unproven(route("(1.0)", routing.FullWeight/2, old.addr())), unproven(route("(1.1)", routing.FullWeight/2, booting)),
		}
	}
	b.lead(p, nil, routes()...)
	b.expect(p, map[string]int{"old": 10, "503 no_ready_instance": 10})
	b.lead(p, redistribute, routes()...)
	b.expect(p, map[string]int{"old": 20})
	boots(t, booting, "booted")
	eventually(t, "it serves", func() bool { return !b.server.InstanceStates("g", "(1.1)")[0].Unused })
	b.expect(p, map[string]int{"old": 10, "booted": 10})
	unchecked := routes()
	unchecked[1].Instances[0].Port = 1
	unchecked[1].Health = routing.PartOf(routing.Health{Kind: routing.HealthNone})
	b.lead(p, nil, unchecked...)
	if got := b.tell(p, 20); got["old"] != 10 || got["503 no_ready_instance"] > 0 {
		t.Errorf("where nothing is to be checked: %v, want connections that are refused", got)
	}
}
