// SPDX-License-Identifier: Apache-2.0

package load

import "errors"

// codec speaks one protocol on one connection, without doing I/O. A protocol
// that carries several requests at once has as many lanes.
type codec interface {
	// lanes is how many requests may be out at once. It never changes.
	lanes() int
	// reset readies the codec for a new connection and returns what is sent
	// first on it, which may be nothing.
	reset() []byte
	// ask returns what sends the given request of the mix on a free lane. The
	// bytes stay as they are for as long as that request has no answer.
	ask(lane int, request int32) []byte
	// take reads b, up to the end of the next answer if it ends in b, and
	// returns how many bytes it read. After an error, which means that the peer
	// breaks the protocol, the connection is of no use.
	take(b []byte) (n int, a answer, done bool, err error)
	// end says that the peer ended the connection in order, and reports the
	// answer that was complete by that.
	end() (a answer, done bool)
}

// answer is one that is complete.
type answer struct {
	lane   int
	status int
	last   bool // the connection carries no further request
}

// errProtocol reports bytes that are not an answer.
var errProtocol = errors.New("load: the answer breaks the protocol")
