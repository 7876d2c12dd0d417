// SPDX-License-Identifier: Apache-2.0

//go:build race

package conditions_test

// raceDetector reports that everything is slow.
const raceDetector = true
