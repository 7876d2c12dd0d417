// SPDX-License-Identifier: Apache-2.0

package store

// At has a store call at when a write or a backup comes to a named point; that
// named "queued" is one to which writers come at the same time.
func (o Options) At(at func(point string)) Options {
	o.at = at
	return o
}
