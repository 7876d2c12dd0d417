// SPDX-License-Identifier: Apache-2.0

// Package static is the source of instances that stand in files: lists that
// somebody, or something, writes and keeps true.
package static
