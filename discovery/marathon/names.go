// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// balancer is the domain in which the layer-4 balancer of DC/OS has its names.
const balancer = ".l4lb.thisdcos.directory"

// maxName bounds a host name, as DNS does.
const maxName = 253

// vipName returns the name, host:port in lower case, of a value of VIP_n:
// 10.0.0.1:80 is what it says, and /web:5000 a name of the balancer,
// web.marathon.l4lb.thisdcos.directory:5000 where framework is marathon.
func vipName(value, framework string) (string, error) {
	host, text, err := net.SplitHostPort(value)
	if err != nil {
		return "", fmt.Errorf("%.100q has no port", value)
	}
	n, ok := number(text, 1, maxPort)
	if !ok {
		return "", fmt.Errorf("%.20q is no port", text)
	}
	if address, err := netip.ParseAddr(host); err == nil && address.Zone() == "" {
		return netip.AddrPortFrom(address.Unmap(), uint16(n)).String(), nil
	}
	name := strings.ToLower(balancerName(host))
	if name == "" || strings.ContainsFunc(name, notOfName) {
		return "", fmt.Errorf("%.100q is no name", host)
	}
	if name += "." + strings.ToLower(framework) + balancer; len(name) > maxName {
		return "", fmt.Errorf("%.100q is too long a name", host)
	}
	return name + ":" + strconv.Itoa(n), nil
}

// balancerName is what DC/OS makes of the name of a VIP: the slashes go, also
// those in it, so that /shop/web is shopweb.
func balancerName(vip string) string { return strings.ReplaceAll(vip, "/", "") }

// notOfName reports whether a character cannot be part of the name of a host.
func notOfName(c rune) bool {
	return (c < 'a' || c > 'z') && (c < '0' || c > '9') && !strings.ContainsRune("-_.", c)
}
