// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// Types, flags and codes of frames (RFC 9113 sections 6 and 7).
const (
	dataFrame         = 0x0
	headersFrame      = 0x1
	priorityFrame     = 0x2
	resetFrame        = 0x3
	settingsFrame     = 0x4
	pingFrame         = 0x6
	goAwayFrame       = 0x7
	windowFrame       = 0x8
	continuationFrame = 0x9

	endStream  = 0x1
	isAck      = 0x1
	endHeaders = 0x4
	padded     = 0x8

	initialWindow = 0x4 // SETTINGS_INITIAL_WINDOW_SIZE
	cancel        = 0x8
)

var codes = [...]string{
	"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED", "FRAME_SIZE_ERROR",
	"REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
}

// rogue is a client of HTTP/2 that sends whatever frames a test likes, and
// notes what comes back. What is written goes out with flush.
type rogue struct {
	t       *testing.T
	nc      net.Conn
	out     *bufio.Writer
	coder   *hpack.Encoder
	block   bytes.Buffer
	decoder *hpack.Decoder
	next    uint32        // stream
	ended   chan struct{} // closed when nothing comes any more
	pinged  chan string   // what PINGs were answered

	mu     sync.Mutex // guards what follows
	heads  map[uint32]map[string]string
	bodies map[uint32]string
	over   map[uint32]bool
	resets map[uint32]string
	goaway string
}

// speak opens a connection of HTTP/2 to a gateway without TLS, with such a
// payload of its SETTINGS. It ends with the test.
func speak(t *testing.T, url string, settings ...byte) *rogue {
	t.Helper()
	f := &rogue{
		t: t, nc: dial(t, url), next: 1, ended: make(chan struct{}), pinged: make(chan string, 100), decoder: hpack.NewDecoder(4096, nil),
		heads: map[uint32]map[string]string{}, bodies: map[uint32]string{}, over: map[uint32]bool{}, resets: map[uint32]string{},
	}
	f.out = bufio.NewWriterSize(f.nc, 1<<20)
	f.coder = hpack.NewEncoder(&f.block)
	_, _ = f.out.WriteString("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	f.frame(settingsFrame, 0, 0, settings)
	f.frame(settingsFrame, isAck, 0, nil)
	f.flush()
	go f.listen()
	t.Cleanup(func() {
		_ = f.nc.Close()
		<-f.ended
	})
	return f
}

// window is a setting of the window of streams.
func window(size uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{0, initialWindow}, size)
}

// frame writes one frame. What cannot be sent any more is lost: the test sees
// why by what came back.
func (f *rogue) frame(kind, flags byte, id uint32, payload []byte) {
	n := len(payload)
	head := binary.BigEndian.AppendUint32([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags}, id)
	_, _ = f.out.Write(head)
	_, _ = f.out.Write(payload)
}

// number writes a frame of a number: RST_STREAM, WINDOW_UPDATE.
func (f *rogue) number(kind byte, id, n uint32) {
	f.frame(kind, 0, id, binary.BigEndian.AppendUint32(nil, n))
}

// reset gives a stream up.
func (f *rogue) reset(id uint32) { f.number(resetFrame, id, cancel) }

// data writes content.
func (f *rogue) data(id uint32, text string, flags byte) {
	f.frame(dataFrame, flags, id, []byte(text))
}

// flush sends what was written, and reports whether that is still possible.
func (f *rogue) flush() bool { return f.out.Flush() == nil }

// listen notes what comes until nothing does.
func (f *rogue) listen() {
	defer close(f.ended)
	for in := bufio.NewReader(f.nc); ; {
		kind, flags, id, payload, err := readFrame(in)
		if err != nil {
			return
		}
		if kind == pingFrame && flags == isAck {
			select {
			case f.pinged <- string(payload):
			default: // a flood
			}
			continue
		}
		f.note(kind, flags, id, payload)
	}
}

func readFrame(in io.Reader) (kind, flags byte, id uint32, payload []byte, err error) {
	var head [9]byte
	if _, err = io.ReadFull(in, head[:]); err != nil {
		return 0, 0, 0, nil, err
	}
	payload = make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	_, err = io.ReadFull(in, payload)
	return head[3], head[4], binary.BigEndian.Uint32(head[5:]), payload, err
}

func (f *rogue) note(kind, flags byte, id uint32, payload []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch kind {
	case headersFrame:
		list, err := f.decoder.DecodeFull(payload)
		if err != nil || flags&endHeaders == 0 {
			f.t.Errorf("a header list that cannot be read: %x, %v", payload, err)
		}
		if f.heads[id] == nil {
			f.heads[id] = map[string]string{}
		}
		for _, field := range list {
			f.heads[id][field.Name] = field.Value
		}
		f.over[id] = flags&endStream != 0
	case dataFrame:
		f.bodies[id] += string(payload)
		f.over[id] = flags&endStream != 0
	case resetFrame:
		f.resets[id] = codeOf(payload)
	case goAwayFrame:
		f.goaway = "GOAWAY " + codeOf(payload[4:])
	}
}

func codeOf(b []byte) string {
	if code := binary.BigEndian.Uint32(b); code < uint32(len(codes)) {
		return codes[code]
	}
	return hex.EncodeToString(b)
}

// encode returns a header block of "name: value" lines.
func (f *rogue) encode(lines ...string) []byte {
	f.block.Reset()
	for _, l := range lines {
		i := 1 + strings.Index(l[1:], ": ")
		if err := f.coder.WriteField(hpack.HeaderField{Name: l[:i], Value: l[i+2:]}); err != nil {
			f.t.Fatal(err)
		}
	}
	return bytes.Clone(f.block.Bytes())
}

// send begins the next stream with a header list, and returns its number.
func (f *rogue) send(ended bool, lines ...string) (id uint32) {
	return f.sendBlock(ended, f.encode(lines...))
}

// sendBlock does so with a header block, in as many frames as it takes.
func (f *rogue) sendBlock(ended bool, block []byte) (id uint32) {
	id = f.next
	f.next += 2
	kind, flags := byte(headersFrame), byte(0)
	if ended {
		flags = endStream
	}
	for {
		n := min(len(block), 16<<10)
		if n == len(block) {
			flags |= endHeaders
		}
		f.frame(kind, flags, id, block[:n])
		if block = block[n:]; len(block) == 0 {
			return id
		}
		kind, flags = continuationFrame, 0
	}
}

// heading is the header list of a request.
func heading(method, path string, more ...string) []string {
	return append([]string{":method: " + method, ":scheme: http", ":authority: shop.example", ":path: " + path}, more...)
}

// outcome waits until a stream has ended and says how: its status, or the code
// that it was reset with; what the connection ended with if that came first.
func (f *rogue) outcome(id uint32) (how string) {
	f.t.Helper()
	eventually(f.t, "a stream ends", func() bool {
		gone := errors.Is(f.gone(), io.EOF)
		f.mu.Lock()
		defer f.mu.Unlock()
		switch {
		case f.over[id]:
			how = f.heads[id][":status"]
		case f.resets[id] != "":
			how = f.resets[id]
		case gone:
			how = f.farewell()
		}
		return how != ""
	})
	return how
}

// gone returns io.EOF when nothing comes any more.
func (f *rogue) gone() error {
	select {
	case <-f.ended:
		return io.EOF
	default:
		return nil
	}
}

// farewell says what the connection ended with. The mutex is held.
func (f *rogue) farewell() string {
	if f.goaway == "" {
		return "the end without a GOAWAY"
	}
	return f.goaway
}

// leaves waits until the connection has ended and says with what.
func (f *rogue) leaves() string {
	<-f.ended
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.farewell()
}

// flood sends the same over and over, and waits each time until it was read,
// until the connection ends; and says what it ended with.
func (f *rogue) flood(batch func()) string {
	for n := 0; ; n++ {
		pace := fmt.Sprintf("%08d", n)
		batch()
		f.frame(pingFrame, 0, 0, []byte(pace))
		if !f.flush() || !f.paced(pace) {
			return f.leaves()
		}
	}
}

// paced waits for the answer to a PING and reports whether it came.
func (f *rogue) paced(pace string) bool {
	for {
		select {
		case got := <-f.pinged:
			if got == pace {
				return true
			}
		case <-f.ended:
			return false
		}
	}
}
