// SPDX-License-Identifier: Apache-2.0

package lastgood

import (
	"cmp"
	"errors"
	"fmt"
)

var (
	// ErrNone reports that the folder holds no table that can be used.
	ErrNone = errors.New("no usable table on disk")

	// ErrDamaged reports a file that is not as it was written.
	ErrDamaged = errors.New("damaged")

	// ErrSchema reports a whole file with a payload that is not for us.
	ErrSchema = errors.New("unknown schema")

	// ErrQuarantined reports a version that crashed the process repeatedly.
	ErrQuarantined = errors.New("in quarantine after repeated crashes")

	// ErrNotNewer reports a table that is not newer than the one that is kept.
	ErrNotNewer = errors.New("not newer than the table that is kept")

	// ErrTooLarge reports a payload above the bound.
	ErrTooLarge = errors.New("too large")

	// ErrClosed reports a Keeper that was closed.
	ErrClosed = errors.New("closed")
)

// LockedError reports a folder that another Keeper has open.
type LockedError struct {
	Dir   string
	Owner string // who has it, in its own words; may be empty
}

// Error names the folder and who has it.
func (e *LockedError) Error() string {
	return fmt.Sprintf("%s is in use by %s: give each proxy a folder of its own, or end the other one",
		e.Dir, cmp.Or(e.Owner, "another process"))
}
