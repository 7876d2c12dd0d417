// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
)

const (
	maxPort     = 65535
	portAllowed = "a number from 0 (assigned) to 65535 is allowed, also with /http or /tcp"
)

// port reads a port: NUMBER, NUMBER/http or NUMBER/tcp.
func (r *reader) port(v *value, path string) (Port, bool) {
	text := v.text
	switch v.kind {
	case integerValue, textValue:
	default:
		r.wrongType(codeUnexpectedType, v, path, portAllowed)
		return Port{}, false
	}
	number, protocol, typed := strings.Cut(text, "/")
	p := Port{Text: text}
	if typed {
		switch strings.ToLower(protocol) {
		case "http":
		case "tcp":
			p.Type = TCP
		default:
			r.refuse(codePort, v.place, path, fmt.Sprintf("%s has the protocol %s", quote(text), quote(protocol)), portAllowed)
			return Port{}, false
		}
	}
	n, ok := portNumber(number)
	switch {
	case !ok:
		r.refuse(codePort, v.place, path, quote(text)+" is no port", portAllowed)
		return Port{}, false
	case n < 0 || n > maxPort:
		r.refuse(codePort, v.place, path, describe(v)+" is no port number", portAllowed)
		return Port{}, false
	case n == 0:
		p.Text = "" // as if absent
	}
	p.Number = n
	return p, true
}

// portNumber reads a whole number. One that is too large for an int is the
// largest int, so that it is refused as out of range.
func portNumber(text string) (int, bool) {
	digits := strings.TrimPrefix(text, "-")
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return math.MaxInt, true
	}
	return n, true
}

// parseAddress splits what stands between the brackets of an external route,
// HOST:PORT, with IPv6 addresses in brackets of their own. host has none.
// problem says why the text is no address, and is empty if it is one.
func parseAddress(text string) (host string, port int, problem string) {
	colon := strings.LastIndexByte(text, ':')
	if colon < 0 {
		return "", 0, "the address has no port"
	}
	host, digits := text[:colon], text[colon+1:]
	port, ok := portNumber(digits)
	if !ok || port < 1 || port > maxPort {
		return "", 0, quote(digits) + " is no port number"
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, closed := strings.CutSuffix(inner, "]")
		if !closed || !isIPv6(inner) {
			return "", 0, quote(host) + " is no IPv6 address in brackets"
		}
		return inner, port, ""
	}
	if isIPv6(host) {
		return "", 0, "the IPv6 address has no brackets of its own"
	}
	if !isHostName(host) {
		return "", 0, quote(host) + " is neither a host name nor an address"
	}
	return host, port, ""
}

func isIPv6(text string) bool {
	a, err := netip.ParseAddr(text)
	return err == nil && a.Is6()
}

// isHostName accepts IPv4 addresses and names of letters, digits, - _ and
// dots. One dot at the end is allowed; empty labels are not.
func isHostName(text string) bool {
	if len(text) > 254 {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(text, "."), ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, notInHostNames) {
			return false
		}
	}
	return true
}

func notInHostNames(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_'
}
