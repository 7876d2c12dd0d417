// SPDX-License-Identifier: Apache-2.0

// Package planner makes one table of what all objects of a source say.
package planner
