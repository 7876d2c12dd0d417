// SPDX-License-Identifier: Apache-2.0

//go:build linux

package control

import (
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// A control plane that is killed takes nothing with it: proxies serve on, and
// find the one that is started in its place. What it acknowledged last comes
// to them then.
func TestControlPlaneKilled(t *testing.T) {
	t.Parallel()
	m := everything(t, 2)
	shop := m.gateways[0]
	rounds := 1
	if *all {
		rounds = 4
	}
	for round := range rounds {
		m.change(t, shop, 10+round)
		m.put(t, shop, 60+round) // acknowledged, and perhaps not sent yet
		m.control.kill(t)
		for _, p := range m.proxies {
			p.stale(t)
			p.load.among(t, 50)
		}
		m.up(t)
		m.serve(t, shop, 60+round)
		for _, p := range m.proxies {
			p.connected(t)
		}
	}
	m.change(t, shop, 70)
	m.stop(t, 1)
}

// A control plane that hangs, its connections open, is noticed by its silence.
func TestControlPlaneThatHangs(t *testing.T) {
	long(t)
	t.Parallel()
	m := everything(t, 2)
	shop := m.gateways[0]
	m.control.signal(t, syscall.SIGSTOP)
	for _, p := range m.proxies {
		p.stale(t) // as soon as two pings of 10 s are not answered
		p.load.among(t, 200)
	}
	m.control.signal(t, syscall.SIGCONT)
	for _, p := range m.proxies {
		p.connected(t)
	}
	m.change(t, shop, 20)
	m.stop(t, 1)
}

// A proxy that is started without a control plane serves what it served last,
// however it ended.
func TestProxyWithoutControlPlane(t *testing.T) {
	t.Parallel()
	m := everything(t, 2)
	shop := m.gateways[0]
	m.change(t, shop, 30)
	restarted, other := m.proxies[0], m.proxies[1]
	restarted.await(t, "the table is on disk", func() bool { return restarted.onDisk(t) })
	served := restarted.version(t)
	m.control.kill(t)
	for _, end := range []func(*process, *testing.T){(*process).end, (*process).kill} {
		restarted.load.stop(t)
		end(restarted.process, t)
		restarted.up(t)
		restarted.ready(t)
		if v := restarted.version(t); v != served {
			t.Errorf("the proxy serves %v after its start, want %v", v, served)
		}
		if s, err := restarted.status(t.Context()); err != nil || !s.serves(shop, 30) {
			t.Errorf("the proxy does not serve the last change: %v %s", err, s.text)
		}
		restarted.beginLoad(t)
	}
	other.load.among(t, 1)
	m.up(t)
	restarted.connected(t)
	m.change(t, shop, 31)
	m.stop(t, 1)
}

// Two writers who read the same version do not undo each other's work.
func TestTwoWriters(t *testing.T) {
	t.Parallel()
	m := newMesh(t, 0)
	m.up(t)
	shop := m.gateways[0]
	m.put(t, shop, 50)
	_, header, _, err := askAll(t.Context(), http.MethodGet, m.url("/api/v1/gateways/shop"), "", "Accept", "application/json")
	if err != nil {
		t.Fatal(err)
	}
	tag := header.Get("ETag")
	if tag == "" {
		t.Fatalf("GET: no ETag: %v", header)
	}
	if code, _, body, err := m.tryPut(t, shop, shop.text(60), "If-Match", tag); err != nil || code > 202 {
		t.Fatalf("the first writer: status %d, %v: %s", code, err, body)
	}
	code, header, body, err := m.tryPut(t, shop, shop.text(70), "If-Match", tag)
	if err != nil || code != http.StatusPreconditionFailed || header.Get("ETag") == tag || header.Get("ETag") == "" || !strings.Contains(body, "60%") {
		t.Errorf("the second writer: status %d, ETag %s, %v: %s, want 412 with the present version", code, header.Get("ETag"), err, body)
	}
	if code, body := m.stored(t, "shop"); code != http.StatusOK || !strings.Contains(body, "60%") {
		t.Errorf("GET: status %d: %s, want what the first one wrote", code, body)
	}
	if code, _, body, err := m.tryPut(t, shop, shop.text(70), "If-Match", header.Get("ETag")); err != nil || code > 202 {
		t.Errorf("the second writer, who has read again: status %d, %v: %s", code, err, body)
	}
	m.control.end(t)
}
