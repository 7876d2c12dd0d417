// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
)

// The codes of faults in lists of instances.
const (
	codeInstance        = "InvalidInstance"
	codeInstanceAddress = "InvalidInstanceAddress"
	codeInstanceTwice   = "DuplicateInstance"
)

// instanceKeys are what may be said of an instance, in the order documented.
var instanceKeys = []string{
	"address", "port", "ports", "labels", "name", "kind", "image", "namespace", "zone", "node", "weight", "ready",
}

const (
	instancesAllowed    = "a list of instances is allowed, each a map such as {address: 10.0.0.1, port: 8080}"
	instancePortAllowed = "a number from 1 to 65535 is allowed"
)

// ReadInstances reads a list of instances, which is YAML 1.1 or JSON in UTF-8.
// source names the text in positions. An instance with several ports becomes
// one Instance each. Every fault is told, in the order of the text; if there
// is a Refused one, no instance is returned. An empty text and an empty list
// have neither instances nor faults.
func ReadInstances(source string, data []byte) ([]*Instance, []*Fault) {
	roots, fault := parseYAML(source, data)
	if fault != nil {
		return nil, []*Fault{fault}
	}
	r := &instanceReader{reader: &reader{}, at: make(map[netip.AddrPort]place)}
	for _, root := range roots {
		r.marks(root, "", make(map[*value]bool))
		switch root.kind {
		case nullValue:
		case listValue:
			for i, item := range root.items {
				r.instance(item, "["+strconv.Itoa(i)+"]")
			}
		default:
			r.wrongType(codeUnexpectedType, root, "", instancesAllowed)
		}
	}
	if r.refused {
		r.list = nil
	}
	return r.list, r.sorted()
}

// instanceReader collects instances, each address once.
type instanceReader struct {
	*reader

	list []*Instance
	at   map[netip.AddrPort]place
}

// instancePort is a port as an instance declares it.
type instancePort struct {
	number, target int
	place          place
}

func (r *instanceReader) instance(v *value, path string) {
	if v.kind != mapValue {
		r.wrongType(codeInstance, v, path, instancesAllowed)
		return
	}
	i := Instance{Weight: 100, Ready: true, At: v.place.position()}
	var ports []instancePort
	for _, e := range v.entries {
		here := under(path, e.key)
		switch {
		case !slices.Contains(instanceKeys, e.key):
			r.unknownInstanceKey(e, here)
		case e.value.kind == nullValue:
		case e.key == "port" || e.key == "ports":
			ports = append(ports, r.ports(e.value, here)...)
		default:
			r.set(&i, e, here)
		}
	}
	for _, key := range []string{"address", "port"} {
		if v.get(key) == nil && (key != "port" || v.get("ports") == nil) {
			r.refuse(codeMissing, v.place, under(path, key), "the "+key+" is missing", "an instance has an address and a port, or ports")
		}
	}
	if !i.Address.IsValid() {
		return
	}
	for k, p := range ports {
		if p.target == 0 {
			continue // it has its fault
		}
		one := i
		one.Port, one.Index = p.target, k
		if p.number != p.target {
			one.Declared = p.number
		}
		r.take(&one, p.place, path)
	}
}

func (r *instanceReader) unknownInstanceKey(e entry, path string) {
	allowed := choices(instanceKeys) + " are allowed"
	if best := suggest(e.key, instanceKeys); best != "" {
		allowed = "did you mean " + best + "?"
	}
	r.refuse(codeUnexpectedElement, e.place, path, "the key "+quote(e.key)+" is unknown", allowed)
}

// take takes an instance, unless its address was there before.
func (r *instanceReader) take(i *Instance, at place, path string) {
	if first, twice := r.at[i.AddrPort()]; twice {
		r.refuse(codeInstanceTwice, at, path, fmt.Sprintf("%v stands twice, before at %d:%d", i.AddrPort(), first.line, first.column),
			"each address and port may stand once")
		return
	}
	r.at[i.AddrPort()] = at
	r.list = append(r.list, i)
}

func (r *instanceReader) set(i *Instance, e entry, path string) {
	const text = "a text is allowed"
	switch e.key {
	case "address":
		i.Address = r.address(e.value, path)
	case "labels":
		i.Labels = r.labels(e.value, path)
	case "name":
		i.Name, _ = r.text(e.value, path, text)
	case "kind":
		i.Kind = r.choice(e.value, path, "container", "service", "app")
	case "image":
		i.Image, _ = r.text(e.value, path, text)
	case "namespace":
		i.Namespace, _ = r.text(e.value, path, text)
	case "zone":
		i.Zone, _ = r.text(e.value, path, text)
	case "node":
		i.Node, _ = r.text(e.value, path, text)
	case "weight":
		i.Weight = r.number(e.value, path, 10_000, "a number from 1 to 10000 is allowed; 100 is the default")
	case "ready":
		i.Ready = r.flag(e.value, path)
	}
}

func (r *instanceReader) address(v *value, path string) netip.Addr {
	text, ok := r.text(v, path, "an IP address is allowed")
	if !ok {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		r.refuse(codeInstanceAddress, v.place, path, quote(text)+" is no IP address", "names are not looked up here; 10.0.0.1 and 2001:db8::1 are allowed")
	}
	return addr
}

// labels reads a map of texts in the order written.
func (r *instanceReader) labels(v *value, path string) []Label {
	if v.kind != mapValue {
		r.wrongType(codeUnexpectedType, v, path, "a map of names and values is allowed")
		return nil
	}
	labels := make([]Label, 0, len(v.entries))
	for _, e := range v.entries {
		if e.value.kind == nullValue {
			labels = append(labels, Label{Name: e.key})
			continue
		}
		text, _ := r.text(e.value, under(path, e.key), "a label has a text as its value")
		if e.value.kind == decimalValue || e.value.kind == integerValue {
			text = e.value.raw // 1.10 is a version, not 1.1
		}
		labels = append(labels, Label{e.key, text})
	}
	return labels
}

// ports reads a port or a list of them.
func (r *instanceReader) ports(v *value, path string) []instancePort {
	if v.kind != listValue {
		return []instancePort{r.onePort(v, path)}
	}
	ports := make([]instancePort, 0, len(v.items))
	for k, item := range v.items {
		ports = append(ports, r.onePort(item, path+"["+strconv.Itoa(k)+"]"))
	}
	if len(ports) == 0 {
		r.refuse(codeInstance, v.place, path, "the list is empty", "name at least one port")
	}
	return ports
}

// onePort reads a number, or a map that says that the port which is declared
// is not where the instance listens.
func (r *instanceReader) onePort(v *value, path string) instancePort {
	p := instancePort{place: v.place}
	if v.kind != mapValue {
		p.number = r.number(v, path, 65535, instancePortAllowed+", or {port: 80, target: 8080}")
		p.target = p.number
		return p
	}
	for _, e := range v.entries {
		here := under(path, e.key)
		switch e.key {
		case "port":
			p.number = r.number(e.value, here, 65535, instancePortAllowed)
		case "target":
			p.target = r.number(e.value, here, 65535, instancePortAllowed)
		default:
			r.refuse(codeUnexpectedElement, e.place, here, "the key "+quote(e.key)+" is unknown", "port and target are allowed")
		}
	}
	if v.get("port") == nil {
		r.refuse(codeMissing, v.place, under(path, "port"), "the port is missing", "{port: 80, target: 8080} is allowed")
	}
	if v.get("target") == nil {
		p.target = p.number
	}
	return p
}

// number reads a whole number from 1 to a bound; 0 if it is none.
func (r *instanceReader) number(v *value, path string, most int, allowed string) int {
	if v.kind != integerValue && v.kind != textValue {
		r.wrongType(codeUnexpectedType, v, path, allowed)
		return 0
	}
	n, err := strconv.Atoi(v.text)
	if err != nil || n < 1 || n > most {
		r.refuse(codeInstance, v.place, path, quote(v.text)+" is no such number", allowed)
		return 0
	}
	return n
}
