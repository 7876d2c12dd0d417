// SPDX-License-Identifier: Apache-2.0

package kubernetes_test

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/discovery/kubernetes"
	"github.com/sluice-mesh/sluice/routing"
)

// brief says in a line what updates are.
func brief(updates ...discovery.Update) string {
	var parts []string
	for _, u := range updates {
		words := []string{u.Key}
		if u.Gone {
			words = append(words, "gone")
		}
		for _, d := range u.Documents {
			words = append(words, d.Name+"@"+strings.TrimPrefix(d.At.String(), u.Key+":"))
		}
		for _, d := range u.Kept {
			words = append(words, "kept:"+d.Name)
		}
		if n := len(u.Faults); n > 0 {
			words = append(words, fmt.Sprintf("faults:%d", n))
		}
		parts = append(parts, strings.Join(words, " "))
	}
	return strings.Join(parts, "; ")
}

func TestConfigMapsHoldArtifacts(t *testing.T) {
	m := kubernetes.NewConfigMaps()
	marked := map[string]string{kubernetes.LabelGateways: "true"}
	for _, step := range []struct {
		name   string
		labels map[string]string
		data   map[string]string
		want   string
	}{
		{"without the label it says nothing", nil, map[string]string{"a": "name: shop"}, ""},
		{
			"each text is an object with positions", marked,
			map[string]string{"a": "\n- name: shop\n- name: cart\n", "b": "name: door"},
			"configmaps/ns/c/a shop@2:3 cart@3:3; configmaps/ns/c/b door@1:1",
		},
		{"the same again is nothing new", marked, map[string]string{"a": "\n- name: shop\n- name: cart\n", "b": "name: door"}, ""},
		{"an unreadable text keeps what it said", marked, map[string]string{"a": "- {", "b": "name: door"}, "configmaps/ns/c/a kept:shop kept:cart faults:1"},
		{"mended it counts alone", marked, map[string]string{"a": "name: shop", "b": "name: door"}, "configmaps/ns/c/a shop@1:1"},
		{"a text taken out is gone", marked, map[string]string{"a": "name: shop"}, "configmaps/ns/c/b gone"},
		{"without the label all are gone", nil, map[string]string{"a": "name: shop"}, "configmaps/ns/c/a gone"},
	} {
		c := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Labels: step.labels}, Data: step.data}
		if got := brief(m.Set("ns", "c", c)...); got != step.want {
			t.Errorf("%s: got %q, want %q", step.name, got, step.want)
		}
	}
}

// What one ConfigMap says is looked up by its name: others do not take part,
// and nothing is kept of what is no more.
func TestConfigMapsAreByThemselves(t *testing.T) {
	m := kubernetes.NewConfigMaps()
	marked := metav1.ObjectMeta{Labels: map[string]string{kubernetes.LabelGateways: "true"}}
	for _, called := range []string{"c", "c.d", "d"} {
		m.Set("ns", called, &corev1.ConfigMap{ObjectMeta: marked, Data: map[string]string{"a": "name: " + called, "b": "name: b-" + called}})
	}
	for _, step := range []struct {
		name string
		do   func() []discovery.Update
		want string
	}{
		{
			"an absence that is held back is that of one",
			func() []discovery.Update { return m.Hold("ns", "c", &discovery.Held{}) },
			"configmaps/ns/c/a kept:c; configmaps/ns/c/b kept:b-c",
		},
		{
			"so is its end", func() []discovery.Update { return m.Hold("ns", "c", nil) },
			"configmaps/ns/c/a c@1:1; configmaps/ns/c/b b-c@1:1",
		},
		{"one that nobody knows says nothing", func() []discovery.Update { return m.Hold("ns", "x", &discovery.Held{}) }, ""},
		{"one goes", func() []discovery.Update { return m.Set("ns", "c", nil) }, "configmaps/ns/c/a gone; configmaps/ns/c/b gone"},
		{"which is told once", func() []discovery.Update { return m.Set("ns", "c", nil) }, ""},
	} {
		if got := brief(step.do()...); got != step.want {
			t.Errorf("%s: got %q, want %q", step.name, got, step.want)
		}
	}
	m.Set("ns", "c.d", &corev1.ConfigMap{ObjectMeta: marked})
	m.Set("ns", "d", nil)
	if objects, texts := m.Kept(); objects != 0 || texts != 0 {
		t.Errorf("of no object that says anything, %d objects and %d texts are kept", objects, texts)
	}
}

// BenchmarkConfigMapsListedAnew tells what one of them takes in a list that
// brings nothing new: as much among many as among few.
func BenchmarkConfigMapsListedAnew(b *testing.B) {
	for _, n := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("of %d", n), func(b *testing.B) {
			m := kubernetes.NewConfigMaps()
			c := &corev1.ConfigMap{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{kubernetes.LabelGateways: "true"}},
				Data:       map[string]string{"gateway.yaml": "name: shop\n"},
			}
			for i := range n {
				m.Set("ns", fmt.Sprintf("c-%d", i), c)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				m.Set("ns", fmt.Sprintf("c-%d", i%n), c)
				i++
			}
		})
	}
}

func TestGatewaysAreObjects(t *testing.T) {
	g := kubernetes.NewGateways()
	for _, step := range []struct{ name, spec, want string }{
		{
			"an object is a gateway of its name",
			`{"port": "9070/http", "routes": [{"name": "[10.0.0.2:80]", "weight": "90%"}, {"name": "[10.0.0.1:80]", "weight": "10%"}]}`,
			"sluicegateways/ns/shop shop@1:1",
		},
		{"a name that no object could bear stands in it", `{"name": "sava/1.0"}`, "sluicegateways/ns/shop sava/1.0@1:1"},
		{"an empty spec is a gateway", `{}`, "sluicegateways/ns/shop shop@1:1"},
		{"a route without name is refused, and what was said stays", `{"routes": [{"weight": "1%"}]}`, "sluicegateways/ns/shop kept:shop faults:1"},
		{"what is wrong in a gateway is told", `{"port": "x/y", "sluice": {"balanze": 1}}`, "sluicegateways/ns/shop shop@1:1 faults:2"},
		{"an object that is no more is gone", "", "sluicegateways/ns/shop gone"},
	} {
		var spec []byte
		if step.spec != "" {
			spec = []byte(step.spec)
		}
		u, changed := g.Set("ns", "shop", spec)
		if got := brief(u); got != step.want || !changed {
			t.Errorf("%s: got %q, %t, want %q; %v", step.name, got, changed, step.want, u.Faults)
		}
	}
}

// Whoever writes statuses has to know which generation was looked at.
func TestGenerationsOfGatewaysAreTold(t *testing.T) {
	g := kubernetes.NewGateways()
	for _, step := range []struct {
		name, spec string
		generation int64
		want       string // nothing: there is nothing new
	}{
		{"the first one is told", `{"port": 9070}`, 1, "sluicegateways/ns/shop shop@1:1"},
		{"a status changes nothing", `{"port": 9070}`, 1, ""},
		{"one that says the same is told again", `{"port": 9070}`, 2, "sluicegateways/ns/shop shop@1:1"},
		{"so is one that says something else", `{"port": 9071}`, 3, "sluicegateways/ns/shop shop@1:1"},
		{"and one that cannot be read", `{"routes": 1}`, 4, "sluicegateways/ns/shop kept:shop faults:1"},
	} {
		u, changed := g.SetGeneration("ns", "shop", []byte(step.spec), step.generation)
		switch {
		case changed != (step.want != ""):
			t.Errorf("%s: told %t", step.name, changed)
		case changed && (brief(u) != step.want || u.Generation != step.generation):
			t.Errorf("%s: got %q of generation %d, want %q of %d", step.name, brief(u), u.Generation, step.want, step.generation)
		}
	}
}

func TestGatewayObjectsKeepTheOrderOfRoutes(t *testing.T) {
	u, _ := kubernetes.NewGateways().Set("ns", "shop", []byte(`{"routes": [
		{"name": "zebra", "selector": "label(v)(2)", "weight": "30%"},
		{"name": "ant", "selector": "label(v)(1)", "weight": "70%", "condition": {"condition": "has cookie beta"}, "condition_strength": "50%"}]}`))
	table, faults := routing.Resolve(u.Documents)
	if len(faults)+len(u.Faults) > 0 || len(table.Gateways) != 1 {
		t.Fatalf("faults %v, %v", u.Faults, faults)
	}
	var got []string
	for _, r := range table.Gateways[0].Routes {
		got = append(got, r.Path+" "+r.Weight.String())
	}
	if want := "zebra 30%, ant 70%"; strings.Join(got, ", ") != want {
		t.Errorf("routes %q, want %q", got, want)
	}
}
