// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"crypto/sha1" //nolint:gosec // as RFC 6455 has it
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
)

// A WebSocket as RFC 6455 has it: as much of it as the tests speak.

const textFrame, closeFrame = 1, 8

// webSocket is one side of a WebSocket.
type webSocket struct {
	net.Conn
	r      *bufio.Reader
	masked bool // what it sends: that of clients is (section 5.3)
}

// accepts returns what a server answers to a client's key (section 4.2.2).
func accepts(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // it proves that the server understood
	return base64.StdEncoding.EncodeToString(sum[:])
}

const sampleKey = "dGhlIHNhbXBsZSBub25jZQ=="

// handshake is what a client sends; more is whole lines.
func handshake(more string) string {
	return "GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: " + sampleKey + "\r\nSec-WebSocket-Version: 13\r\n" + more + "\r\n"
}

// openWebSocket makes a WebSocket of a connection. It returns the fields of
// the answer, too.
func openWebSocket(nc net.Conn, more string) (*webSocket, http.Header, error) {
	if _, err := io.WriteString(nc, handshake(more)); err != nil {
		return nil, nil, err
	}
	ws := &webSocket{Conn: nc, r: bufio.NewReaderSize(nc, 512), masked: true}
	got, err := http.ReadResponse(ws.r, nil)
	if err != nil {
		return nil, nil, err
	}
	_ = got.Body.Close() // there is none
	if got.StatusCode != http.StatusSwitchingProtocols || got.Header.Get("Sec-WebSocket-Accept") != accepts(sampleKey) ||
		got.Header.Get("Upgrade") != "websocket" || got.Header.Get("Connection") != "Upgrade" {
		return nil, got.Header, fmt.Errorf("no agreement: %s %v", got.Status, got.Header)
	}
	return ws, got.Header, nil
}

// send sends one frame in one write.
func (ws *webSocket) send(kind byte, payload string) error {
	b := []byte{0x80 | kind, byte(len(payload))}
	if len(payload) > 125 {
		b[1] = 126
		b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
	}
	if !ws.masked {
		_, err := ws.Write(append(b, payload...))
		return err
	}
	mask := [4]byte{1, 2, 3, 4}
	b[1] |= 0x80
	b = append(b, mask[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i%4])
	}
	_, err := ws.Write(b)
	return err
}

// receive reads one frame.
func (ws *webSocket) receive() (kind byte, payload string, err error) {
	var head [2]byte
	if _, err := io.ReadFull(ws.r, head[:]); err != nil {
		return 0, "", err
	}
	size := int(head[1] & 0x7f)
	if size == 126 {
		var long [2]byte
		if _, err := io.ReadFull(ws.r, long[:]); err != nil {
			return 0, "", err
		}
		size = int(binary.BigEndian.Uint16(long[:]))
	}
	var mask [4]byte
	if head[1]&0x80 != 0 {
		if _, err := io.ReadFull(ws.r, mask[:]); err != nil {
			return 0, "", err
		}
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(ws.r, b); err != nil {
		return 0, "", err
	}
	for i := range b {
		b[i] ^= mask[i%4]
	}
	return head[0] & 0x0f, string(b), nil
}

// echoes sends a text and expects it back.
func (ws *webSocket) echoes(text string) error {
	if err := ws.send(textFrame, text); err != nil {
		return err
	}
	kind, got, err := ws.receive()
	if err == nil && (kind != textFrame || got != text) {
		err = fmt.Errorf("got %q of kind %d, want the text back", got, kind)
	}
	return err
}

// webSocketOrigin accepts WebSockets, and says each text back that they send,
// until they close. It answers other requests with ok.
func webSocketOrigin(t *testing.T) string {
	t.Helper()
	ln := listen(t)
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go serveWebSocket(nc)
		}
	}()
	return ln.Addr().String()
}

func serveWebSocket(nc net.Conn) {
	defer nc.Close()
	ws := &webSocket{Conn: nc, r: bufio.NewReaderSize(nc, 512)}
	for agreed := false; !agreed; {
		r, err := http.ReadRequest(ws.r)
		if err != nil {
			return
		}
		agreed = r.Header.Get("Upgrade") == "websocket" && r.Header.Get("Connection") == "Upgrade"
		answer := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
		if agreed {
			answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
				accepts(r.Header.Get("Sec-WebSocket-Key")) + "\r\n\r\n"
		}
		if _, err := io.WriteString(nc, answer); err != nil {
			return
		}
	}
	for {
		kind, text, err := ws.receive()
		if err != nil || ws.send(kind, text) != nil || kind == closeFrame {
			return
		}
	}
}
