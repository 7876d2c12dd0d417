// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package socket

import "errors"

// peekFD cannot look here: the next read or write finds out.
func peekFD(uintptr) int { return peekNothing }

// lookFD cannot look here.
func lookFD(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
