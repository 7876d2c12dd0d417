// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package load

// newEngine returns what moves the bytes of the run.
func newEngine(r *run, t target) (engine, error) { return newGoroutines(r, t), nil }
