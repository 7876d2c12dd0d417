// SPDX-License-Identifier: Apache-2.0

//go:build linux

package control

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/test/freeport"
)

// mesh is a control plane, proxies and gateways, all on one machine: each
// proxy has an address of its own, so that all have the same ports.
type mesh struct {
	dir      string
	api      string // host:port
	stream   string
	data     string // directory of the store
	args     []string
	control  *process
	proxies  []*proxy
	gateways []*gateway
	network  *network // that of the control plane; nil if it is ours
	files    string   // directory of gateways; empty if they go through the API
}

// gateway is one that clients ask.
type gateway struct {
	name  string
	port  int
	names []string // of the origins behind it, whose routes share alike
	addrs []string
}

func (g *gateway) at(p *proxy) string { return net.JoinHostPort(p.address, strconv.Itoa(g.port)) }

// text returns the gateway's artifact, the first of two routes with a share in
// percent.
func (g *gateway) text(share int) string {
	if len(g.addrs) == 1 {
		share = 100
	}
	var b strings.Builder
	fmt.Fprintf(&b, "name: %s\nport: %d/http\nroutes:\n", g.name, g.port)
	for i, addr := range g.addrs {
		weight := 100 - share
		if i == 0 {
			weight = share
		}
		fmt.Fprintf(&b, "  \"[%s]\": {weight: %d%%}\n", addr, weight)
	}
	return b.String()
}

// newMesh makes all of a mesh but its processes: gateways shop, which is
// served by the origins a and b, and cart, served by c.
func newMesh(t *testing.T, proxies int) *mesh {
	t.Helper()
	ports, err := freeport.Take(t.Context(), 5+proxies)
	if err != nil {
		t.Fatal(err)
	}
	local := func(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
	m := &mesh{dir: t.TempDir(), api: local(ports[0]), stream: local(ports[1])}
	m.data = filepath.Join(m.dir, "store")
	m.gateways = []*gateway{
		{name: "shop", port: ports[2], names: []string{"a", "b"}},
		{name: "cart", port: ports[3], names: []string{"c"}},
	}
	for _, g := range m.gateways {
		for _, name := range g.names {
			g.addrs = append(g.addrs, origin(t, name))
		}
	}
	for i := range proxies {
		m.proxy("proxy-"+strconv.Itoa(i+1), i, ports[5+i])
	}
	return m
}

// proxy adds a proxy.
func (m *mesh) proxy(name string, i, admin int) *proxy {
	p := &proxy{
		process: &process{name: name}, m: m,
		address: fmt.Sprintf("127.0.7.%d", i+1), admin: net.JoinHostPort("127.0.0.1", strconv.Itoa(admin)),
		data: dataDir(m, name), args: []string{"--control", m.stream},
	}
	m.proxies = append(m.proxies, p)
	return p
}

// up starts the control plane and waits until it is ready.
func (m *mesh) up(t *testing.T) {
	t.Helper()
	args := []string{"control", "--data-dir", m.data, "--api", m.api, "--stream", m.stream}
	var inside []string
	if m.network != nil {
		inside = m.network.inside()
	}
	m.control = start(t, "control", m.dir, inside, append(args, m.args...)...)
	m.ready(t)
}

func (m *mesh) ready(t *testing.T) {
	t.Helper()
	await(t, "the control plane is ready", func() bool {
		if m.control.ended() {
			t.Fatalf("the control plane ended: %v\n%s", m.control.err, m.control.log)
		}
		if m.network != nil {
			_, err := m.network.ask(t, m.url("/readyz"))
			return err == nil
		}
		code, _, err := ask(t.Context(), http.MethodGet, m.url("/readyz"))
		return err == nil && code == http.StatusOK
	}, m.control.log.String)
}

func (m *mesh) url(path string) string {
	if m.network != nil {
		return "https://" + m.api + path
	}
	return "http://" + m.api + path
}

// everything starts a mesh of so many proxies and all that clients do to it.
func everything(t *testing.T, proxies int) *mesh {
	t.Helper()
	m := newMesh(t, proxies)
	m.up(t)
	m.begin(t)
	return m
}

// begin has all proxies serve all gateways and clients ask them.
func (m *mesh) begin(t *testing.T) {
	t.Helper()
	for _, g := range m.gateways {
		m.put(t, g, 50)
	}
	for _, p := range m.proxies {
		p.up(t)
	}
	for _, p := range m.proxies {
		p.ready(t)
		p.connected(t)
	}
	for _, g := range m.gateways {
		m.serve(t, g, 50)
	}
	for _, p := range m.proxies {
		p.begin(t)
	}
}

// stop ends all clients, whose requests must all have been answered, and all
// processes that still are.
func (m *mesh) stop(t *testing.T, epochs int) {
	t.Helper()
	for _, p := range m.proxies {
		p.stop(t, epochs)
	}
	for _, p := range m.proxies {
		if !p.ended() {
			p.end(t)
		}
	}
	if !m.control.ended() {
		m.control.end(t)
	}
}

// put writes a gateway without waiting for proxies.
func (m *mesh) put(t *testing.T, g *gateway, share int) {
	t.Helper()
	if m.files != "" {
		draft := filepath.Join(m.dir, g.name)
		err := os.WriteFile(draft, []byte(g.text(share)), 0o600)
		if err := errors.Join(err, os.Rename(draft, filepath.Join(m.files, g.name+".yaml"))); err != nil {
			t.Fatal(err)
		}
		return
	}
	code, _, body, err := m.tryPut(t, g, g.text(share))
	if err != nil || code < 200 || code > 202 {
		t.Fatalf("PUT of %s: status %d, %v: %s\n%s", g.name, code, err, body, last(m.control.log.String(), 3000))
	}
}

func (m *mesh) tryPut(t *testing.T, g *gateway, text string, fields ...string) (int, http.Header, string, error) {
	t.Helper()
	fields = append([]string{"Content-Type", "application/x-yaml", "Accept", "application/json"}, fields...)
	return askAll(t.Context(), http.MethodPut, m.url("/api/v1/gateways/"+g.name), text, fields...)
}

// change gives the first route of a gateway a share, and waits until all
// proxies serve it.
func (m *mesh) change(t *testing.T, g *gateway, share int) {
	t.Helper()
	if m.files != "" {
		m.put(t, g, share)
		m.serve(t, g, share)
		return
	}
	fields := []string{"Content-Type", "application/x-yaml", "Accept", "application/json"}
	code, header, body, err := askAll(t.Context(), http.MethodPut, m.url("/api/v1/gateways/"+g.name+"?wait=60s"), g.text(share), fields...)
	if err != nil || code < 200 || code > 202 {
		t.Fatalf("PUT of %s: status %d, %v: %s\n%s", g.name, code, err, body, last(m.control.log.String(), 3000))
	}
	if header.Get("Sluice-Converged") != "true" {
		_, laggards, err := ask(t.Context(), http.MethodGet, m.url("/api/v1/changes/"+header.Get("Sluice-Change")))
		t.Fatalf("PUT of %s: Sluice-Converged is %q: %s %v", g.name, header.Get("Sluice-Converged"), laggards, err)
	}
}

// stored returns the artifact of a gateway, as the API shows it.
func (m *mesh) stored(t *testing.T, name string) (code int, body string) {
	t.Helper()
	code, body, err := ask(t.Context(), http.MethodGet, m.url("/api/v1/gateways/"+name), "Accept", "application/json")
	if err != nil {
		t.Fatal(err)
	}
	return code, body
}

// serve waits until all proxies serve a gateway, its first route with a share.
func (m *mesh) serve(t *testing.T, g *gateway, share int) {
	t.Helper()
	if len(g.addrs) == 1 {
		share = 100
	}
	for _, p := range m.proxies {
		p.shows(t, fmt.Sprintf("%s, %d%% by %s", g.name, share, g.names[0]), func(s status) bool { return s.serves(g, share) })
	}
}

// empty takes a directory and all that is in it away.
func empty(t *testing.T, dir string) {
	t.Helper()
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil {
		t.Fatal(err)
	}
}
