// SPDX-License-Identifier: Apache-2.0

package planner_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// secures returns the text of a gateway that shows a Secret.
func secures(name string, port int, secret string) string {
	return gateway(name, port) + fmt.Sprintf("sluice: {tls: {certificates: \"secret:%s\"}}\n", secret)
}

// secret returns the update of an object that is a Secret.
func secret(name, key string) discovery.Update {
	return discovery.Update{Key: "secrets/shop/" + name, Secrets: []*routing.Secret{{Namespace: "shop", Name: name, Key: []byte(key)}}}
}

func TestSecretsThatGatewaysNameAreInThePlan(t *testing.T) {
	p := planner.New(planner.Options{})
	plan := func() planner.Plan {
		t.Helper()
		next, err := p.Plan(context.Background(), "")
		if err != nil {
			t.Fatal(err)
		}
		return next
	}
	show := func(plan planner.Plan) string {
		words := make([]string, 0, len(plan.Secrets))
		for _, s := range plan.Secrets {
			words = append(words, s.Name+"="+string(s.Key))
		}
		return strings.Join(words, " ")
	}
	var before planner.Plan
	for _, step := range []struct {
		name    string
		updates []discovery.Update
		want    string
		table   bool // is another one
	}{
		{"nobody names them", []discovery.Update{says("a", gateway("a", 9001)), secret("b", "1"), secret("a", "1"), secret("c", "1")}, "", true},
		{"two are named", []discovery.Update{says("a", secures("a", 9001, "shop/a")), says("b", secures("b", 9002, "shop/b"))}, "a=1 b=1", true},
		{"one is renewed", []discovery.Update{secret("a", "2")}, "a=2 b=1", false},
		{"one that nobody names is renewed", []discovery.Update{secret("c", "2")}, "a=2 b=1", false},
		{"a refused form changes nothing", []discovery.Update{says("b", "name: b\nport: 9002/http\nsluice: {tls: {certificates: nonsense}}\n")}, "a=2 b=1", false},
		{"one is gone", []discovery.Update{gone("secrets/shop/b")}, "a=2", false},
		{"its gateway is gone", []discovery.Update{gone("a")}, "", true},
	} {
		p.Put(step.updates)
		next := plan()
		if got := show(next); got != step.want {
			t.Errorf("%s: Secrets %q, want %q", step.name, got, step.want)
		}
		if changed := next.Table != before.Table; changed != step.table {
			t.Errorf("%s: the table is another one: %v, want %v", step.name, changed, step.table)
		}
		before = next
	}
}

func TestRunPublishesSecretsThatAreRenewed(t *testing.T) {
	source := newScript()
	plans := make(chan planner.Plan, 1)
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		ended <- planner.New(planner.Options{}).Run(ctx, source, func(p planner.Plan) { plans <- p })
	}()
	first := discovery.Batch{Updates: []discovery.Update{says("a", secures("a", 9001, "shop/a")), secret("a", "1")}, Listed: true}
	for i, b := range []discovery.Batch{first, {Updates: []discovery.Update{secret("a", "2")}}} {
		source.batches <- b
		if got := <-plans; len(got.Secrets) != 1 || string(got.Secrets[0].Key) != strconv.Itoa(i+1) {
			t.Errorf("plan %d has the Secrets %v", i, got.Secrets)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestSecretsOfOtherNamespacesAreNotThere(t *testing.T) {
	p := planner.New(planner.Options{})
	foreign := secret("a", "1")
	foreign.Namespace = "other/prod"
	p.Put([]discovery.Update{says("a", secures("a", 9001, "shop/a")), foreign})
	next, err := p.Plan(context.Background(), "")
	if err != nil || len(next.Secrets) > 0 {
		t.Errorf("the plan has the Secrets %v of another namespace, %v", next.Secrets, err)
	}
}
