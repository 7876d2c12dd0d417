// SPDX-License-Identifier: Apache-2.0

// Package artifacts tells what stands in the store of the control plane, as a
// source of gateways beside all others.
package artifacts
