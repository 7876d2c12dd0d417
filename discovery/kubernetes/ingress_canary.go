// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/sluice-mesh/sluice/routing"
)

// Annotations of ingress-nginx. Others of this prefix are told as faults, as
// whoever wrote them counts on them.
const (
	nginxPrefix = "nginx.ingress.kubernetes.io/"
	canaryOn    = nginxPrefix + "canary"
	canaryBy    = nginxPrefix + "canary-by-"
	canaryShare = nginxPrefix + "canary-weight"
)

var knownAnnotations = map[string]bool{
	canaryOn: true, canaryBy + "header": true, canaryBy + "header-value": true, canaryBy + "header-pattern": true,
	canaryBy + "cookie": true, canaryShare: true, canaryShare + "-total": true,
	nginxPrefix + "ssl-redirect": true,
}

func isCanary(i *networkingv1.Ingress) bool { return i.Annotations[canaryOn] == "true" }

// annotations tells which annotations are not understood.
func (m *ingressMerger) annotations(i *networkingv1.Ingress) {
	for _, a := range slices.Sorted(maps.Keys(i.Annotations)) {
		if strings.HasPrefix(a, nginxPrefix) && !knownAnnotations[a] {
			m.fault(i, routing.Warning, codeAnnotation, "metadata.annotations["+a+"]", "the annotation is not understood and has no effect",
				"canary, canary-by-header, canary-by-header-value, canary-by-header-pattern, canary-by-cookie, canary-weight, canary-weight-total and ssl-redirect are")
		}
	}
}

// takeCanary adds an Ingress to the rules that others have for its paths.
func (m *ingressMerger) takeCanary(i *networkingv1.Ingress) {
	canary, ok := m.canary(i)
	if !ok {
		return
	}
	if i.Spec.DefaultBackend != nil {
		m.fault(i, routing.Warning, codeCanary, "spec.defaultBackend", "the default backend of a canary has no effect", "write a rule for what it is to share")
	}
	for k := range i.Spec.Rules {
		h := m.hosts[hostOf(i.Spec.Rules[k].Host)]
		m.paths(i, k, func(at string, r *ingressRule) {
			var of *ingressRule
			if h != nil {
				of = h.find(r)
			}
			switch {
			case of == nil || of.target.namespace != i.Namespace:
				m.fault(i, routing.Refused, codeCanary, at, "no Ingress of the namespace has the path", "write a canary beside the Ingress whose requests it takes")
			case of.canary != nil:
				m.fault(i, routing.Refused, codeCanary, at, "another canary has the path", "one canary of a path is allowed")
			default:
				of.canary = &ingressCanary{target: r.target, always: canary.always, never: canary.never, share: canary.share}
				if fault := refusal(of.splitGateway()); fault != nil {
					of.canary = nil
					m.fault(i, routing.Refused, codeCanary, "metadata.annotations", fault.Problem, "without what is refused the canary takes nothing")
					return
				}
				h.of[nameOf(&i.ObjectMeta)] = true
			}
		})
	}
}

// refusal returns why a text is refused, nil if it is not. What a canary asks
// for must not take down what it is a canary of.
func refusal(text []byte) *routing.Fault {
	_, faults := routing.Read("", text)
	for _, f := range faults {
		if f.Severity == routing.Refused {
			return f
		}
	}
	return nil
}

// canary returns what a canary takes, without where it leads: by header
// before by cookie before by weight, where "never" leaves a request to what
// it is a canary of.
func (m *ingressMerger) canary(i *networkingv1.Ingress) (c ingressCanary, ok bool) {
	header, cookie := i.Annotations[canaryBy+"header"], i.Annotations[canaryBy+"cookie"]
	exact, pattern := i.Annotations[canaryBy+"header-value"], i.Annotations[canaryBy+"header-pattern"]
	for _, text := range []string{header, cookie, exact, pattern} {
		if text != "" && !writable("/"+text) {
			m.fault(i, routing.Refused, codeCanary, "metadata.annotations", strconv.Quote(text)+" cannot be asked for", "printable ASCII without blanks and quotes is allowed")
			return c, false
		}
	}
	switch {
	case header == "":
	case exact != "":
		c.always = fmt.Sprintf(`header "%s" == "%s"`, header, exact)
	case pattern != "":
		c.always = fmt.Sprintf(`header "%s" matches "%s"`, header, pattern)
	default:
		c.always = fmt.Sprintf(`header "%s" == always`, header)
		c.never = fmt.Sprintf(`header "%s" == never`, header)
	}
	if cookie != "" {
		always, never := fmt.Sprintf(`cookie "%s" == always`, cookie), fmt.Sprintf(`cookie "%s" == never`, cookie)
		if c.never != "" {
			always = "(not " + c.never + " and " + always + ")"
		}
		c.always, c.never = either(c.always, always), either(c.never, never)
	}
	c.share, ok = m.share(i)
	return c, ok
}

// either joins conditions by "or"; the first may be empty.
func either(a, b string) string {
	if a == "" {
		return b
	}
	return a + " or " + b
}

// share returns the weight of a canary in hundredths of a percent.
func (m *ingressMerger) share(i *networkingv1.Ingress) (int, bool) {
	weight, total := 0, 100
	for _, n := range []struct {
		annotation string
		into       *int
		least      int
	}{{canaryShare, &weight, 0}, {canaryShare + "-total", &total, 1}} {
		text, written := i.Annotations[n.annotation]
		if !written {
			continue
		}
		number, err := strconv.Atoi(text)
		if err != nil || number < n.least || number > 1_000_000 {
			m.fault(i, routing.Refused, codeCanary, "metadata.annotations["+n.annotation+"]", strconv.Quote(text)+" is no weight", fmt.Sprintf("a number from %d to 1000000 is allowed", n.least))
			return 0, false
		}
		*n.into = number
	}
	weight = min(weight, total)
	share := (weight*full + total/2) / total
	if weight*full%total != 0 {
		m.fault(i, routing.Warning, codeCanary, "metadata.annotations["+canaryShare+"]",
			fmt.Sprintf("the canary takes %s, which is next to %d of %d", percent(share), weight, total), "steps of 0.01% are allowed")
	}
	return share, true
}
