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
