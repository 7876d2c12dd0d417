// SPDX-License-Identifier: Apache-2.0

package files

import (
	"io/fs"
	"os"
	"syscall"
	"time"
)

// stamp is the time of a file's last change of any kind, which no program
// can set back.
func stamp(info fs.FileInfo) time.Time {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(st.Ctim.Unix())
	}
	return info.ModTime()
}

// sameStamp reports whether two looks at a file found the same one,
// untouched as far as its stamp tells.
func sameStamp(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.Size() == b.Size() &&
		a.ModTime().Equal(b.ModTime()) && stamp(a).Equal(stamp(b))
}
