// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

func watchOf(t *testing.T, text string) routing.Watch {
	t.Helper()
	return compileBounds(t, nil, text, 1).Gateways()[0].Routes[0].Watch.Value()
}

func TestWatch(t *testing.T) {
	statuses := func(codes ...int) (s routing.StatusSet) {
		for _, code := range codes {
			s[code/64] |= 1 << (code % 64)
		}
		return s
	}
	tcp := routing.Health{Kind: routing.HealthTCP, Every: 2 * time.Second, Timeout: 2 * time.Second, Fall: 3, Rise: 2, Panic: 5000}
	ejects := routing.Ejection{
		Failures: 5, Connects: 3, Over: 10 * time.Second, AtLeast: 20,
		Time: 30 * time.Second, MostTime: 5 * time.Minute, Most: 5000,
	}
	none := routing.Health{Kind: routing.HealthNone}
	for _, tt := range []struct {
		name, text string
		want       routing.Watch
	}{
		{
			"without settings nothing is checked, and failures eject",
			"{name: a, port: 1, routes: '[b:1]'}",
			routing.Watch{Health: none, Ejection: ejects},
		},
		{
			"what the gateway says holds for its routes",
			"{name: a, port: 1, sluice: {health: tcp, ejection: none, slow_start: 10s}, routes: '[b:1]'}",
			routing.Watch{Health: tcp, SlowStart: 10 * time.Second},
		},
		{
			"a route wins over its gateway, also by switching off",
			"{name: a, port: 1, sluice: {health: tcp, ejection: none, slow_start: 10s}, routes: {'[b:1]': {sluice: {health: none, ejection: {}, slow_start: none}}}}",
			routing.Watch{Health: none, Ejection: ejects},
		},
		{
			"a route takes nothing of what its gateway says of the same",
			"{name: a, port: 1, sluice: {health: {path: /up, every: 9s}, ejection: {failures: 9}}, routes: {'[b:1]': {sluice: {health: {fall: 1}, ejection: {errors: 30%, connects: none}}}}}",
			func() routing.Watch {
				w := routing.Watch{Health: tcp, Ejection: ejects}
				w.Health.Fall = 1
				w.Ejection.Errors, w.Ejection.Connects = 3000, 0
				return w
			}(),
		},
		{
			"requests are sent as they are written",
			`{name: a, port: 1, sluice: {ejection: none, health: {path: "/up?x", host: b.example, headers: {X-A: " 1 ", x-b: "2"}, status: [204, 500-501], body: ok, panic: none}}, routes: '[b:1]'}`,
			func() routing.Watch {
				h := tcp
				h.Kind, h.Panic, h.Method, h.Path, h.Host, h.Body = routing.HealthHTTP, 0, "GET", "/up?x", "b.example", "ok"
				h.Fields, h.Status = "X-A: 1\r\nx-b: 2\r\n", statuses(204, 500, 501)
				return routing.Watch{Health: h}
			}(),
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := watchOf(t, tt.text); got != tt.want {
				t.Errorf("%s:\nWatch = %+v,\nwant    %+v", tt.text, got, tt.want)
			}
		})
	}
}

func TestStatusSet(t *testing.T) {
	h := routing.DefaultHealth(routing.HealthHTTP)
	for code, want := range map[int]bool{-1: false, 0: false, 199: false, 200: true, 399: true, 400: false, 640: false, 1 << 40: false} {
		if got := h.Status.Has(code); got != want {
			t.Errorf("Has(%d) = %t, want %t", code, got, want)
		}
	}
	set := watchOf(t, "{name: a, port: 1, sluice: {health: {status: [503, '200-204', '599, 201']}}, routes: '[b:1]'}").Health.Status
	if got, want := set.String(), "200-204, 503, 599"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
	if set.Empty() || !new(routing.StatusSet).Empty() {
		t.Error("Empty() is wrong")
	}
}

// What instances ask for holds where nothing is written, and as a whole yields
// to what is.
func TestWatchOfInstancesThatAsk(t *testing.T) {
	tcp, none := routing.DefaultHealth(routing.HealthTCP), routing.Health{Kind: routing.HealthNone}
	byHTTP := routing.DefaultHealth(routing.HealthHTTP)
	ejects := routing.DefaultEjection()
	unproven, gentle, plain := instance("10.0.0.1"), instance("10.0.0.2"), instance("10.0.0.3")
	unproven.Unproven, gentle.SlowStart = true, 10*time.Second
	for _, tt := range []struct {
		name      string
		instances []*routing.Instance
		shape     func(*routing.Gateway, *routing.Route)
		want      routing.Watch
	}{
		{"none asks", []*routing.Instance{plain}, nil, routing.Watch{Health: none, Ejection: ejects}},
		{"there is none", nil, nil, routing.Watch{Health: none, Ejection: ejects}},
		{"one has nobody who checks it", []*routing.Instance{plain, unproven}, nil, routing.Watch{Health: tcp, Ejection: ejects}},
		{"one wants to start slowly", []*routing.Instance{plain, gentle}, nil, routing.Watch{Health: none, Ejection: ejects, SlowStart: 10 * time.Second}},
		{
			"the gateway says that nothing is checked",
			[]*routing.Instance{unproven, gentle},
			func(g *routing.Gateway, _ *routing.Route) { g.Health = routing.PartOf(none) },
			routing.Watch{Health: none, Ejection: ejects, SlowStart: 10 * time.Second},
		},
		{
			"the route says how it is checked",
			[]*routing.Instance{unproven, gentle},
			func(_ *routing.Gateway, r *routing.Route) { r.Health = routing.PartOf(byHTTP) },
			routing.Watch{Health: byHTTP, Ejection: ejects, SlowStart: 10 * time.Second},
		},
		{
			"the gateway says how slowly",
			[]*routing.Instance{unproven, gentle},
			func(g *routing.Gateway, _ *routing.Route) { g.SlowStart = time.Minute },
			routing.Watch{Health: tcp, Ejection: ejects, SlowStart: time.Minute},
		},
		{
			"the route wants no slow start",
			[]*routing.Instance{gentle},
			func(g *routing.Gateway, r *routing.Route) {
				g.SlowStart, r.SlowStart = time.Minute, routing.SlowStartNone
			},
			routing.Watch{Health: none, Ejection: ejects},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := route("[web.example:80]", full)
			r.Instances = tt.instances
			g := gateway("g", 9000, r)
			if tt.shape != nil {
				tt.shape(g, r)
			}
			s, faults := compile(table(1, g))
			if len(faults) > 0 {
				t.Fatal(faults)
			}
			if got := s.Gateways()[0].Routes[0].Watch.Value(); got != tt.want {
				t.Errorf("Watch = %+v,\nwant    %+v", got, tt.want)
			}
		})
	}
}
