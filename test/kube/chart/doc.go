// SPDX-License-Identifier: Apache-2.0

// Package chart installs Sluice in a cluster as deploy/ says, with Helm and
// without, and does there what the tutorial tells an operator to do.
package chart
