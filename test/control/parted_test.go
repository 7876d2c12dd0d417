// SPDX-License-Identifier: Apache-2.0

//go:build linux

package control

import (
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// A network that loses everything, or one direction of it, without a word is
// noticed by proxies and by the control plane; what proxies missed meanwhile
// comes to them when it heals.
func TestNetworkParted(t *testing.T) {
	long(t)
	t.Parallel()
	n := newNetwork(t)
	m := newMesh(t, 2)
	_, port, err := net.SplitHostPort(m.stream)
	if err != nil {
		t.Fatal(err)
	}
	m.stream = net.JoinHostPort(n.there, port)
	m.network = n
	m.files = filepath.Join(m.dir, "gateways")
	empty(t, m.files)
	run(t, "%s pki init --dir %s/pki --name %s,127.0.0.1", program, m.dir, n.there)
	n.ca = filepath.Join(m.dir, "pki", "ca.crt")
	run(t, "%s pki token --dir %s/pki --role viewer --namespace default/default --name watcher --expires 1h --out %s/token", program, m.dir, m.dir)
	n.token = strings.TrimSpace(run(t, "cat %s/token", m.dir))
	m.args = []string{"--credentials", "pki/control", "-f", "gateways"}
	for _, p := range m.proxies {
		run(t, "%s pki issue --dir %s/pki --role proxy --node %s --namespace default/default --out %s/pki/%s", program, m.dir, p.name, m.dir, p.name)
		p.args = []string{"--control", m.stream, "--credentials", "pki/" + p.name}
	}
	n.deaf(t, false)
	n.mute(t, false)
	shop := m.gateways[0]
	for _, g := range m.gateways {
		m.put(t, g, 50)
	}
	m.up(t)
	m.begin(t)
	for i, part := range []struct {
		name       string
		deaf, mute bool
	}{
		{"nothing gets through", true, true},
		{"nothing gets to the control plane", true, false},
		{"nothing gets to the proxies", false, true},
	} {
		n.deaf(t, part.deaf)
		n.mute(t, part.mute)
		m.put(t, shop, 10+i)
		for _, p := range m.proxies {
			p.stale(t)
			if s, err := p.status(t.Context()); err != nil || part.mute && s.serves(shop, 10+i) {
				t.Errorf("%s: %s serves the change: %v %s", part.name, p.name, err, s.text)
			}
			p.load.among(t, 100)
		}
		var text string
		await(t, part.name+": the control plane has noticed, too", func() bool {
			var err error
			text, err = n.ask(t, m.url("/api/v1/proxies"))
			return err == nil && strings.Contains(text, "proxy-1") && !strings.Contains(strings.ReplaceAll(text, " ", ""), `"connected":true`)
		}, func() string { return text + m.control.log.String() })
		n.deaf(t, false)
		n.mute(t, false)
		m.serve(t, shop, 10+i)
	}
	m.stop(t, 1)
}
