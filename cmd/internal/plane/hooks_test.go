// SPDX-License-Identifier: Apache-2.0

package plane_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/cmd/internal/plane"
	"github.com/sluice-mesh/sluice/control/stream"
	"github.com/sluice-mesh/sluice/routing"
)

// A change that takes long is told with whom it waited for.
func TestASlowChangeNamesWhoWasWaitedForLast(t *testing.T) {
	p, told := plane.Telling(t)
	converged := []stream.Convergence{{Change: 7}, {}}
	p.Settled(stream.Settled{Namespace: acme, Took: 9 * time.Second, Last: "edge-1", Changes: converged})
	p.Settled(stream.Settled{Namespace: acme, Took: 11 * time.Second, Last: "edge-2", Changes: converged})
	list := told()
	if len(list) != 1 || list[0].Data != `{"change":7,"took_seconds":11,"last_proxy":"edge-2"}` || !slices.Contains(list[0].Tags, "change:7") {
		t.Errorf("told of %+v, want change 7, 11 s and edge-2", list)
	}
}

// Hooks may overtake each other: what an older table brought was told with the
// newer one, and what a newer one brings is told by itself.
func TestATableThatSettlesLateTellsNothing(t *testing.T) {
	p, told := plane.Telling(t)
	a, b := &routing.Gateway{Name: "a"}, &routing.Gateway{Name: "b"}
	settle := func(epoch, revision uint64, gateways ...*routing.Gateway) {
		v := routing.Version{Epoch: epoch, Revision: revision}
		p.Settled(stream.Settled{Namespace: acme, Version: v, Table: &routing.Table{Version: v, Gateways: gateways}})
	}
	settle(1, 3, a, b)
	settle(1, 2, a)
	settle(2, 1, b) // of another epoch, which numbers anew
	var got []string
	for _, e := range told() {
		got = append(got, strings.Join(e.Tags, ","))
	}
	want := []string{"gateways,gateways:a,deployed", "gateways,gateways:b,deployed", "gateways,gateways:a,undeployed"}
	if !slices.Equal(got, want) {
		t.Errorf("told of %q, want %q", got, want)
	}
}

// A proxy of several namespaces refuses a gateway of one: the others hear
// nothing of it, and of a whole table not why.
func TestRefusalsStayInTheirNamespace(t *testing.T) {
	p, told := plane.Telling(t)
	proxy := stream.Proxy{Node: "edge", Namespaces: []string{acme, "acme/test"}}
	p.Refused(proxy, stream.Refusal{Namespace: "acme/test", Gateway: "secret", Reasons: []stream.Reason{{Problem: "secret-reason"}}})
	p.Refused(proxy, stream.Refusal{Reasons: []stream.Reason{{Problem: "secret-reason"}}})
	of := make(map[string]string)
	for _, e := range told() {
		of[e.Namespace] += strings.Join(e.Tags, ",") + " " + e.Data + "; "
	}
	if strings.Contains(of[acme], "secret") || !strings.Contains(of[acme], "the whole table") {
		t.Errorf("%s is told of %s, want the table alone", acme, of[acme])
	}
	if !strings.Contains(of["acme/test"], "gateways:secret") || !strings.Contains(of["acme/test"], "secret-reason") {
		t.Errorf("acme/test is told of %s, want its gateway with the reason", of["acme/test"])
	}
}

func TestWhatDiffersBetweenTablesIsTold(t *testing.T) {
	table := func(text string) *routing.Table {
		docs, faults := routing.Read("t", []byte(text))
		if len(faults) > 0 {
			t.Fatal(faults[0])
		}
		resolved, _ := routing.Resolve(docs)
		return resolved
	}
	first := table(gateway("a") + "---\n" + gateway("b"))
	if got := plane.Differences(acme, first, first); len(got) != 0 {
		t.Errorf("of an equal table %d events are told, want none", len(got))
	}
	next := &routing.Table{Gateways: []*routing.Gateway{first.Gateways[0], table(gateway("c")).Gateways[0]}}
	var tags []string
	for _, e := range plane.Differences(acme, first, next) {
		if e.Namespace != acme {
			t.Errorf("an event is of %q, want %s", e.Namespace, acme)
		}
		tags = append(tags, e.Tags...)
	}
	for _, want := range []string{"deployed", "undeployed", "gateways:c", "gateways:b"} {
		if !slices.Contains(tags, want) {
			t.Errorf("the tags are %q, want %s among them", tags, want)
		}
	}
	if slices.Contains(tags, "gateways:a") {
		t.Errorf("the tags are %q, want nothing of a gateway that stays", tags)
	}
}
