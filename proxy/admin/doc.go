// SPDX-License-Identifier: Apache-2.0

// Package admin serves what operators and probes ask of a proxy: metrics,
// health, status. It listens apart from all traffic: on a loopback address, or
// where others can reach it if they have to show a token.
package admin
