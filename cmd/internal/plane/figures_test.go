// SPDX-License-Identifier: Apache-2.0

package plane_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/cmd/internal/plane"
	"github.com/sluice-mesh/sluice/control/agent/report"
	"github.com/sluice-mesh/sluice/control/controlpb"
	"github.com/sluice-mesh/sluice/control/stream/streamtest"
	"github.com/sluice-mesh/sluice/metrics"
)

// told joins as a node, and tells of exchanges of the gateway shop and of one
// that it does not serve.
func told(t *testing.T, p running, node, namespace string, exchanges int) *streamtest.Proxy {
	t.Helper()
	proxy := streamtest.Join(t, p.Stream(), streamtest.Options{Hello: streamtest.Hello(node, namespace)})
	proxy.Ack(proxy.Receive())
	registry := metrics.New(metrics.Options{})
	for _, name := range []string{"shop", "secret"} {
		route := registry.Gateway(name).Route("[127.0.0.1:8080]")
		for range exchanges {
			route.Begin(0)
			route.End(0, &metrics.Observation{Code: 200, Duration: time.Millisecond})
		}
		route.Begin(0) // one is under way
	}
	m := &controlpb.FromProxy{Message: &controlpb.FromProxy_Counters{Counters: report.New(registry).Next()}}
	if err := proxy.Stream.Send(m); err != nil {
		t.Fatal(err)
	}
	return proxy
}

// shopFigures returns what the API tells of the gateway shop.
func shopFigures(t *testing.T, p running, base string) (figures struct {
	Total    int `json:"requests_total"`
	InFlight int `json:"in_flight"`
	Proxies  int `json:"proxies"`
},
) {
	t.Helper()
	status, body, err := get(t.Context(), "http://"+p.API()+base+"/gateways/shop/figures?window=10s")
	if err != nil || status != http.StatusOK {
		t.Fatalf("figures are answered %d %s, %v", status, body, err)
	}
	if err := json.Unmarshal([]byte(body), &figures); err != nil {
		t.Fatal(err)
	}
	return figures
}

// What proxies count is added up by namespace, and told by the API and to
// Prometheus.
func TestFiguresAreThoseOfAllProxies(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "default/default", "shop")
	write(t, dir, acme, "shop")
	write(t, dir, acme, "secret")
	p := start(t, plane.Options{Dir: dir})
	<-p.First()
	until := func(what string, holds func() bool) {
		t.Helper()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for deadline := time.Now().Add(patience); !holds(); <-tick.C {
			if time.Now().After(deadline) {
				t.Fatalf("within %v it is not so that %s", patience, what)
			}
		}
	}
	one := told(t, p, "one", "default/default", 3)
	two := told(t, p, "two", "default/default", 4)
	other := told(t, p, "other", acme, 5)
	defer one.Close()
	defer other.Close()
	until("both are counted", func() bool {
		f := shopFigures(t, p, "/api/v1")
		return f.Total == 7 && f.InFlight == 2 && f.Proxies == 2
	})
	until("the other namespace has its own", func() bool {
		f := shopFigures(t, p, "/"+acme+"/api/v1")
		return f.Total == 5 && f.Proxies == 1
	})
	two.Close()
	until("what stands at one that left is gone, and what it counted is not", func() bool {
		f := shopFigures(t, p, "/api/v1")
		return f.Total == 7 && f.InFlight == 1 && f.Proxies == 1
	})
	_, body, err := get(t.Context(), "http://"+p.API()+"/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`sluice_mesh_gateway_requests_total{code="2xx",gateway="shop",namespace="default/default"} 7`,
		`sluice_mesh_gateway_requests_total{code="2xx",gateway="secret",namespace="acme/prod"} 5`,
		`sluice_control_series `,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("/metrics does not tell %s", want)
		}
	}
	if strings.Contains(body, `gateway="secret",namespace="default/default"`) {
		t.Error("a proxy is believed of a gateway that it does not serve")
	}
}
