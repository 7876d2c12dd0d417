// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"crypto/sha256"
	"encoding/hex"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-mesh/sluice/control/controlpb"
)

// Hash is the version of a gateway by its content, positions included: equal
// forms have equal hashes, whoever made them and whenever. The zero Hash is
// that of no form.
type Hash [16]byte

// String returns the hash in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// HashOf returns the hash of a gateway: the first half of the SHA-256 of its
// message. An error means that a text is not UTF-8.
//
// Only who sends makes hashes, and who receives keeps them, so two programs
// need not write the same bytes: where they do not, gateways are sent again.
func HashOf(m *controlpb.Gateway) (Hash, error) {
	h, _, err := hashOf(m)
	return h, err
}

// hashOf returns the size of the message as well.
func hashOf(m *controlpb.Gateway) (h Hash, size int, err error) {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return Hash{}, 0, err
	}
	sum := sha256.Sum256(data)
	return Hash(sum[:16]), len(data), nil
}
