// SPDX-License-Identifier: Apache-2.0

// Package verb is what the verbs of all commands share: exit codes, errors of
// use, and how a command line is run.
package verb
