// SPDX-License-Identifier: Apache-2.0

// Package files is the source of gateways that stand in files and
// directories.
//
// A file's text counts once it read twice equal, some time apart, so that a
// half-written one is never believed. What is said is believed at once: a
// document or a file taken away from others that stay. What only seems so is
// held back: an empty file, an empty or missing directory. What cannot be
// read keeps its last good documents for as long as it cannot be read.
package files
