// SPDX-License-Identifier: Apache-2.0

//go:build linux

package control

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// ends is a script after which the proxy ends the session. Who waits for the
// end of a script that does not end it fails.
func ends(script func(*session) error) func(*session) error {
	return func(s *session) error {
		if err := s.welcome(); err != nil {
			return err
		}
		if script(s) == nil {
			_ = s.hear(func(*controlpb.FromProxy) bool { return false }) // until the end
		}
		return nil
	}
}

// answered is a script to which the proxy answers what is wanted.
func answered(want func(*controlpb.FromProxy) bool, script func(*session) error) func(*session) error {
	return func(s *session) error {
		return errors.Join(s.welcome(), script(s), s.hear(want))
	}
}

// The answers of a proxy that goes on: it takes a table, holding back what the
// table lacks, or refuses all of it.
func taken(m *controlpb.FromProxy) bool { return m.GetAck() != nil }

func denied(m *controlpb.FromProxy) bool {
	return m.GetNack() != nil && m.GetNack().GetGateway() == nil
}

// sends is a script that sends updates.
func sends(updates func(*session) []*controlpb.Update) func(*session) error {
	return func(s *session) error {
		for _, u := range updates(s) {
			if err := s.update(u); err != nil {
				return err
			}
		}
		return nil
	}
}

// heldBack are the gateways that a proxy holds back after what it heard.
var heldBack = map[string][]string{
	"is-empty":                        {"cart", "shop"},
	"is-empty-in-another-epoch":       {"cart", "shop"},
	"has-one-of-two-in-another-epoch": {"shop"},
}

func one(u *controlpb.Update) []*controlpb.Update { return []*controlpb.Update{u} }

// foreign is the version of the tables of another epoch, 77.
var foreign = version{"4d", 1}

// large is more than one message may have.
const large = 20 << 20

// wrongScripts are what a control plane may say wrong, by the name of the proxy
// that hears it.
func wrongScripts(shop, cart *gateway) map[string]func(*session) error {
	known := func() []string { return []string{shop.name, cart.name} }
	// form returns a gateway as it came from a control plane, changed.
	form := func(g *gateway, hash byte, change func(*controlpb.Gateway)) *controlpb.Named {
		m := &controlpb.Gateway{
			Name: g.name, Port: &controlpb.Port{Number: uint32(g.port), Text: ""},
			Routes: []*controlpb.Route{{Path: "[" + g.addrs[0] + "]", WeightCp: 10000, StrengthCp: 10000}},
		}
		change(m)
		return &controlpb.Named{Name: g.name, Hash: slices.Repeat([]byte{hash}, 16), Gateway: m}
	}
	return map[string]func(*session) error{
		"says-nothing": func(*session) error { return nil }, // and never does
		"has-no-welcome": func(s *session) error {
			_ = s.update(&controlpb.Update{Version: s.next(1), Complete: true, Ordered: true}) // it fails if the session has ended
			_ = s.hear(func(*controlpb.FromProxy) bool { return false })
			return nil
		},
		"speaks-another-protocol": func(s *session) error {
			welcome := &controlpb.Welcome{Server: "fake", Epoch: 1, Protocol: 99}
			_ = s.Send(&controlpb.ToProxy{Message: &controlpb.ToProxy_Welcome{Welcome: welcome}}) // as above
			_ = s.hear(func(*controlpb.FromProxy) bool { return false })
			return nil
		},
		"sends-a-gateway-without-a-name": ends(sends(func(s *session) []*controlpb.Update {
			return one(&controlpb.Update{Version: s.next(1), Changed: []*controlpb.Named{{}}, Names: []string{""}, Ordered: true, Complete: true})
		})),
		"names-what-nobody-has": ends(sends(func(s *session) []*controlpb.Update {
			return one(&controlpb.Update{Version: s.next(1), Names: append(known(), "nobody"), Ordered: true, Complete: true})
		})),
		"mixes-parts": ends(sends(func(s *session) []*controlpb.Update {
			return []*controlpb.Update{
				{Version: s.next(1), Names: known(), Ordered: true, Complete: true, More: true},
				{Version: s.next(2), Ordered: true, Complete: true},
			}
		})),
		"sends-too-much": ends(sends(func(s *session) []*controlpb.Update {
			return one(&controlpb.Update{Version: s.next(1), Gone: []string{strings.Repeat("x", large)}, Names: known(), Ordered: true, Complete: true})
		})),
		"never-comes-to-an-end": ends(func(s *session) error {
			part := &controlpb.Update{Version: s.next(1), Gone: []string{strings.Repeat("x", large/20)}, More: true}
			for {
				if err := s.update(part); err != nil {
					return err
				}
			}
		}),
		"sends-an-older-table": answered(denied, sends(func(s *session) []*controlpb.Update {
			v := s.hello.GetServes()
			return one(&controlpb.Update{
				Version: &controlpb.Version{Epoch: v.GetEpoch(), Revision: 1},
				Names:   []string{cart.name}, Ordered: true, Complete: true,
			})
		})),
		"is-empty": answered(taken, sends(func(s *session) []*controlpb.Update {
			return one(&controlpb.Update{Version: s.next(1), Ordered: true, Complete: true})
		})),
		"is-empty-in-another-epoch": answered(taken, sends(func(*session) []*controlpb.Update {
			return one(&controlpb.Update{Version: &controlpb.Version{Epoch: 77, Revision: 1}, Ordered: true, Complete: true})
		})),
		"has-one-of-two-in-another-epoch": answered(taken, sends(func(*session) []*controlpb.Update {
			return one(&controlpb.Update{Version: &controlpb.Version{Epoch: 77, Revision: 1}, Names: []string{cart.name}, Ordered: true, Complete: true})
		})),
		"sends-what-does-not-compile": refused(shop, func() *controlpb.Named {
			return form(shop, 1, func(g *controlpb.Gateway) { g.Routes[0].Condition = "this is ( no condition" })
		}),
		"sends-a-port-that-is-taken": refused(shop, func() *controlpb.Named {
			return form(shop, 2, func(g *controlpb.Gateway) { g.Port.Number = uint32(cart.port) })
		}),
		"sends-an-address-that-is-none": refused(shop, func() *controlpb.Named {
			return form(shop, 3, func(g *controlpb.Gateway) {
				g.Routes[0].Instances = []*controlpb.Instance{{Address: "nowhere", Port: 99999}}
			})
		}),
		"sends-the-proxy-away": func(s *session) error {
			leave := &controlpb.Leave{Reason: "go elsewhere", Servers: []string{"127.0.0.1:1", "nowhere:2"}}
			return errors.Join(s.welcome(), s.Send(&controlpb.ToProxy{Message: &controlpb.ToProxy_Leave{Leave: leave}}))
		},
	}
}

// refused is a script that sends a form of a gateway which the proxy cannot
// take, beside the other as it is.
func refused(g *gateway, named func() *controlpb.Named) func(*session) error {
	return answered(func(m *controlpb.FromProxy) bool { return m.GetNack().GetGateway().GetGateway() == g.name }, sends(func(s *session) []*controlpb.Update {
		return one(&controlpb.Update{Version: s.next(1), Changed: []*controlpb.Named{named()}})
	}))
}

// Whatever a control plane says wrong, a proxy serves on what it served, and
// not one request fails.
func TestWrongAnswers(t *testing.T) { //nolint:tparallel // one proxy after the other: each is loaded
	long(t)
	t.Parallel()
	m := everything(t, 1)
	first, shop, cart := m.proxies[0], m.gateways[0], m.gateways[1]
	m.change(t, shop, 30)
	first.await(t, "the table is on disk", func() bool { return first.onDisk(t) })
	first.stop(t, 1)
	served := first.version(t)
	first.end(t)
	m.control.kill(t)

	scripts := wrongScripts(shop, cart)
	f := serveFake(t, m.stream, scripts)
	nonsense := babble(t)
	names := []string{"hears-nonsense"}
	for name := range scripts {
		names = append(names, name)
	}
	slices.Sort(names)
	ports, err := freeport.Take(t.Context(), len(names))
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		t.Run(name, func(t *testing.T) {
			p := m.proxy(name, 10+i, ports[i])
			if name == "hears-nonsense" {
				p.args = []string{"--control", nonsense}
			}
			copyTables(t, first.data, p.data)
			p.up(t)
			p.ready(t)
			p.begin(t)
			if name != "hears-nonsense" {
				if err := f.end(t, name); err != nil {
					t.Errorf("the session ended with %v", err)
				}
			}
			p.load.among(t, 30)
			s, err := p.status(t.Context())
			if err != nil || !s.serves(shop, 30) || !s.serves(cart, 100) {
				t.Errorf("the proxy serves something else: %v %s", err, s.text)
			}
			if held := heldBack[name]; !s.holds(held...) {
				t.Errorf("/status does not show that %v, and nothing else, is held back: %s", held, s.text)
			}
			if most := p.memory(t, "VmHWM"); most > 1<<30 {
				t.Errorf("the proxy took %d MB of memory", most>>20)
			}
			switch v := p.version(t); {
			case v == served:
			case strings.HasSuffix(name, "another-epoch") && v == foreign: // it is believed that there is one, held back what it lacks
			case !strings.HasSuffix(name, "another-epoch") && v.epoch == served.epoch && v.revision == served.revision+1: // with nothing of it
			default:
				t.Errorf("the proxy serves %v, want %v, or what the script sent without what it lacks", v, served)
			}
			p.load.stop(t)
			p.watch.cancel()
			p.end(t)
		})
	}
}

// copyTables gives a proxy the tables that another one keeps, without the
// journal of its starts.
func copyTables(t *testing.T, from, to string) {
	t.Helper()
	empty(t, to)
	for _, k := range (&proxy{data: from}).keeps(t) {
		if err := os.WriteFile(filepath.Join(to, filepath.Base(k.path)), k.text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
