// SPDX-License-Identifier: Apache-2.0

// Package origin is a small, fast HTTP/1.1 server to measure proxies against.
//
// What it answers depends on the path alone, so that a scenario can ask for
// bodies of any length and for delays, and an answer costs next to nothing:
// what is left of a measurement is the proxy.
package origin
