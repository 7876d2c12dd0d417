// SPDX-License-Identifier: Apache-2.0

// Package report makes of the series of a proxy what the control plane is told
// of them: those that changed, with what they counted since the proxy started.
package report
