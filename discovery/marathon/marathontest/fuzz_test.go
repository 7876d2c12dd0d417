// SPDX-License-Identifier: Apache-2.0

package marathontest_test

import (
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/discovery/marathon/marathontest"
)

// FuzzPut deploys what it is given. What is taken is served as JSON under the id
// that it has, and is taken again as it was served.
func FuzzPut(f *testing.F) {
	f.Add(article, "1.4")
	f.Add(article, "1.11")
	f.Add(`{"id": "/a/b", "networks": [{"mode": "container"}], "container": {"portMappings": [{"containerPort": 80, "hostPort": null}]}}`, "1.4")
	f.Add(`{"id": "a", "ipAddress": {"discovery": {"ports": [{"number": 80}]}}, "instances": 3, "healthChecks": null}`, "1.5")
	f.Add(`{"id": "/a", "requirePorts": true, "ports": [80, 81], "env": {"A": {"secret": "b"}}, "readinessChecks": [{"name": "x"}]}`, "1.8")
	f.Fuzz(func(t *testing.T, definition, version string) {
		c, err := marathontest.New(t.Context(), marathontest.Options{Version: version, Instances: 1, Addresses: []string{"127.0.0.1:0"}, MaxTasks: 20})
		if err != nil {
			t.Skip()
		}
		defer c.Elect(-1)
		defer c.Stop(0)
		if _, err := c.Put(definition, false); err != nil {
			return
		}
		first := served(t, c)
		text, err := json.Marshal(first)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Put(string(text), false); err != nil {
			t.Fatalf("what was served of %q is refused: %v: %s", definition, err, text)
		}
		if again := served(t, c); again["id"] != first["id"] || again["instances"] != first["instances"] {
			t.Errorf("served %v, and %v when it is deployed again", first, again)
		}
	})
}

// served returns the only app of a cluster.
func served(t *testing.T, c *marathontest.Cluster) map[string]any {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/v2/apps?embed=apps.tasks", nil)
	r.Header.Set("Accept", "*/*")
	w := httptest.NewRecorder()
	c.Handler(0).ServeHTTP(w, r)
	var list struct{ Apps []map[string]any }
	if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil || len(list.Apps) != 1 {
		t.Fatalf("%s: %v, want one app", w.Body, err)
	}
	return list.Apps[0]
}

// FuzzLabels asks for apps by a selector. Whatever it is, an app is chosen by it
// or by its negation, and not by both.
func FuzzLabels(f *testing.F) {
	for _, s := range []string{"a", "!a", "a==b", "a != b", "a in (b, c)", "a notin (b)", "a,b", "a in (,", ""} {
		f.Add(s)
	}
	c, err := marathontest.New(f.Context(), marathontest.Options{Instances: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { c.Stop(0) })
	c.Deploy(`{"id": "/a", "labels": {"a": "b", "c": "d"}}`)
	f.Fuzz(func(t *testing.T, selector string) {
		chosen, ok := choose(t, c, selector)
		if !ok || strings.Contains(selector, ",") || strings.Contains(selector, "!") || strings.TrimSpace(selector) == "" {
			return
		}
		opposite := "!" + selector
		switch {
		case strings.Contains(selector, "=="):
			opposite = strings.Replace(selector, "==", "!=", 1)
		case strings.Contains(selector, "("):
			if strings.Contains(selector, "notin") || strings.Count(selector, " in") != 1 {
				return
			}
			opposite = strings.Replace(selector, " in", " notin", 1)
		}
		if other, ok := choose(t, c, opposite); ok && other == chosen {
			t.Errorf("%q and %q both choose %d apps", selector, opposite, chosen)
		}
	})
}

// choose returns how many apps a selector chooses, and whether it is one.
func choose(t *testing.T, c *marathontest.Cluster, selector string) (int, bool) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/v2/apps?label="+url.QueryEscape(selector), nil)
	r.Header.Set("Accept", "*/*")
	w := httptest.NewRecorder()
	c.Handler(0).ServeHTTP(w, r)
	var list struct{ Apps []any }
	if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil {
		t.Fatal(err)
	}
	return len(list.Apps), w.Code == 200
}
