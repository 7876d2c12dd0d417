// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/sluice-mesh/sluice/conditions"
)

// check compiles the parts of a changed form that stand for themselves, notes
// every fault of them and reports whether there was none. Tables need not
// come from text, so it relies on nothing that reading text would have found.
func (c *candidate) check() bool {
	g := c.form
	if g.Portless && g.Port.Type == TCP {
		c.fault(Fault{Code: codeBoundPort, Path: "sluice.port", Problem: "connections of a tcp gateway come to its port alone", Allowed: "leave it out"})
	}
	if n := g.Port.Number; n < 0 || n > 65535 {
		c.fault(Fault{
			Code:    codePort,
			Path:    "port",
			Problem: fmt.Sprintf("%d is no port", n),
			Allowed: "1 to 65535, or 0 for one that is assigned",
		})
	}
	c.checkWeights()
	c.conditions = make([]*conditions.Condition, len(g.Routes))
	c.addresses = make([]*Target, len(g.Routes))
	c.edits = make([]*Edits, len(g.Routes))
	c.checkBalances()
	c.checkTLS()
	c.checkHTTP2()
	for i, r := range g.Routes {
		c.checkRoute(i, r)
		c.checkEdits(i, r)
	}
	return len(c.faults) == 0
}

// checkWeights sees that the weights are shares of one whole.
func (c *candidate) checkWeights() {
	if n := len(c.form.Routes); n > maxChoices {
		c.fault(Fault{
			Code:    "GatewayRouteCountError",
			Path:    "routes",
			Problem: fmt.Sprintf("%d routes", n),
			Allowed: fmt.Sprintf("at most %d", maxChoices),
		})
	}
	var sum int64
	for _, r := range c.form.Routes {
		if r.Weight < 0 || r.Weight > FullWeight {
			c.fault(Fault{
				Code:    codeWeight,
				At:      r.At,
				Path:    r.field("weight"),
				Problem: fmt.Sprintf("the weight is %s", r.Weight),
				Allowed: "0% to 100%",
			})
			return // the sum is wrong for that alone
		}
		sum += int64(r.Weight)
	}
	if sum != 0 && sum != int64(FullWeight) {
		c.fault(Fault{
			Code:    codeWeight,
			Path:    "routes",
			Problem: fmt.Sprintf("the weights sum to %s", Weight(min(sum, 1<<31-1))),
			Allowed: "they sum to 0% or to 100%",
		})
	}
}

// checkRoute compiles the condition and the address of a route.
func (c *candidate) checkRoute(i int, r *Route) {
	if r.Strength < 0 || r.Strength > FullWeight {
		c.fault(Fault{
			Code:    "GatewayRouteConditionStrengthError",
			At:      r.At,
			Path:    r.field("condition_strength"),
			Problem: fmt.Sprintf("the strength is %s", r.Strength),
			Allowed: "0% to 100%",
		})
	}
	if r.Condition != "" {
		condition, err := conditions.Compile(r.Condition)
		if err != nil {
			at := r.ConditionAt
			if at == (Position{}) {
				at = r.At
			}
			c.fault(Fault{
				Code:    codeConditionSyntax,
				At:      at,
				Path:    r.field("condition"),
				Problem: err.Error(),
			})
		}
		if err == nil && c.form.Port.Type == TCP {
			if problem := needsRequest(condition); problem != "" {
				c.fault(Fault{Code: codeConditionPort, At: r.ConditionAt, Path: r.field(pathOfCondition), Problem: problem, Allowed: conditionPortAllowed})
			}
		}
		c.conditions[i] = condition
	}
	if r.external() {
		address := strings.TrimSuffix(strings.TrimPrefix(r.Path, "["), "]")
		host, port, problem := parseAddress(address)
		if len(r.Path) != len(address)+2 {
			problem = "the bracket is not closed"
		}
		if problem != "" {
			c.fault(Fault{
				Code:    codeRoutePath,
				At:      r.At,
				Path:    r.field(""),
				Problem: problem,
				Allowed: `"[host:port]", such as "[10.0.0.1:8080]", "[shop.example:80]" or "[[::1]:80]", with a port from 1 to 65535`,
			})
		}
		to := &Target{Kind: TargetAddress, Address: address, Host: host, Port: port}
		if len(r.Instances) > 0 {
			to.Kind = TargetInstances // which bear the address as a name
		}
		c.addresses[i] = to
	}
}

// field returns the path of one of a route's fields within its gateway.
func (r *Route) field(name string) string {
	path := "routes." + r.Path
	if name != "" {
		path += "." + name
	}
	return path
}

// external reports whether a route leads to a literal address.
func (r *Route) external() bool { return strings.HasPrefix(r.Path, "[") }

// equal reports whether two gateways ask for the same, wherever they were
// written.
func (g *Gateway) equal(o *Gateway) bool {
	return g == o || g.Name == o.Name &&
		g.Port == o.Port &&
		g.Sticky == o.Sticky &&
		g.Selector == o.Selector &&
		g.Deployed == o.Deployed &&
		g.Split == o.Split &&
		g.Unavailable == o.Unavailable &&
		g.NoRoute == o.NoRoute &&
		g.Portless == o.Portless &&
		g.Unexplained == o.Unexplained &&
		g.Forwarded == o.Forwarded &&
		g.Balance == o.Balance &&
		g.Locality == o.Locality &&
		g.Limits == o.Limits &&
		g.Timeouts == o.Timeouts &&
		g.Load == o.Load &&
		g.Health == o.Health &&
		g.Ejection == o.Ejection &&
		g.SlowStart == o.SlowStart &&
		g.Affinity == o.Affinity &&
		g.BetweenRoutes == o.BetweenRoutes &&
		g.HTTP2 == o.HTTP2 &&
		g.TLS.equal(o.TLS) &&
		slices.Equal(g.ProxyFrom, o.ProxyFrom) &&
		slices.Equal(g.VirtualHosts, o.VirtualHosts) &&
		equalService(g.Service, o.Service) &&
		equalMetadata(g.Metadata, o.Metadata) &&
		slices.EqualFunc(g.Routes, o.Routes, (*Route).equal)
}

// equal reports whether two routes ask for the same, wherever they were
// written.
func (r *Route) equal(o *Route) bool {
	return r == o || r.Path == o.Path &&
		r.Weight == o.Weight &&
		r.Condition == o.Condition &&
		r.Strength == o.Strength &&
		r.Balance == o.Balance &&
		r.Selector == o.Selector &&
		r.Limits == o.Limits &&
		r.Timeouts == o.Timeouts &&
		r.Load == o.Load &&
		r.Retries == o.Retries &&
		r.Health == o.Health &&
		r.Ejection == o.Ejection &&
		r.SlowStart == o.SlowStart &&
		r.ProxyProtocol == o.ProxyProtocol &&
		r.Protocol == o.Protocol &&
		r.TLS.equal(o.TLS) &&
		slices.EqualFunc(r.Rewrites, o.Rewrites, Rewrite.equal) &&
		reflect.DeepEqual(r.Headers, o.Headers) &&
		reflect.DeepEqual(r.Redirect, o.Redirect) &&
		slices.EqualFunc(r.Instances, o.Instances, (*Instance).equal) &&
		equalMetadata(r.Metadata, o.Metadata)
}

func (r Rewrite) equal(o Rewrite) bool { return r.Path == o.Path && r.Ref == o.Ref }

func equalService(a, b *Service) bool {
	return a == b || a != nil && b != nil && *a == *b
}

func equalMetadata(a, b map[string]any) bool {
	return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b)
}
