// SPDX-License-Identifier: Apache-2.0

package lastgood

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// lockDir locks the folder for this process until the file that it returns
// is closed. In a folder that cannot be written there may be nothing to lock;
// then nobody writes, and the file is nil.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, lockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if unwritable(err) {
		f, err = os.Open(path)
		if errors.Is(err, fs.ErrNotExist) || unwritable(err) {
			return nil, nil
		}
	}
	if err != nil {
		return nil, err
	}
	locked, err := flock(f)
	if err == nil && !locked {
		owner, _ := io.ReadAll(io.LimitReader(f, 512))
		err = &LockedError{Dir: dir, Owner: string(owner)}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	sign(f)
	return f, nil
}

// sign writes who we are, for whoever finds the folder locked. That this is
// not possible, on a disk that is full or read-only, is no reason not to
// serve.
func sign(f *os.File) {
	host, _ := os.Hostname()
	if f.Truncate(0) == nil {
		_, _ = f.WriteAt(fmt.Appendf(nil, "process %d on %s", os.Getpid(), cmp.Or(host, "this host")), 0)
	}
}

// unwritable reports whether err says that a folder can only be read, or has
// no room for another file.
func unwritable(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.ENOSPC)
}
