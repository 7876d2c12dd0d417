// SPDX-License-Identifier: Apache-2.0

package metrics

// Past counts the gateways that are gone and may still count.
func Past(r *Registry) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.past.open)
}
