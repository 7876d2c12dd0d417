// SPDX-License-Identifier: Apache-2.0

// Package marathon makes a process watch a Marathon, as its flags say.
package marathon
