// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"
)

// More types, flags, codes and parameters of frames.
const (
	unknownFrame   = 0xbe
	withPriority   = 0x20
	noError        = 0x0
	internalError  = 0x2
	refusedStream  = 0x7
	settingStreams = 0x3 // SETTINGS_MAX_CONCURRENT_STREAMS
)

// frame is one that came, with its fields if it begins a list of them: padding
// and continuations are gone.
type frame struct {
	kind    byte
	flags   byte
	stream  uint32
	payload []byte
	fields  []hpack.HeaderField
}

// ended reports whether the stream ends with it.
func (f frame) ended() bool {
	return (f.kind == headersFrame || f.kind == dataFrame) && f.flags&endStream != 0
}

// pseudo returns the value of a pseudo-header field; empty if there is none.
func (f frame) pseudo(name string) string {
	for _, field := range f.fields {
		if field.Name == ":"+name {
			return field.Value
		}
	}
	return ""
}

// setting is a parameter of SETTINGS.
type setting struct {
	id    uint16
	value uint32
}

// preface is what a client begins with.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// dialogue is one end of a connection of HTTP/2 that does what a test says, and
// nothing by itself. One goroutine reads; several may write.
type dialogue struct {
	net.Conn
	dec *hpack.Decoder

	mu   sync.Mutex // guards the fields below, and writing
	list bytes.Buffer
	enc  *hpack.Encoder
}

func newDialogue(nc net.Conn) *dialogue {
	f := &dialogue{Conn: nc, dec: hpack.NewDecoder(4096, nil)}
	f.enc = hpack.NewEncoder(&f.list)
	return f
}

// put writes a frame. What goes wrong shows where it is read.
func (f *dialogue) put(kind, flags byte, stream uint32, payload []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.putLocked(kind, flags, stream, payload)
}

func (f *dialogue) putLocked(kind, flags byte, stream uint32, payload []byte) {
	n := len(payload)
	b := append([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags}, binary.BigEndian.AppendUint32(nil, stream)...)
	_, _ = f.Write(append(b, payload...))
}

func (f *dialogue) settings(all []setting) {
	var b []byte
	for _, s := range all {
		b = binary.BigEndian.AppendUint16(b, s.id)
		b = binary.BigEndian.AppendUint32(b, s.value)
	}
	f.put(settingsFrame, 0, 0, b)
}

// block encodes fields, which are lines such as ":status: 200". It needs f.mu.
func (f *dialogue) block(lines []string) []byte {
	f.list.Reset()
	for _, line := range lines {
		at := strings.Index(line[1:], ":") + 1
		_ = f.enc.WriteField(hpack.HeaderField{Name: line[:at], Value: strings.TrimPrefix(line[at+1:], " ")})
	}
	return bytes.Clone(f.list.Bytes())
}

// head sends fields.
func (f *dialogue) head(stream uint32, end bool, lines ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.putLocked(headersFrame, endHeaders|ends(end), stream, f.block(lines))
}

// scattered sends fields in a padded frame and two that continue it.
func (f *dialogue) scattered(stream uint32, lines ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	block := f.block(lines)
	first := append([]byte{3, 0, 0, 0, 99, 7}, block[:1]...) // the length of the padding, and a priority
	f.putLocked(headersFrame, padded|withPriority, stream, append(first, 0, 0, 0))
	f.putLocked(continuationFrame, 0, stream, block[1:2])
	f.putLocked(continuationFrame, endHeaders, stream, block[2:])
}

// data sends content.
func (f *dialogue) data(stream uint32, end bool, text string) {
	f.put(dataFrame, ends(end), stream, []byte(text))
}

func ends(end bool) byte {
	if end {
		return endStream
	}
	return 0
}

// reset ends a stream at once.
func (f *dialogue) reset(stream uint32, code uint32) {
	f.put(resetFrame, 0, stream, binary.BigEndian.AppendUint32(nil, code))
}

// goAway tells the peer that no streams behind one are served.
func (f *dialogue) goAway(last uint32, code uint32) {
	f.put(goAwayFrame, 0, 0, binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, last), code))
}

// open makes room for n more bytes of a stream.
func (f *dialogue) open(stream uint32, n int) {
	f.put(windowFrame, 0, stream, binary.BigEndian.AppendUint32(nil, uint32(n)))
}

// next reads a frame that says something: settings and pings are answered,
// windows are left as they are.
func (f *dialogue) next() (frame, error) {
	for {
		got, err := f.read()
		if err != nil {
			return frame{}, err
		}
		switch got.kind {
		case settingsFrame, pingFrame:
			if got.flags&isAck == 0 {
				answer := got.payload
				if got.kind == settingsFrame {
					answer = nil
				}
				f.put(got.kind, isAck, 0, answer)
			}
		case headersFrame:
			return f.whole(got)
		case windowFrame:
		default:
			return got, nil
		}
	}
}

// read reads a frame.
func (f *dialogue) read() (frame, error) {
	head := make([]byte, 9)
	if _, err := io.ReadFull(f.Conn, head); err != nil {
		return frame{}, err
	}
	got := frame{kind: head[3], flags: head[4], stream: binary.BigEndian.Uint32(head[5:])}
	got.payload = make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	_, err := io.ReadFull(f.Conn, got.payload)
	if err == nil && got.flags&padded != 0 && (got.kind == dataFrame || got.kind == headersFrame) {
		padding := int(got.payload[0])
		got.payload = got.payload[1 : len(got.payload)-padding]
	}
	if err == nil && got.kind == headersFrame && got.flags&withPriority != 0 {
		got.payload = got.payload[5:]
	}
	return got, err
}

// whole reads what continues a list of fields, and decodes it.
func (f *dialogue) whole(got frame) (frame, error) {
	for end := got.flags; end&endHeaders == 0; {
		more, err := f.read()
		if err != nil {
			return frame{}, err
		}
		got.payload = append(got.payload, more.payload...)
		end = more.flags
	}
	var err error
	got.fields, err = f.dec.DecodeFull(got.payload)
	return got, err
}

// comeBy opens a connection of HTTP/2 to a gateway in plain text.
func comeBy(t *testing.T, url string, settings ...setting) *dialogue {
	t.Helper()
	f := newDialogue(dial(t, url))
	if _, err := io.WriteString(f.Conn, preface); err != nil {
		t.Fatal(err)
	}
	f.settings(settings)
	return f
}

// ask begins a request without content, or with some that is to follow.
func (f *dialogue) ask(stream uint32, end bool, method, path string, lines ...string) {
	f.head(stream, end, append([]string{":method: " + method, ":scheme: http", ":path: " + path, ":authority: shop.example"}, lines...)...)
}

// tells reads what comes of some streams until each has ended, in words such
// as "200", "hello", "end", "trailers x=y" and "reset CANCEL"; pieces of content
// are put together. What is of the connection stands under 0.
func (f *dialogue) tells(t *testing.T, streams ...uint32) map[uint32]string {
	t.Helper()
	told := make(map[uint32]string)
	open := make(map[uint32]bool)
	for _, s := range streams {
		open[s] = true
	}
	add := func(stream uint32, text string) { told[stream] = strings.TrimPrefix(told[stream]+" "+text, " ") }
	for len(open) > 0 {
		got, err := f.next()
		if err != nil {
			add(0, "closed")
			return told
		}
		switch got.kind {
		case headersFrame:
			for _, field := range got.fields {
				if field.Name == ":status" {
					add(got.stream, field.Value)
				} else if told[got.stream] != "" && got.pseudo("status") == "" {
					add(got.stream, field.Name+"="+field.Value)
				}
			}
		case dataFrame:
			if before, after := strings.CutSuffix(told[got.stream], "'"); after && len(got.payload) > 0 {
				told[got.stream] = before + string(got.payload) + "'"
			} else if len(got.payload) > 0 {
				add(got.stream, "'"+string(got.payload)+"'")
			}
		case resetFrame:
			add(got.stream, "reset "+codeOf(got.payload))
			delete(open, got.stream)
		case goAwayFrame:
			add(0, fmt.Sprint("goaway ", binary.BigEndian.Uint32(got.payload), " ", codeOf(got.payload[4:])))
		}
		if got.ended() {
			add(got.stream, "end")
			delete(open, got.stream)
		}
	}
	return told
}

// performer is an instance that speaks HTTP/2 in plain text, as a test says.
// It is safe for concurrent use.
type performer struct {
	address string

	mu    sync.Mutex // guards what follows
	conns int
	asked []string // the methods and paths of all requests, in order
}

// perform starts an instance. serve is called with each frame that says
// something, by one goroutine for each connection; what it returns false for
// ends the connection.
func perform(t *testing.T, settings []setting, serve func(f *dialogue, got frame) bool) *performer {
	t.Helper()
	ln := listen(t)
	p := &performer{address: ln.Addr().String()}
	var group sync.WaitGroup
	t.Cleanup(func() {
		_ = ln.Close()
		group.Wait()
	})
	group.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.conns++
			p.mu.Unlock()
			group.Go(func() { p.run(nc, settings, serve) })
		}
	})
	return p
}

func (p *performer) run(nc net.Conn, settings []setting, serve func(f *dialogue, got frame) bool) {
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(time.Minute))
	began := make([]byte, len(preface))
	if _, err := io.ReadFull(nc, began); err != nil || string(began) != preface {
		return
	}
	f := newDialogue(nc)
	f.settings(settings)
	for {
		got, err := f.next()
		if err != nil {
			return
		}
		if got.pseudo("method") != "" {
			p.mu.Lock()
			p.asked = append(p.asked, got.pseudo("method")+" "+got.pseudo("path"))
			p.mu.Unlock()
		}
		if !serve(f, got) {
			return
		}
	}
}

// answers returns what has an instance answer each request once its head, or
// the end of it, is there.
func answers(atTheEnd bool, answer func(f *dialogue, stream uint32) bool) func(*dialogue, frame) bool {
	return func(f *dialogue, got frame) bool {
		if atTheEnd && got.ended() || !atTheEnd && got.pseudo("method") != "" {
			return answer(f, got.stream)
		}
		return true
	}
}

// fine answers a request.
func fine(f *dialogue, stream uint32) bool {
	f.head(stream, false, ":status: 200")
	f.data(stream, true, "fine")
	return true
}
