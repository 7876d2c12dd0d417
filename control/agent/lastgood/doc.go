// SPDX-License-Identifier: Apache-2.0

// Package lastgood keeps a proxy's last good tables on disk, so that it
// serves without the control plane and starts without it.
//
// # Files
//
// A folder holds up to [Generations] tables, each in a file of its own that
// is written beside, synced, renamed and never changed again. A checksum
// over the whole file tells one that is whole from any other. Files are
// numbered in the order in which they were written: neither versions, which
// begin anew with each epoch, nor clocks, which jump, tell which is newest.
//
// # Starts
//
// A journal of starts finds tables that take the process with them: one that
// a process was trying when it ended without a word, [CrashLimit] times
// within [CrashWindow], is in quarantine and is neither loaded nor accepted.
// The newest table that is known to serve is kept whatever comes after it,
// so that there is one to go back to.
package lastgood
