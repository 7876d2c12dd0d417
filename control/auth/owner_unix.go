// SPDX-License-Identifier: Apache-2.0

//go:build unix

package auth

import (
	"io/fs"
	"os"
	"syscall"
)

// owner returns who has a file.
func owner(info fs.FileInfo) (user, group int, ok bool) {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, false
	}
	return int(s.Uid), int(s.Gid), true
}

// sameOwner reports whether two files have one owner and one group.
func sameOwner(a, b fs.FileInfo) bool {
	user, group, _ := owner(a)
	otherUser, otherGroup, _ := owner(b)
	return user == otherUser && group == otherGroup
}

// chown gives a file the owner and the group of another.
func chown(f *os.File, like fs.FileInfo) error {
	user, group, ok := owner(like)
	if !ok {
		return nil
	}
	return f.Chown(user, group)
}
