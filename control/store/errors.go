// SPDX-License-Identifier: Apache-2.0

package store

import (
	"errors"
	"fmt"
)

var (
	// ErrNotFound reports that there is nothing of that name.
	ErrNotFound = errors.New("not found")
	// ErrTooLarge reports a text, value or set of changes above its bound.
	ErrTooLarge = errors.New("too large")
	// ErrFull reports that there is no room to write. What was there stays,
	// and is read as before; writing works again once there is room.
	ErrFull = errors.New("no room left in the store")
	// ErrReadOnly reports a store that takes no changes any more, since the
	// disk failed in a way that leaves open what it holds.
	ErrReadOnly = errors.New("the store takes no changes")
	// ErrCompacted reports that the log does not reach back to where a watch
	// is to begin, or was left behind: list anew, and watch from there.
	ErrCompacted = errors.New("the log does not reach back that far")
	// ErrClosed reports a store that was closed.
	ErrClosed = errors.New("the store is closed")
	// ErrCorrupt reports a file that does not hold what was written to it.
	ErrCorrupt = errors.New("damaged")
	// ErrSchema reports a file of another generation of this program.
	ErrSchema = errors.New("unknown schema")
)

// ConflictError reports a change whose Expect does not hold.
type ConflictError struct {
	Name    string // the artifact's key, or the name of the value
	Expect  Expect // Absent or a revision
	Present uint64 // the present revision, 0 if there is none
	// Artifact is the present version of an artifact; it is zero if there is
	// none, and for values.
	Artifact Artifact
}

func (e *ConflictError) Error() string {
	switch {
	case e.Expect == Absent:
		return fmt.Sprintf("%s: exists already, at revision %d", e.Name, e.Present)
	case e.Present == 0:
		return fmt.Sprintf("%s: expected at revision %d, but it does not exist", e.Name, e.Expect)
	}
	return fmt.Sprintf("%s: expected at revision %d, but it is at %d", e.Name, e.Expect, e.Present)
}

// HeldError reports a lease that somebody else has.
type HeldError struct{ Lease Lease }

func (e *HeldError) Error() string {
	return fmt.Sprintf("lease %s: held by %s until %s", e.Lease.Name, e.Lease.Holder, e.Lease.Expires.Format("2006-01-02T15:04:05Z07:00"))
}

// InvalidError reports an argument that no store accepts.
type InvalidError struct {
	Field  string // such as namespace, name or changes[3].text
	Reason string
}

func (e *InvalidError) Error() string { return e.Field + ": " + e.Reason }

// LockedError reports a store that another process has open.
type LockedError struct {
	Dir   string
	Owner string // what the other process wrote of itself, such as "process 12 on host-a"; may be empty
}

func (e *LockedError) Error() string {
	if e.Owner == "" {
		return fmt.Sprintf("store %s: in use by another process", e.Dir)
	}
	return fmt.Sprintf("store %s: in use by %s", e.Dir, e.Owner)
}
