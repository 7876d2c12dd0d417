// SPDX-License-Identifier: Apache-2.0

// Package report says what was measured: tables and verdicts for a terminal,
// and a Markdown document with plots for the suite.
package report
