// SPDX-License-Identifier: Apache-2.0

//go:build race

package conditions_test

// raced reports that the race detector is on: it has pools, such as that of
// package regexp, forget a part of what they hold.
const raced = true
