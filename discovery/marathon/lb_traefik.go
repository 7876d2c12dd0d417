// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/sluice-mesh/sluice/routing"
)

// ruleHosts finds the hosts that a rule of Traefik names.
var ruleHosts = regexp.MustCompile(`Host\(([^)]*)\)`)

// ruleHost finds one of them.
var ruleHost = regexp.MustCompile("[`\"']([A-Za-z0-9._-]+)[`\"']")

// insteadOfTraefik says what to write instead of a label of Traefik; false if
// it is none.
func insteadOfTraefik(a *app, l routing.Label) (string, bool) {
	const unread = "labels of Traefik are not read; "
	rest, is := strings.CutPrefix(l.Name, "traefik.")
	switch {
	case !is:
		return "", false
	case rest == "enable":
		return unread + "HAPROXY_GROUP offers an app", true
	case strings.HasSuffix(rest, ".rule"):
		var hosts []string
		for _, m := range ruleHosts.FindAllStringSubmatch(l.Value, -1) {
			for _, h := range ruleHost.FindAllStringSubmatch(m[1], -1) {
				hosts = append(hosts, strings.ToLower(h[1]))
			}
		}
		if len(hosts) > 0 && len(hosts) <= maxHosts && selectable(a.id) {
			return unread + fmt.Sprintf("write HAPROXY_0_VHOST: %s, or a gateway with virtual_hosts: [%s] and a route with selector: %s",
				strings.Join(hosts, ","), strings.Join(hosts, ", "), selectorOf([]string{a.id}, 0)), true
		}
		return unread + "write HAPROXY_0_VHOST and HAPROXY_0_PATH, or a gateway with virtual_hosts and conditions", true
	case strings.HasSuffix(rest, ".loadbalancer.server.port"):
		return unread + "the n of HAPROXY_{n}_VHOST is the port, counted from 0; a selector asks by index(N), or by label(sluice:port-name)(NAME)", true
	case strings.HasSuffix(rest, ".ipadressidx"), strings.HasSuffix(rest, ".ipaddressidx"):
		return unread + "--marathon-ip-index says which address counts", true
	default:
		return unread + "write a gateway", true
	}
}
