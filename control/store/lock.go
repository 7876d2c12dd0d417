// SPDX-License-Identifier: Apache-2.0

package store

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// lockDir locks a store's directory for this process until the file that it
// returns is closed. The lock is a file of its own, since Restore replaces
// the one with the data. Its text tells others who has it.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	locked, err := flock(f)
	if err == nil && !locked {
		owner, _ := io.ReadAll(io.LimitReader(f, 512))
		err = &LockedError{Dir: dir, Owner: string(owner)}
	}
	if err == nil {
		err = sign(f)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// sign writes who we are. That this is not possible, on a full disk, is no
// reason not to serve.
func sign(f *os.File) error {
	host, _ := os.Hostname()
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt(fmt.Appendf(nil, "process %d on %s", os.Getpid(), cmp.Or(host, "this host")), 0)
	if errors.Is(full(err), ErrFull) {
		return nil
	}
	return err
}
