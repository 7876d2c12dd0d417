// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"slices"

	networkingv1 "k8s.io/api/networking/v1"
)

// ports returns the numbers of the ports to which a port of a Service leads,
// sorted; found is false if there is no such port. A port with a name may be
// another number in each pod, which its slices tell apart.
func (c *cluster) ports(of name, port networkingv1.ServiceBackendPort) (numbers []int, found bool) {
	s := c.services[of]
	if s == nil {
		return nil, false
	}
	at := slices.IndexFunc(s.ports, func(p servicePort) bool {
		if port.Name != "" {
			return p.name == port.Name
		}
		return p.number == int(port.Number)
	})
	if at < 0 {
		return nil, false
	}
	for part := range c.parts[of] {
		for _, p := range c.slices[part].ports {
			if p.name == s.ports[at].name {
				numbers = append(numbers, p.number)
			}
		}
	}
	slices.Sort(numbers)
	return slices.Compact(numbers), true
}
