// SPDX-License-Identifier: Apache-2.0

// Package plane is the control plane of a process: what the store and other
// sources say becomes one table a namespace, which proxies are told, and the
// API that writes the store tells what became of it.
package plane
