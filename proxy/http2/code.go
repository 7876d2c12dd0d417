// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"errors"
	"strconv"
)

// Code says why a stream or a connection ends (RFC 9113 section 7).
type Code uint32

// The codes.
const (
	NoError            Code = 0x0
	ProtocolError      Code = 0x1
	InternalError      Code = 0x2
	FlowControlError   Code = 0x3
	SettingsTimeout    Code = 0x4
	StreamClosed       Code = 0x5
	FrameSizeError     Code = 0x6
	RefusedStream      Code = 0x7
	Cancel             Code = 0x8
	CompressionError   Code = 0x9
	ConnectError       Code = 0xa
	EnhanceYourCalm    Code = 0xb
	InadequateSecurity Code = 0xc
	HTTP11Required     Code = 0xd
)

var codeNames = [...]string{
	"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
	"FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
	"INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
}

// String returns the name that RFC 9113 gives the code, or its number.
func (c Code) String() string {
	if int64(c) < int64(len(codeNames)) {
		return codeNames[c]
	}
	return "code " + strconv.FormatUint(uint64(c), 10)
}

// ConnError reports why a connection ended before its time.
type ConnError struct {
	Code Code
	// Text says what was wrong.
	Text string
	// Peer reports that the peer found it, and said so by GOAWAY.
	Peer bool

	ending Ending
}

func (e *ConnError) Error() string {
	text := "http2: " + e.Code.String()
	if e.Peer {
		text = "http2: the peer ended the connection: " + e.Code.String()
	}
	if e.Text == "" {
		return text
	}
	return text + ": " + e.Text
}

// ResetError reports that the peer ended a stream before its message was
// complete.
type ResetError struct{ Code Code }

func (e *ResetError) Error() string { return "http2: stream reset: " + e.Code.String() }

var (
	// ErrRefused reports that a stream was not begun, or that the peer did
	// nothing about it.
	ErrRefused = errors.New("http2: stream refused")
	// ErrGone reports that the connection had ended, or was about to.
	ErrGone = errors.New("http2: the connection has ended")

	errOver = errors.New("http2: the stream is over")
)

// resets has an error for each code, so that none is made for a stream.
var resets = func() (t [len(codeNames)]*ResetError) {
	for i := range t {
		t[i] = &ResetError{Code: Code(i)}
	}
	return t
}()

func resetBy(code Code) error {
	if int64(code) < int64(len(resets)) {
		return resets[code]
	}
	return &ResetError{Code: code}
}

// broken is the fault of a peer that breaks the protocol.
func broken(code Code, text string) *ConnError {
	return &ConnError{Code: code, Text: text, ending: EndedProtocol}
}
