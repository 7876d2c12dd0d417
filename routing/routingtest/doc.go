// SPDX-License-Identifier: Apache-2.0

// Package routingtest builds tables, requests and draws for tests of what
// decides requests.
package routingtest
