// SPDX-License-Identifier: Apache-2.0

//go:build linux

package chaos

import (
	bytesorder "encoding/binary"
	"math/rand/v2"
)

// content returns the bytes that belong to an id, the same on both sides. No
// two ids have a common beginning, so that another client's bytes, or bytes
// that are missing in the middle, are never taken for right.
func content(id uint64, size int) []byte {
	var key [32]byte
	bytesorder.LittleEndian.PutUint64(key[:], id)
	b := make([]byte, size)
	_, _ = rand.NewChaCha8(key).Read(b) // it never fails
	return b
}
