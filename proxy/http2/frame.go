// SPDX-License-Identifier: Apache-2.0

package http2

import "encoding/binary"

// Types of frames (RFC 9113 section 6).
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	framePriority     = 0x2
	frameReset        = 0x3
	frameSettings     = 0x4
	framePush         = 0x5
	framePing         = 0x6
	frameGoAway       = 0x7
	frameWindow       = 0x8
	frameContinuation = 0x9
)

// Flags of frames.
const (
	flagAck        = 0x1
	flagEndStream  = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

// Settings (RFC 9113 section 6.5.2).
const (
	settingTable      = 0x1
	settingPush       = 0x2
	settingStreams    = 0x3
	settingWindow     = 0x4
	settingFrame      = 0x5
	settingHeaderList = 0x6
)

const (
	frameHeader = 9 // bytes in front of each payload
	// smallestFrame is what each side must take, and the most that is sent.
	smallestFrame = 16 << 10
	largestFrame  = 1<<24 - 1
	largestWindow = 1<<31 - 1
	// usualWindow is each window before anything is said of it.
	usualWindow = 65535
	largestID   = 1<<31 - 1
)

// preface is what a client begins with (RFC 9113 section 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// frame is one frame; its payload is a view of what was read.
type frame struct {
	kind    byte
	flags   byte
	id      uint32
	payload []byte
}

func (f *frame) has(flag byte) bool { return f.flags&flag != 0 }

// parseFrame reads the header at the start of b, which has all of its bytes,
// and returns the length of the payload.
func parseFrame(b []byte) (f frame, length int) {
	length = int(b[0])<<16 | int(b[1])<<8 | int(b[2])
	return frame{kind: b[3], flags: b[4], id: binary.BigEndian.Uint32(b[5:]) & largestID}, length
}

// unpad takes the padding off a payload, and its length.
func (f *frame) unpad() bool {
	if !f.has(flagPadded) {
		return true
	}
	if len(f.payload) == 0 || int(f.payload[0]) >= len(f.payload) {
		return false
	}
	f.payload = f.payload[1 : len(f.payload)-int(f.payload[0])]
	return true
}

func appendFrame(b []byte, length int, kind, flags byte, id uint32) []byte {
	return append(b, byte(length>>16), byte(length>>8), byte(length), kind, flags,
		byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
}

func appendReset(b []byte, id uint32, code Code) []byte {
	b = appendFrame(b, 4, frameReset, 0, id)
	return binary.BigEndian.AppendUint32(b, uint32(code))
}

func appendWindow(b []byte, id uint32, n int) []byte {
	b = appendFrame(b, 4, frameWindow, 0, id)
	return binary.BigEndian.AppendUint32(b, uint32(n))
}

func appendPing(b []byte, flags byte, data [8]byte) []byte {
	b = appendFrame(b, len(data), framePing, flags, 0)
	return append(b, data[:]...)
}

func appendGoAway(b []byte, last uint32, code Code, text string) []byte {
	b = appendFrame(b, 8+len(text), frameGoAway, 0, 0)
	b = binary.BigEndian.AppendUint32(b, last)
	b = binary.BigEndian.AppendUint32(b, uint32(code))
	return append(b, text...)
}

// setting is one entry of a SETTINGS frame.
type setting struct {
	id    uint16
	value uint32
}

func appendSettings(b []byte, settings ...setting) []byte {
	b = appendFrame(b, 6*len(settings), frameSettings, 0, 0)
	for _, s := range settings {
		b = binary.BigEndian.AppendUint16(b, s.id)
		b = binary.BigEndian.AppendUint32(b, s.value)
	}
	return b
}

// startBlock makes room for the header of a frame that holds a header list,
// and endBlock fills it in: what does not fit one frame of so many bytes goes
// into CONTINUATION frames.
func startBlock(b []byte) (out []byte, at int) {
	return appendFrame(b, 0, frameHeaders, 0, 0), len(b)
}

func endBlock(b []byte, at int, id uint32, ended bool, most int) []byte {
	flags := byte(0)
	if ended {
		flags = flagEndStream
	}
	length := len(b) - at - frameHeader
	if length <= most {
		appendFrame(b[:at], length, frameHeaders, flags|flagEndHeaders, id)
		return b
	}
	rest := append([]byte(nil), b[at+frameHeader+most:]...)
	appendFrame(b[:at], most, frameHeaders, flags, id)
	b = b[:at+frameHeader+most]
	for len(rest) > 0 {
		n := min(most, len(rest))
		flags = 0
		if n == len(rest) {
			flags = flagEndHeaders
		}
		b = appendFrame(b, n, frameContinuation, flags, id)
		b = append(b, rest[:n]...)
		rest = rest[n:]
	}
	return b
}
