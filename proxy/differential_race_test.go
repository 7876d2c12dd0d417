// SPDX-License-Identifier: Apache-2.0

//go:build race

package proxy_test

// differentialTrials is smaller here: the race detector makes all slow.
const differentialTrials = 1_500
