// SPDX-License-Identifier: Apache-2.0

//go:build !race

package proxy_test

// differentialTrials is how many exchanges are compared.
const differentialTrials = 10_000
