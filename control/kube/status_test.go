// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-mesh/sluice/control/kube"
	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/routing"
)

// object returns an object as the API server has it.
func object(routes ...any) map[string]any {
	return map[string]any{
		"apiVersion": "sluice.dev/v1alpha1", "kind": "SluiceGateway",
		"metadata": map[string]any{"namespace": "shops", "name": "shop", "uid": "u-1", "generation": int64(3), "resourceVersion": "17"},
		"spec":     map[string]any{"port": int64(80), "routes": routes, "selector": "true"},
	}
}

func route(name, weight string) any {
	r := map[string]any{"name": name, "condition": "user-agent == Chrome"}
	if weight != "" {
		r["weight"] = weight
	}
	return r
}

// served returns a gateway of routes with weights in percent.
func served(weights ...any) *routing.Gateway {
	g := &routing.Gateway{Name: "shop", Port: routing.Port{Number: 9000, Type: routing.HTTP}}
	for i := 0; i < len(weights); i += 2 {
		g.Routes = append(g.Routes, &routing.Route{Path: weights[i].(string), Weight: routing.Weight(weights[i+1].(int)) * 100})
	}
	return g
}

var (
	good    = planner.Object{State: planner.Good, Generation: 3}
	serving = kube.Deployment{Proxies: 2, Served: 2}
	address = &kube.Address{Host: "10.96.0.7", Port: 9000, NodePort: 31000}
)

func TestStatusSaysWhatBecameOfAnObject(t *testing.T) {
	both := object(route("blue", "90%"), route("green", "10%"))
	redistributes := served("blue", 60, "green", 20, "[10.0.0.1:80]", 20)
	redistributes.Unavailable = routing.UnavailableRedistribute
	redistributes.Routes[0].Instances = []*routing.Instance{{}, {}}
	for _, tt := range []struct {
		name    string
		object  map[string]any
		fate    kube.Fate
		weights string
		want    string // conditions
		says    string // part of a message
	}{
		{
			"what is served everywhere is good", both,
			kube.Fate{Planned: good, Gateway: served("blue", 90, "green", 10), Deployed: serving, Address: address, Services: true},
			"90%/90%, 10%/10%", "Accepted=True/Accepted Deployed=True/Served Exposed=True/ServiceMade", "all proxies of its namespace",
		},
		{
			"weights that are in effect differ from those asked for", both,
			kube.Fate{Planned: good, Gateway: served("green", 100), Deployed: serving},
			"10%/100%, 90%/0%", "Accepted=True/Accepted Deployed=True/Served", "",
		},
		{
			"routes of a selector were not asked for", object(),
			kube.Fate{Planned: good, Gateway: served("(1.0.3)", 100, "(2.0.1)", 0), Deployed: serving},
			"-/100%, -/0%", "Accepted=True/Accepted Deployed=True/Served", "",
		},
		{
			"what has nothing ready gives its share away", object(),
			kube.Fate{Planned: good, Gateway: redistributes, Deployed: serving},
			"-/0%, -/50%, -/50%", "Accepted=True/Accepted Deployed=True/Served", "",
		},
		{
			"what is refused says why, and that it serves on", both,
			kube.Fate{
				Planned: planner.Object{State: planner.Faulty, Generation: 3, Faults: []string{"routes.blue.weight: no"}},
				Gateway: served("blue", 100), Deployed: serving,
			},
			"90%/100%, 10%/0%", "Accepted=False/Refused Deployed=True/Served", "routes.blue.weight: no\nits last good form serves on",
		},
		{
			"what never was good is not planned", both,
			kube.Fate{Planned: planner.Object{State: planner.Faulty, Faults: []string{"port: no"}}, Services: true},
			"", "Accepted=False/Refused Deployed=False/NotPlanned Exposed=False/NotPlanned", "port: no",
		},
		{
			"one whose name another has is told", both,
			kube.Fate{Planned: planner.Object{State: planner.Faulty, Faults: []string{"taken"}, Conflicts: []string{"taken"}}},
			"", "Accepted=False/Conflict Deployed=False/NotPlanned", "taken",
		},
		{
			"warnings are told", both,
			kube.Fate{Planned: planner.Object{State: planner.Good, Faults: []string{"warning: odd"}}, Gateway: served("blue", 100), Deployed: serving},
			"90%/100%, 10%/0%", "Accepted=True/AcceptedWithWarnings Deployed=True/Served", "warning: odd",
		},
		{
			"without proxies nothing is deployed", both,
			kube.Fate{Planned: good, Gateway: served("blue", 100)},
			"90%/100%, 10%/0%", "Accepted=True/Accepted Deployed=False/NoProxies", "",
		},
		{
			"nor while some are behind", both,
			kube.Fate{Planned: good, Gateway: served("blue", 100), Deployed: kube.Deployment{Proxies: 3, Served: 1}},
			"90%/100%, 10%/0%", "Accepted=True/Accepted Deployed=False/Pending", "1 of 3 proxies",
		},
		{
			"a proxy that refuses says why", both,
			kube.Fate{Planned: good, Gateway: served("blue", 100), Deployed: kube.Deployment{Proxies: 3, Served: 2, Refused: "edge: port 80 is taken"}},
			"90%/100%, 10%/0%", "Accepted=True/Accepted Deployed=False/RefusedByProxies", "a proxy does not take it: edge: port 80 is taken",
		},
		{
			"a Service that cannot be made is told", both,
			kube.Fate{Planned: good, Gateway: served("blue", 100), Deployed: serving, Services: true, Trouble: "the name is taken"},
			"90%/100%, 10%/0%", "Accepted=True/Accepted Deployed=True/Served Exposed=False/NoService", "the name is taken",
		},
		{
			"many weights are cut short", object(),
			kube.Fate{Planned: good, Gateway: served("a", 10, "b", 10, "c", 10, "d", 10, "e", 10, "f", 10, "g", 10, "h", 10, "i", 20), Deployed: serving},
			"-/10%, -/10%, -/10%, -/10%, -/10%, -/10%, -/10%, -/10%, ...", "Accepted=True/Accepted Deployed=True/Served", "",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			patch, weights, conditions, changed := kube.Status(tt.object, tt.fate)
			if weights != tt.weights {
				t.Errorf("weights = %q, want %q", weights, tt.weights)
			}
			var told, messages []string
			for _, c := range conditions {
				told = append(told, c.Type+"="+string(c.Status)+"/"+c.Reason)
				messages = append(messages, c.Message)
				if c.ObservedGeneration != 3 {
					t.Errorf("%s is of generation %d, want 3", c.Type, c.ObservedGeneration)
				}
			}
			if got := strings.Join(told, " "); got != tt.want {
				t.Errorf("conditions = %s, want %s", got, tt.want)
			}
			if got := strings.Join(messages, "; "); !strings.Contains(got, tt.says) {
				t.Errorf("messages are %q, want %q among them", got, tt.says)
			}
			if !changed || !strings.Contains(patch, `"uid":"u-1"`) || !strings.Contains(patch, `"observedGeneration":3`) {
				t.Errorf("the patch is %s, changed %t", patch, changed)
			}
		})
	}
}

// Whatever is written is read back as the same, so that nothing is written twice.
func TestStatusIsWrittenOnce(t *testing.T) {
	f := kube.Fate{Planned: good, Gateway: served("blue", 90, "green", 10), Deployed: serving, Address: address, Services: true}
	o := object(route("blue", "90%"), route("green", "10%"))
	first, _, before, _ := kube.Status(o, f)
	again, _, _, changed := kube.Status(kube.StatusOf(o, first), f)
	if changed {
		t.Errorf("the status %s is to become %s", first, again)
	}
	f.Deployed.Served = 1
	o = kube.StatusOf(o, first)
	setTimes(o, "2026-01-02T03:04:05Z")
	_, _, after, changed := kube.Status(o, f)
	if !changed {
		t.Error("a proxy that is behind makes no difference")
	}
	then := metav1.NewTime(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	for i, c := range after {
		if same := c.Status == before[i].Status; same != c.LastTransitionTime.Equal(&then) {
			t.Errorf("%s is %s since %v, was %s since %v", c.Type, c.Status, c.LastTransitionTime, before[i].Status, then)
		}
	}
	f.Address, f.Gateway = nil, nil
	patch, _, _, _ := kube.Status(kube.StatusOf(o, first), f)
	for _, gone := range []string{`"service":null`, `"port":null`, `"weights":null`, `"routes":null`} {
		if !strings.Contains(patch, gone) {
			t.Errorf("the patch %s does not take %s away", patch, gone)
		}
	}
}

func setTimes(o map[string]any, at string) {
	for _, c := range o["status"].(map[string]any)["conditions"].([]any) {
		maps.Copy(c.(map[string]any), map[string]any{"lastTransitionTime": at})
	}
}

// Any form of an object is looked at without harm: its schema may be another
// one's.
func TestStatusOfOddObjects(t *testing.T) {
	for name, spec := range map[string]any{
		"no spec": nil, "a text": "x", "routes are a map": map[string]any{"routes": map[string]any{}},
		"routes are texts":    map[string]any{"routes": []any{"a", 3}},
		"weights are numbers": map[string]any{"routes": []any{map[string]any{"name": "a", "weight": int64(3)}}},
	} {
		t.Run(name, func(t *testing.T) {
			o := object()
			o["spec"], o["status"] = spec, map[string]any{"conditions": "none", "routes": map[string]any{}}
			if _, weights, _, _ := kube.Status(o, kube.Fate{Planned: good, Gateway: served("a", 100)}); weights != "-/100%" {
				t.Errorf("weights = %q, want those in effect", weights)
			}
		})
	}
}

// An object may hold anything where its schema is another's: what is kept of it
// says the same as all of it, and a status is written once.
func FuzzStatus(f *testing.F) {
	for _, text := range []string{
		`{}`, `{"spec": {"routes": [{"name": "a", "weight": "10%"}, {"name": "a"}, {"weight": 3}, "x", null]}}`,
		`{"metadata": {"name": "shop", "namespace": "shops", "uid": "u", "generation": 3}, "status": {"conditions": [{"type": "Accepted", "status": "True", "reason": "x"}]}}`,
		`{"metadata": {"generation": 3}, "status": {"observedGeneration": 3, "routes": [{"name": "a", "instances": 1}], "service": {"host": "h", "port": "80/http"}, "weights": 3}}`,
		`{"metadata": {"generation": "x", "name": 3}, "spec": [], "status": ""}`, `{"spec": {"routes": {"a": {}}}, "status": {"conditions": {}}}`,
	} {
		f.Add([]byte(text), 1, 2)
	}
	f.Fuzz(func(t *testing.T, text []byte, servedBy, proxies int) {
		var o map[string]any
		if json.Unmarshal(text, &o) != nil || o == nil {
			return
		}
		if whole, cut := kube.ReadObjects(o); !reflect.DeepEqual(whole, cut) {
			t.Errorf("of %s is kept %+v, want %+v", text, cut, whole)
		}
		if m, ok := o["metadata"]; ok {
			if _, ok := m.(map[string]any); !ok {
				return // no API server has such an object
			}
		}
		fate := kube.Fate{Planned: good, Gateway: served("a", 90, "b", 10), Deployed: kube.Deployment{Proxies: proxies, Served: servedBy}, Address: address, Services: true}
		patch, _, conditions, _ := kube.Status(o, fate)
		for _, c := range conditions {
			if (c.Type == kube.Accepted || c.Type == kube.Deployed || c.Type == kube.Exposed) && (c.Reason == "" || len(c.Message) > 32768) {
				t.Errorf("the condition is %+v", c)
			}
		}
		if _, _, _, changed := kube.Status(kube.StatusOf(o, patch), fate); changed {
			t.Errorf("%s is written again after %s", text, patch)
		}
	})
}
