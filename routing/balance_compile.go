// SPDX-License-Identifier: Apache-2.0

package routing

import "errors"

// checkBalances sees that every balance is known and fits the port.
func (c *candidate) checkBalances() {
	g := c.form
	c.checkBalance(g.Balance, g.At, "sluice.balance")
	for _, r := range g.Routes {
		c.checkBalance(r.Balance, r.At, r.field("balance"))
	}
}

func (c *candidate) checkBalance(text string, at Position, path string) {
	b, err := ParseBalance(text)
	if bad, is := errors.AsType[*BalanceError](err); is {
		c.fault(Fault{Code: codeBalance, At: at, Path: path, Problem: bad.Problem, Allowed: bad.Allowed})
	}
	if c.form.Port.Type == TCP && b.needsHTTP() {
		c.fault(Fault{
			Code: codeBalancePort, At: at, Path: path,
			Problem: "the balance " + quote(b.String()) + " looks at requests, and the port is tcp",
			Allowed: "on tcp ports roundrobin, static-rr, leastconn, first(N), source, random(N) or ewma is allowed",
		})
	}
}

// balance returns how a route of the gateway chooses among its instances. The
// texts were checked.
func (g *Gateway) balance(r *Route) Balance {
	own, _ := ParseBalance(r.Balance)
	shared, _ := ParseBalance(g.Balance)
	return own.Or(shared).For(g.Port.Type)
}
