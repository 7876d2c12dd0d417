// SPDX-License-Identifier: Apache-2.0

package wire

// MaxKnown bounds Known.
const MaxKnown = maxKnown

// Known returns about how many bytes a receiver keeps of what gateways have in
// common.
func Known(r *Receiver) int {
	n := cap(r.known.key)
	for key, text := range r.known.texts {
		n += len(key) + len(text)
	}
	for key := range r.known.lists {
		n += len(key)
	}
	return n
}
