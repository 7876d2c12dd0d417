// SPDX-License-Identifier: Apache-2.0

// Package events writes down what happens to gateways and proxies, with the
// tags that Vamp gave it, for those who ask later or watch.
package events
