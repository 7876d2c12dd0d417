// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bytes"
	"errors"
)

// chunks follows the boundaries of a chunked body (RFC 9112 section 7.1) over
// bytes that are forwarded as they are. The zero chunks stands before the
// first chunk.
type chunks struct {
	state   chunkState
	left    int64 // of the chunk's data
	trailer int   // bytes of trailer fields so far
	total   int64 // bytes of data that were announced
	most    int64 // of them; 0: any number
	grpc    uint8 // one more than the grpc-status in the trailers; 0: none
	lenient bool  // trailers that are not fit to go on are passed over: they came by HTTP/2
	dropped bool  // step took one of these
	skip    int   // how many bytes behind those that take returned are to be passed over
}

type chunkState uint8

const (
	chunkSize    chunkState = iota // a size line
	chunkData                      // left bytes of data
	chunkEnd                       // the CRLF after the data
	chunkTrailer                   // a trailer field, or the empty line
	chunkDone
)

const (
	maxChunkLine = 4 << 10
	maxTrailer   = 16 << 10
)

var (
	errChunk   = errors.New("malformed chunked body")
	errTooLong = errors.New("chunked body over its limit")
)

// step takes the next piece of b: n bytes may be forwarded, of which those
// from data up to n are payload if payload is set. n is 0 if the piece at the
// start of b is not complete.
func (c *chunks) step(b []byte) (n int, payload bool, err error) {
	switch c.state {
	case chunkSize:
		n, err = c.sizeLine(b)
		return n, false, err
	case chunkData:
		n = int(min(c.left, int64(len(b))))
		if c.left -= int64(n); c.left == 0 {
			c.state = chunkEnd
		}
		return n, true, nil
	case chunkEnd:
		if len(b) > 0 && b[0] != '\r' || len(b) > 1 && b[1] != '\n' {
			return 0, false, errChunk
		}
		if len(b) < 2 {
			return 0, false, nil
		}
		c.state = chunkSize
		return 2, false, nil
	case chunkTrailer:
		n, err = c.trailerLine(b)
		return n, false, err
	default:
		return 0, false, nil
	}
}

func (c *chunks) done() bool { return c.state == chunkDone }

// take forwards as much of b as is valid and returns how much that is. If skip
// is set then, as many bytes behind that are not forwarded, and more may follow.
func (c *chunks) take(b []byte) (int, error) {
	total := 0
	c.skip = 0
	for !c.done() && total < len(b) {
		n, _, err := c.step(b[total:])
		if err != nil {
			return total, err
		}
		if n == 0 {
			break
		}
		if c.dropped {
			c.dropped, c.skip = false, n
			break
		}
		total += n
	}
	return total, nil
}

// line returns the length of the line at the start of b, CRLF included; 0 if
// it is not complete.
func line(b []byte, limit int) (int, error) {
	i := bytes.IndexByte(b, '\n')
	switch {
	case i < 0 && len(b) > limit || i > limit:
		return 0, errChunk
	case i < 0:
		return 0, nil
	case i == 0 || b[i-1] != '\r':
		return 0, errChunk
	}
	return i + 1, nil
}

func (c *chunks) sizeLine(b []byte) (int, error) {
	n, err := line(b, maxChunkLine)
	if err != nil || n == 0 {
		return 0, err
	}
	size, digits := int64(0), 0
	for digits < n-2 && isHex(b[digits]) {
		size = size<<4 | int64(unhex(b[digits]))
		if digits++; digits > 15 {
			return 0, errChunk
		}
	}
	if digits == 0 || digits < n-2 && b[digits] != ';' {
		return 0, errChunk
	}
	for _, x := range b[digits : n-2] { // extensions
		if class[x]&valueByte == 0 {
			return 0, errChunk
		}
	}
	if c.total += size; c.most > 0 && c.total > c.most {
		return 0, errTooLong
	}
	c.left, c.state = size, chunkData
	if size == 0 {
		c.state = chunkTrailer
	}
	return n, nil
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	default:
		return c&^0x20 - 'A' + 10
	}
}

// trailerLine accepts a field that may stand in trailers: none that frames,
// routes or is the proxy's own (RFC 9110 section 6.5.1). By HTTP/2 come trailers
// that hold what an application calls its metadata: what of it is not fit to go
// on is passed over, unless it frames.
func (c *chunks) trailerLine(b []byte) (int, error) {
	n, err := line(b, maxTrailer-c.trailer)
	if err != nil || n == 0 {
		return 0, err
	}
	if n == 2 {
		c.state = chunkDone
		return n, nil
	}
	c.trailer += n
	i := bytes.IndexByte(b[:n-2], ':')
	if i < 1 {
		return 0, errChunk
	}
	for _, x := range b[:i] {
		if class[x]&tokenByte == 0 {
			return 0, errChunk
		}
	}
	for _, x := range b[i+1 : n-2] {
		if class[x]&valueByte == 0 {
			return 0, errChunk
		}
	}
	switch k := classify(b[:i]); {
	case forbiddenTrailer(b[:i]) || k != kindOther && !k.metadata():
		return 0, errChunk
	case k != kindOther || twin(b[:i]):
		if c.dropped = c.lenient; !c.dropped {
			return 0, errChunk
		}
		return n, nil
	}
	if fold(b[:i], grpcStatusName) {
		c.grpc = parseGRPCStatus(bytes.Trim(b[i+1:n-2], " \t"))
	}
	return n, nil
}

// forbiddenTrailer names fields that would change how a message that is
// already under way is read.
func forbiddenTrailer(name []byte) bool {
	return fold(name, "trailer") || fold(name, "content-encoding") || fold(name, "cookie")
}
