// SPDX-License-Identifier: Apache-2.0

package routing

// ProxyVersion is a version of the PROXY protocol, in which a balancer tells
// at the beginning of a connection whom it is made for.
type ProxyVersion uint8

const (
	// ProxyNone sends no header.
	ProxyNone ProxyVersion = iota
	// ProxyV1 is the header that is a line of text.
	ProxyV1
	// ProxyV2 is the binary header.
	ProxyV2
)

// String returns none, v1 or v2.
func (v ProxyVersion) String() string {
	switch v {
	case ProxyV1:
		return "v1"
	case ProxyV2:
		return "v2"
	default:
		return "none"
	}
}

// BetweenRoutes says how a tcp gateway spreads the connections that no
// condition took over its routes.
type BetweenRoutes uint8

const (
	// BetweenWeights follows the weights, exactly.
	BetweenWeights BetweenRoutes = iota
	// BetweenLeastConn prefers the route with the fewest open connections for
	// its weight, as Vamp does.
	BetweenLeastConn
)

// String returns weights or leastconn.
func (b BetweenRoutes) String() string {
	if b == BetweenLeastConn {
		return "leastconn"
	}
	return "weights"
}
