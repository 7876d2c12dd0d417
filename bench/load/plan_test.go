// SPDX-License-Identifier: Apache-2.0

package load_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/bench/load"
)

func TestPlanIsRefused(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, want string
		change     func(*load.Plan)
	}{
		{"without a port", "host:port", func(p *load.Plan) { p.Address = "127.0.0.1" }},
		{"with a port that is none", "port", func(p *load.Plan) { p.Address = "127.0.0.1:http/1" }},
		{"with an unknown protocol", "known: http/1.1", func(p *load.Plan) { p.Protocol = "spdy" }},
		{"without a mix", "mix is empty", func(p *load.Plan) { p.Mix = nil }},
		{"with a weight of zero", `(\"a\") has weight 0`, func(p *load.Plan) { p.Mix[0].Weight = 0 }},
		{"with nothing to send", "nothing to send", func(p *load.Plan) { p.Mix[0].Wire = nil }},
		{"with weights that never meet", "cycle", func(p *load.Plan) { p.Mix = append(p.Mix, load.Request{Weight: 1 << 20, Wire: get("/")}) }},
		{"with negative connections", "negative", func(p *load.Plan) { p.Connections = -1 }},
		{"with negative requests", "negative", func(p *load.Plan) { p.Requests = -1 }},
		{"with a negative duration", "negative", func(p *load.Plan) { p.Duration = -time.Second }},
		{"with a negative timeout", "negative", func(p *load.Plan) { p.Timeout = -1 }},
		{"with a negative rate", "rate", func(p *load.Plan) { p.Rate = -1 }},
		{"with a rate that is no number", "rate", func(p *load.Plan) { p.Rate = math.NaN() }},
		{"with an endless rate", "rate", func(p *load.Plan) { p.Rate = math.Inf(1) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := load.Plan{Address: "127.0.0.1:1", Mix: []load.Request{{Name: "a", Weight: 1, Wire: get("/")}}}
			tt.change(&p)
			_, err := load.Run(t.Context(), p, nil)
			if err == nil || !strings.Contains(err.Error(), strings.ReplaceAll(tt.want, `\"`, `"`)) {
				t.Errorf("Run error = %v, want one about %q", err, tt.want)
			}
			if _, err := load.Hold(t.Context(), p, 1); err == nil {
				t.Errorf("Hold accepts it")
			}
		})
	}
}
