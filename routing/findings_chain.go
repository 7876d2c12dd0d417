// SPDX-License-Identifier: Apache-2.0

package routing

import "fmt"

// codeChainNoEffect is what is found in routes that lead to another gateway.
const codeChainNoEffect = "ChainWithoutEffect"

// chains looks at the routes that lead to another gateway: they have no
// instances, so what concerns these is said by the routes of that gateway.
// Limits, rates, breakers and timeouts hold for each gateway on the way.
func (f *findings) chains() {
	for i, r := range f.gateway.Routes {
		if r.Target.Kind != TargetGateway {
			continue
		}
		asked := f.gateway.Asked.Routes[i]
		for _, key := range asked.ofInstances() {
			f.add(r, codeChainNoEffect, key,
				fmt.Sprintf("the route leads to gateway %s and has no instances of its own, so this has no effect", asked.Path),
				"write it on the routes of that gateway, or leave it out")
		}
	}
}

// ofInstances returns the keys of what is written on the route and concerns
// its instances alone.
func (r *Route) ofInstances() (keys []string) {
	for _, k := range []struct {
		key     string
		written bool
	}{
		{"balance", r.Balance != "" && r.Balance != "default"},
		{"sluice.health", r.Health.Written()},
		{"sluice.ejection", r.Ejection.Written()},
		{"sluice.slow_start", r.SlowStart != 0},
		{"sluice.limits.instance_requests", r.Load.Value().InstanceRequests != 0},
		{"sluice.retries", r.Retries.Value().Written},
	} {
		if k.written {
			keys = append(keys, k.key)
		}
	}
	return keys
}
