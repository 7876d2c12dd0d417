// SPDX-License-Identifier: Apache-2.0

// Package rival starts the proxies that are measured, all of them alike: each
// does the same work for the same two instances, with a configuration of which
// its authors would approve.
package rival
