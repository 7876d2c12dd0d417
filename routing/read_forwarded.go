// SPDX-License-Identifier: Apache-2.0

package routing

// forwarded reads by which fields instances are told of the client.
func (r *reader) forwarded(v *value, path string) ForwardedMode {
	switch r.choice(v, path, "x-forwarded", "rfc7239", "both") {
	case "rfc7239":
		return ForwardedStandard
	case "both":
		return ForwardedBoth
	default:
		return ForwardedX
	}
}
