// SPDX-License-Identifier: Apache-2.0

//go:build linux

package control

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// Without -scale.full the same is done small, so that it is known to work.
var full = flag.Bool("scale.full", false, "measure with 1,000 clients, and with 10,000 gateways")

// quantile returns the value below which a share of sorted ones lie.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// tell adds how long things took to the report: the median and the 99th
// hundredth, which is to be below a goal, if there is one.
func tell(what string, took []time.Duration, goal time.Duration) {
	slices.Sort(took)
	results.add(what+", p50", ms(quantile(took, 0.5)), 0, "ms")
	results.add(what+", p99", ms(quantile(took, 0.99)), ms(goal), "ms")
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func mb(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// One instance changes, and all proxies know it: tables go to the stream as
// the planner makes them.
func TestScaleOfEndpoints(t *testing.T) {
	long(t)
	clients, changes, z := 20, 20, size{gateways: 50, routes: 5, instances: 4}
	if *full {
		clients, changes, z.gateways = 1000, 100, 1000
	}
	at := "127.0.0.1:" + strconv.Itoa(freeport.One(t))
	s := serveTables(t, at, z)
	f, took := newFleet(t, at, clients, z.gateways)
	what := fmt.Sprintf("one instance of %d to %d proxies", z.gateways*z.routes*z.instances, clients)
	results.add(fmt.Sprintf("first table to %d proxies, 50 at a time", clients), took.Seconds(), 0, "s")
	before := s.cpu(t)
	var last []time.Duration
	for n := 1; n <= changes; n++ {
		begun := time.Now()
		s.change(t, n%z.gateways, n)
		each := f.acknowledged(t, uint64(n), begun)
		last = append(last, each[len(each)-1])
	}
	tell(what+", acknowledged by all", last, 250*time.Millisecond)
	results.add(what+", CPU of the stream server for each", ms(s.cpu(t)-before)/float64(changes), 0, "ms")
	results.add(what+", memory of the stream server", mb(s.memory(t, "VmRSS")), 0, "MB")
}

// One gateway changes through the API, and all proxies know it.
func TestScaleOfChanges(t *testing.T) {
	long(t)
	clients, changes, z := 20, 20, size{gateways: 50, routes: 5}
	if *full {
		clients, changes, z.gateways = 1000, 100, 1000
	}
	m := newMesh(t, 0)
	m.fill(t, z)
	m.up(t)
	f, _ := newFleet(t, m.stream, clients, z.gateways)
	before := m.control.cpu(t)
	var acknowledged, told []time.Duration
	for n := 1; n <= changes; n++ {
		begun := time.Now()
		id := m.putSized(t, z, n%z.gateways, n, "?wait=20s")
		told = append(told, time.Since(begun))
		each := f.acknowledged(t, id, begun)
		acknowledged = append(acknowledged, each[len(each)-1])
	}
	what := fmt.Sprintf("one of %d gateways by PUT to %d proxies", z.gateways, clients)
	tell(what+", acknowledged by all", acknowledged, 250*time.Millisecond)
	tell(what+", PUT with wait answered", told, 0)
	results.add(what+", CPU of the control plane for each", ms(m.control.cpu(t)-before)/float64(changes), 0, "ms")
}

// Real proxies, and as many gateways as an organisation has. Clients ask all
// the while.
func TestScaleOfGateways(t *testing.T) {
	long(t)
	changes, storm, z := 20, 50, size{gateways: 200}
	if *full {
		changes, storm, z.gateways = 1000, 200, 10_000
	}
	for range 5 { // as many as a gateway has routes
		z.live = append(z.live, netip.MustParseAddrPort(origin(t, "live")))
	}
	what := fmt.Sprintf("%d gateways by the API, ", z.gateways)
	m := newMesh(t, 3)
	m.fill(t, z)
	begun := time.Now()
	m.up(t)
	results.add(what+"control plane ready", time.Since(begun).Seconds(), 0, "s")
	m.beginSized(t, what)
	m.stepwise(t, what, changes, proxyMemory, func(n int) { m.putSized(t, z, n*7919%z.gateways, n, "?wait=20s") })
	begun = time.Now()
	for n := range storm { // as fast as they are taken: proxies may skip some
		m.putSized(t, z, n*7919%z.gateways, n+2, "")
	}
	results.add(what+"writes a second by one writer", float64(storm)/time.Since(begun).Seconds(), 0, "/s")
	m.putSized(t, z, lively+1, 3, "?wait=20s")
	results.add(fmt.Sprintf("%stime until all proxies serve %d of them", what, storm), time.Since(begun).Seconds(), 0, "s")
	results.add(what+"memory of the control plane", mb(m.control.memory(t, "VmRSS")), 0, "MB")
	m.tellFailed(what)
	m.stop(t, 1)
}

// The same with an instance a route, as selectors find them; tables go to the
// stream as the planner makes them.
func TestScaleOfInstances(t *testing.T) { scaleOfInstances(t, 1, 1000, proxyMemory) }

// With four of them a table is more than what the goal of memory is for.
func TestScaleOfManyInstances(t *testing.T) { scaleOfInstances(t, 4, 50, 0) }

func scaleOfInstances(t *testing.T, instances, most int, memory float64) {
	t.Helper()
	long(t)
	changes, z := 20, size{gateways: 200, instances: instances}
	if *full {
		changes, z.gateways = most, 10_000
	}
	for range 5 { // as many as a gateway has routes
		z.live = append(z.live, netip.MustParseAddrPort(origin(t, "live")))
	}
	what := fmt.Sprintf("%d gateways with %d instances, ", z.gateways, z.gateways*3*z.instances)
	m := newMesh(t, 3)
	s := serveTables(t, m.stream, z)
	m.control = s.process
	m.beginSized(t, what)
	m.stepwise(t, what, changes, memory, func(n int) {
		s.change(t, n*7919%z.gateways, n)
		s.served(t, n)
	})
	m.tellFailed(what)
	for _, p := range m.proxies {
		p.stop(t, 1)
		p.end(t)
	}
}

// proxyMemory is what a proxy with 10,000 gateways of 1 to 5 routes, each of
// which leads to one instance, may have resident, in MB.
const proxyMemory = 150

// tellFailed tells how many requests failed.
func (m *mesh) tellFailed(what string) {
	failed := 0
	for _, p := range m.proxies {
		failed += p.load.lost()
	}
	results.add(what+"requests that failed", float64(failed), 1, "")
}

// stepwise makes changes, each when the one before serves, and tells what they
// take after some to warm up. memory is what a proxy may have resident in the
// end, in MB; 0 for no goal.
func (m *mesh) stepwise(t *testing.T, what string, changes int, memory float64, change func(n int)) {
	t.Helper()
	const warm = 5
	for n := range warm {
		change(n + 2)
	}
	before, first := m.control.cpu(t), m.proxies[0].cpu(t)
	var took []time.Duration
	for n := range changes {
		begun := time.Now()
		change(warm + n + 2)
		took = append(took, time.Since(begun))
	}
	n := float64(changes)
	results.add(what+"CPU of the control plane for each change", ms(m.control.cpu(t)-before)/n, 20, "ms")
	results.add(what+"CPU of a proxy for each change, with that for 500 requests a second", ms(m.proxies[0].cpu(t)-first)/n, 0, "ms")
	tell(what+"one change served by 3 proxies", took, 250*time.Millisecond)
	for _, p := range m.proxies {
		results.add(what+"memory of "+p.name, mb(p.memory(t, "VmRSS")), memory, "MB")
		results.add(what+"most memory of "+p.name, mb(p.memory(t, "VmHWM")), 0, "MB")
	}
}

// fill writes gateways into the store of a control plane that does not run.
func (m *mesh) fill(t *testing.T, z size) {
	t.Helper()
	s, err := store.Open(m.data, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for lot := range z.changes() {
		if _, err := s.Apply(t.Context(), "scale", lot...); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// putSized changes one gateway and returns the number of the change.
func (m *mesh) putSized(t *testing.T, z size, i, n int, query string) uint64 {
	t.Helper()
	path := fmt.Sprintf("/api/v1/gateways/g%d%s", i, query)
	code, header, body, err := askAll(t.Context(), http.MethodPut, m.url(path), z.text(i, n), "Content-Type", "application/x-yaml")
	if err != nil || code < 200 || code > 202 {
		t.Fatalf("PUT of %s: status %d, %v: %s\n%s", path, code, err, body, last(m.control.log.String(), 3000))
	}
	if query != "" && header.Get("Sluice-Converged") != "true" {
		_, laggards, err := ask(t.Context(), http.MethodGet, m.url("/api/v1/changes/"+header.Get("Sluice-Change")))
		t.Fatalf("PUT of %s: Sluice-Converged is %q: %s %v", path, header.Get("Sluice-Converged"), laggards, err)
	}
	var id uint64
	if text := header.Get("Sluice-Change"); text != "" {
		if _, err := fmt.Sscan(text, &id); err != nil {
			t.Fatal(err)
		}
	}
	return id
}

// beginSized starts the proxies one after the other, tells how long each takes
// to serve its first table, and has clients ask some of the gateways.
func (m *mesh) beginSized(t *testing.T, what string) {
	t.Helper()
	for i, p := range m.proxies {
		port := strconv.Itoa(freeport.One(t))
		p.args = append(p.args, "--virtual-hosts-port", port)
		p.alone = true
		begun := time.Now()
		p.up(t)
		p.ready(t)
		p.await(t, "it serves", func() bool {
			_, err := (&client{address: p.address + ":" + port, host: hostOf(0), names: []string{"live"}}).do()
			return err == nil
		})
		results.add(what+"first table of "+p.name, time.Since(begun).Seconds(), 0, "s")
		if i == 0 {
			results.add(what+"memory of the control plane, of which one proxy was told", mb(m.control.memory(t, "VmRSS")), 0, "MB")
		}
		ctx, cancel := context.WithCancel(context.Background())
		l := &load{name: p.name, cancel: cancel, by: map[string]int{}}
		for g := range lively / 2 {
			l.askHost(ctx, p.address+":"+port, hostOf(g), "live")
		}
		p.load = l
		t.Cleanup(func() { cancel(); l.wg.Wait() })
		l.among(t, 20)
		watching, stop := context.WithCancel(context.Background())
		p.watch = &watch{name: p.name, cancel: stop, pause: time.Second, brief: true}
		p.watch.wg.Go(func() { p.watch.run(watching, p) })
		t.Cleanup(func() { stop(); p.watch.wg.Wait() })
	}
}
