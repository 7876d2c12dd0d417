// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package auth

import (
	"io/fs"
	"os"
)

// sameOwner reports that there is nothing to keep: files have the access of
// their folder.
func sameOwner(fs.FileInfo, fs.FileInfo) bool { return true }

func chown(*os.File, fs.FileInfo) error { return nil }
