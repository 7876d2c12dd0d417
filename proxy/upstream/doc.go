// SPDX-License-Identifier: Apache-2.0

// Package upstream keeps what routes lead to: names and the addresses behind
// them, and for each address the connections that wait for the next request.
package upstream
