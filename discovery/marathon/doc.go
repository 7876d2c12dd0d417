// SPDX-License-Identifier: Apache-2.0

// Package marathon is the source of what a Marathon runs: the tasks of its
// apps are instances, and their labels are what selectors ask for.
package marathon
