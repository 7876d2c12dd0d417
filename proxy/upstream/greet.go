// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"bytes"
	"errors"
	"time"

	"github.com/sluice-mesh/sluice/proxy/http2"
	"github.com/sluice-mesh/sluice/proxy/socket"
)

// How HTTP/2 is spoken with instances.
const (
	// answerList bounds header lists of answers: the largest head that limits may
	// allow, and what its fields count beside it. Those of the route are looked
	// at by whoever reads the answer.
	answerList = 1<<20 + 64<<10
	// askAfter is how long an instance may be silent while streams are open
	// before it is asked whether it is there. Servers of gRPC end connections
	// that are asked more often than every 5 min.
	askAfter = 6 * time.Minute
)

var speaking = http2.Options{HeaderList: answerList, Ping: askAfter}

const (
	frameHead    = 9 // bytes before the payload of a frame (RFC 9113 section 4.1)
	typeSettings = 4 // SETTINGS (RFC 9113 section 6.5)
)

var (
	errSpeaksHTTP1 = errors.New("it answers by HTTP/1")
	errNotHTTP2    = errors.New("what it sends is not HTTP/2")
)

// greet begins to speak HTTP/2 over a connection, and reads how the answer
// begins: with SETTINGS, whatever the peer is asked (RFC 9113 section 3.4). What
// was read is to be handed to Run.
func greet(c *socket.Conn, o *Options) (*http2.Conn, []byte, error) {
	mux, err := http2.Dial(c, o.Sweeper, &speaking)
	if err != nil {
		return nil, nil, err
	}
	pre := make([]byte, 0, 128)
	for len(pre) < frameHead {
		n, err := c.Read(pre[len(pre):cap(pre)])
		if n == 0 && err != nil {
			return nil, nil, err
		}
		pre = pre[:len(pre)+n]
	}
	switch {
	case bytes.HasPrefix(pre, []byte("HTTP/")):
		return nil, nil, errSpeaksHTTP1
	case pre[3] != typeSettings:
		return nil, nil, errNotHTTP2
	default:
		return mux, pre, nil
	}
}
