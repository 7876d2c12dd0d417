// SPDX-License-Identifier: Apache-2.0

package tlsconf

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"time"
)

const (
	// ticketKeyLife is how long tickets are sealed with one key. Whoever learns
	// it can read what was said under its tickets in TLS 1.2, and no more.
	ticketKeyLife = 12 * time.Hour
	// ticketKeys is how many keys tickets are opened with.
	ticketKeys = 3
)

// keyring holds the keys that tickets of sessions are sealed with (RFC 5077,
// RFC 8446 section 4.6.1), the newest first. They never leave the process.
type keyring struct {
	keys [][sha256.Size]byte
	made time.Time // the newest
}

// begin makes sure that there is a key.
func (k *keyring) begin() {
	if len(k.keys) == 0 {
		k.add(time.Now())
	}
}

func (k *keyring) add(now time.Time) {
	var key [sha256.Size]byte
	_, _ = rand.Read(key[:]) // it never fails
	k.keys = append([][sha256.Size]byte{key}, k.keys[:min(len(k.keys), ticketKeys-1)]...)
	k.made = now
}

// rotate makes a new key if the newest is too old, and reports whether it did.
func (k *keyring) rotate(now time.Time) bool {
	if len(k.keys) == 0 || now.Sub(k.made) < ticketKeyLife {
		return false
	}
	k.add(now)
	return true
}

// of returns the keys of one label, which open nothing of another one.
func (k *keyring) of(label [sha256.Size]byte) [][sha256.Size]byte {
	own := make([][sha256.Size]byte, len(k.keys))
	for i := range k.keys {
		h := hmac.New(sha256.New, k.keys[i][:])
		h.Write(label[:])
		own[i] = [sha256.Size]byte(h.Sum(nil))
	}
	return own
}
