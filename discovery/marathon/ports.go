// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
)

const maxPort = 65535

// ports returns the ports that an app of a mode declares, and whether these are
// all that its tasks have.
func (r *rawApp) ports(m mode) (list []port, declared bool) {
	switch m {
	case modeContainer:
		if r.IPAddress != nil && len(r.IPAddress.Discovery.Ports) > 0 {
			return r.discovered(), true
		}
		return r.mapped(m), true
	case modeBridge:
		if len(r.Container.mappings()) > 0 {
			return r.mapped(m), true
		}
	case modeHost:
	}
	return r.defined()
}

// defined are the ports on the agent: those of portDefinitions, or of the list
// of bare numbers that was there before these.
func (r *rawApp) defined() (list []port, declared bool) {
	for _, d := range r.PortDefinitions {
		n := positive(d.Port)
		p := port{name: r.words.text(d.Name), number: n, service: n, otherwise: n, tcp: isTCP(d.Protocol), vips: vipsOf(d.Labels)}
		if r.RequirePorts {
			p.host = n
		}
		list = append(list, p)
	}
	if r.PortDefinitions != nil {
		return list, true
	}
	for _, f := range r.Ports {
		n := positive(f)
		list = append(list, port{number: n, service: n, otherwise: n, tcp: true})
	}
	return list, r.Ports != nil
}

// mapped are the ports in the container.
func (r *rawApp) mapped(m mode) (list []port) {
	for i, one := range r.Container.mappings() {
		p := port{
			name: r.words.text(one.Name), number: positive(one.ContainerPort), service: positive(one.ServicePort),
			tcp: isTCP(one.Protocol), vips: vipsOf(one.Labels),
		}
		switch {
		case one.HostPort != nil:
			p.host = positive(*one.HostPort)
		case m == modeContainer:
			p.host = -1
		}
		// Before 1.5 the service ports stand beside the mappings as well, and
		// are what some versions tell instead of the ports of tasks.
		definition := 0
		switch {
		case i < len(r.PortDefinitions):
			definition = positive(r.PortDefinitions[i].Port)
		case r.PortDefinitions == nil && i < len(r.Ports):
			definition = positive(r.Ports[i])
		}
		if m == modeBridge {
			p.service = cmp.Or(p.service, definition)
			p.otherwise = firstOf(p.host, definition, p.number)
		}
		list = append(list, p)
	}
	return list
}

// discovered are the ports of an address of its own, as 1.4 declares them.
func (r *rawApp) discovered() (list []port) {
	for _, d := range r.IPAddress.Discovery.Ports {
		list = append(list, port{
			name: r.words.text(d.Name), number: positive(d.Number), host: -1, tcp: isTCP(d.Protocol), vips: vipsOf(d.Labels),
		})
	}
	return list
}

// vipsOf returns the values of VIP_0, VIP_1 and so on, by number.
func vipsOf(labels map[string]string) (values []string) {
	numbers := make(map[int]string)
	for name, value := range labels {
		if text, ok := strings.CutPrefix(name, "VIP_"); ok {
			if n, ok := number(text, 0, 1<<30); ok {
				numbers[n] = value
			}
		}
	}
	for _, n := range slices.Sorted(maps.Keys(numbers)) {
		values = append(values, numbers[n])
	}
	return values
}

// servicePorts are the numbers at which load balancers offer the ports, 0 for
// those that they do not.
func servicePorts(ports []port) (list []int) {
	for _, p := range ports {
		list = append(list, p.service)
	}
	return list
}

// isTCP reports whether a protocol, such as udp,tcp, takes in TCP.
func isTCP(protocol string) bool {
	if protocol == "" {
		return true
	}
	for one := range strings.SplitSeq(protocol, ",") {
		if strings.EqualFold(strings.TrimSpace(one), "tcp") {
			return true
		}
	}
	return false
}

// reached is a port at which a task is reached.
type reached struct {
	number int // 0 if it is not known
	index  int
	port   *port // as declared; nil if it is not
}

// reach returns the ports at which a task is reached that its app declares as s
// does. own says that s is of the version of the task, so that the lists agree;
// otherwise the service ports tell what of another version is the same.
func (s *spec) reach(t *task, own bool) []reached {
	switch {
	case s.mode == modeContainer:
		return s.inside(t, own)
	case len(t.ports) == 0:
		all := make([]reached, len(s.ports))
		for i := range s.ports {
			all[i] = reached{number: s.ports[i].otherwise, index: i, port: &s.ports[i]}
		}
		return all
	}
	var all []reached
	same := s.same(t, own)
	for i, n := range t.ports {
		r := reached{number: n, index: i}
		if same != nil {
			r.index = same[i]
		}
		switch {
		case r.index < 0:
			continue
		case r.index < len(s.ports):
			r.port = &s.ports[r.index]
		case s.declared:
			continue
		}
		all = append(all, r)
	}
	slices.SortStableFunc(all, func(a, b reached) int { return a.index - b.index })
	return all
}

// inside returns the ports of a task that has an address of its own.
func (s *spec) inside(t *task, own bool) []reached {
	var known []int
	if s.same(t, own) != nil {
		known = t.services
	}
	var all []reached
	mapped := 0 // ports on the agent that were passed
	for i := range s.ports {
		p := &s.ports[i]
		n := p.number
		if p.host >= 0 {
			if n == 0 && mapped < len(t.ports) {
				n = t.ports[mapped] // it is that of the agent
			}
			mapped++
		}
		if known != nil && p.service > 0 && !slices.Contains(known, p.service) {
			continue
		}
		all = append(all, reached{number: firstOf(n, p.host), index: i, port: p})
	}
	return all
}

// same returns for each port of a task that was started with another version of
// the app the index of that which has its service port, -1 if none has; nil if
// there is nothing to tell by, or no need.
func (s *spec) same(t *task, own bool) []int {
	if own || t.services == nil || s.mode != modeContainer && len(t.services) != len(t.ports) {
		return nil
	}
	found := false
	all := make([]int, len(t.services))
	for i, service := range t.services {
		all[i] = slices.IndexFunc(s.ports, func(p port) bool { return service > 0 && p.service == service })
		found = found || all[i] >= 0
	}
	if !found {
		return nil
	}
	return all
}

// positive returns a port, 0 for what is none.
func positive(f float64) int {
	if n := whole(f); n > 0 && n <= maxPort {
		return n
	}
	return 0
}

// firstOf returns the first number above 0, or 0.
func firstOf(numbers ...int) int {
	for _, n := range numbers {
		if n > 0 {
			return n
		}
	}
	return 0
}

// number reads a whole number of plain digits.
func number(text string, least, most int) (int, bool) {
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil || int(n) < least || int(n) > most {
		return 0, false
	}
	return int(n), true
}
