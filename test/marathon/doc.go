// SPDX-License-Identifier: Apache-2.0

// Package marathon holds the built commands to what is promised of Marathon:
// control plane and proxy are processes, tasks are servers that answer, and the
// Marathon is the one of discovery/marathon/marathontest.
package marathon
