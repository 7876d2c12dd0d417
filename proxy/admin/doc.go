// SPDX-License-Identifier: Apache-2.0

// Package admin serves what operators and probes ask of a proxy: metrics,
// health, status. It listens on a loopback address, apart from all traffic.
package admin
