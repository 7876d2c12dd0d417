// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/test/wire"
)

// The gateways here are no good, each in its way.

// relay passes all bytes on, whatever they are.
func relay(client, origin net.Conn) {
	var wg sync.WaitGroup
	wg.Go(func() { pass(origin, client) })
	pass(client, origin)
	wg.Wait()
}

// pass copies until the source ends, and ends the destination alike.
func pass(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if err != nil {
		_ = to.(*net.TCPConn).SetLinger(0)
		_ = to.Close()
		return
	}
	_ = to.(*net.TCPConn).CloseWrite()
}

// shorten passes on the first request as one without fields and content.
func shorten(client, origin net.Conn) {
	var b [4096]byte
	n, err := client.Read(b[:])
	if err != nil {
		return
	}
	line, _, _ := bytes.Cut(b[:n], []byte("\r\n"))
	_, _ = origin.Write(append(line, "\r\nHost: a\r\n\r\n"...))
	pass(client, origin)
}

// canned answers each head with the same text, and passes on probes alone.
type canned struct {
	answer string
	close  bool // ends the connection after the first answer
}

func (g canned) serve(client, origin net.Conn) {
	defer client.Close()
	var got []byte
	var b [4096]byte
	for {
		n, err := client.Read(b[:])
		if err != nil {
			return
		}
		got = append(got, b[:n]...)
		for {
			head, rest, ok := bytes.Cut(got, []byte("\r\n\r\n"))
			if !ok {
				break
			}
			got = rest
			if !bytes.Contains(head, []byte(" /probe/")) {
				_, _ = io.WriteString(client, g.answer)
				if g.close {
					return
				}
				continue
			}
			_, _ = origin.Write(append(head, "\r\n\r\n"...))
			n, err := origin.Read(b[:])
			if err != nil {
				return
			}
			_, _ = client.Write(b[:n])
		}
	}
}

// front runs a gateway in front of an origin; each client's connection has
// one of its own.
func front(t *testing.T, origin net.Addr, serve func(client, origin net.Conn)) netip.AddrPort {
	t.Helper()
	ln := listen(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			behind, err := net.Dial("tcp", origin.String()) //nolint:noctx // loopback, for as long as the case
			if err != nil {
				_ = client.Close()
				continue
			}
			wg.Go(func() {
				serve(client, behind)
				_ = client.Close()
				_ = behind.(*net.TCPConn).SetLinger(0) // its port is free at once
				_ = behind.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		wg.Wait()
	})
	return ln.Addr().(*net.TCPAddr).AddrPort()
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// playAt plays one text at a gateway.
func playAt(t *testing.T, text string, serve func(client, origin net.Conn)) error {
	t.Helper()
	c, err := wire.Parse("a/b", []byte(headerText+text))
	if err != nil {
		t.Fatal(err)
	}
	origin := listen(t)
	gateway := front(t, origin.Addr(), serve)
	return c.Run(context.Background(), gateway, origin, 5*time.Second)
}

// sameFault reports whether an error has the wanted text, or is nil as
// wanted.
func sameFault(err error, want string) bool {
	if want == "" || err == nil {
		return want == "" && err == nil
	}
	return strings.Contains(err.Error(), want)
}

// TestAnswersAreJudged plays claims at a gateway that gives a known answer.
func TestAnswersAreJudged(t *testing.T) {
	t.Parallel()
	const (
		get  = "--- client ---\nGET / HTTP/1.1\nHost: a\n\n--- origin sees nothing ---\n--- client sees ---\n"
		head = "HTTP/1.1 200 OK\r\nX-A: 1\r\nX-B: 2\r\nX-A: 3\r\n"
		ok   = head + "Content-Length: 5\r\n\r\nhello"
		cut  = head + "Content-Length: 6\r\n\r\nhello"
	)
	for _, tt := range []struct {
		name   string
		answer canned
		claims string
		want   string // in the fault; empty if all holds
	}{
		{"a status holds", canned{ok, false}, "status 200", ""},
		{"a status of a list holds", canned{ok, false}, "status 400 200", ""},
		{"a status of a range holds", canned{ok, false}, "status 100-299", ""},
		{"another status does not", canned{ok, false}, "status 201 300-399", "status 200, want 201 or 300-399"},
		{"a start line holds", canned{ok, false}, "line HTTP/1.1 200 OK", ""},
		{"another start line does not", canned{ok, false}, "line HTTP/1.1 200 Ok", "start line"},
		{"a field is there", canned{ok, false}, "status 200\nhas X-A: 3\nonly X-B: 2", ""},
		{"a field is not there", canned{ok, false}, "status 200\nhas X-C: 3", "no field X-C"},
		{"a field has another value", canned{ok, false}, "status 200\nhas X-A: 2", `"1 and 3", want "2"`},
		{"a field is found in any letter case", canned{ok, false}, "status 200\nhas x-a: 3", ""},
		{"lines of a field hold", canned{ok, false}, "status 200\nlines x-a: 1 | 3", ""},
		{"lines of a field are in another order", canned{ok, false}, "status 200\nlines X-A: 3 | 1", "lines of X-A"},
		{"a start holds", canned{ok, false}, "starts HTTP/1.1 2\nstatus 200", ""},
		{"another start does not", canned{ok, false}, "starts HTTP/1.1 3\nstatus 200", "start line"},
		{"a field is not the only one", canned{ok, false}, "status 200\nonly X-A: 3", "2 fields X-A"},
		{"a field that must not be there is", canned{ok, false}, "status 200\nno x-b", "want none"},
		{"fields are in order", canned{ok, false}, "status 200\norder X-A X-B X-A", ""},
		{"fields are not in order", canned{ok, false}, "status 200\norder X-B Content-Length X-A", "does not stand where it was"},
		{"bytes are in the head", canned{ok, false}, "status 200\nraw 1\\r\\nX-B", ""},
		{"bytes are not in the head", canned{ok, false}, "status 200\nraw 1\\r\\nX-A", "no bytes"},
		{"bytes that must not be there are", canned{ok, false}, "status 200\nno-raw X-B", "bytes"},
		{"a body holds", canned{ok, false}, "status 200\nbody hello\nsize 5\nframing length", ""},
		{"another body does not", canned{ok, false}, "status 200\nbody hell", "body"},
		{"another size does not", canned{ok, false}, "status 200\nsize 4", "body of 5 bytes"},
		{"another framing does not", canned{ok, false}, "status 200\nframing chunked", "framing"},
		{"chunks are put together", canned{head + "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x\r\nllo\r\n0\r\nX-T: 1\r\n\r\n", false}, "status 200\nbody hello\ntrailer X-T: 1\nno-trailer X-U\nframing chunked\nkept", ""},
		{"a trailer must not be there", canned{head + "Transfer-Encoding: chunked\r\n\r\n0\r\nX-T: 1\r\n\r\n", false}, "status 200\nno-trailer x-t", "want none"},
		{"a body ends with the connection", canned{head + "\r\nhello", true}, "status 200\nbody hello\nframing close", ""},
		{"a cut length is seen", canned{cut, true}, "cut", ""},
		{"a cut chunk is seen", canned{head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhell", true}, "cut", ""},
		{"a missing last chunk is seen", canned{head + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", true}, "cut", ""},
		{"a cut head is seen", canned{"HTTP/1.1 200 OK\r\nX-", true}, "cut", ""},
		{"a cut answer is none", canned{cut, true}, "status 200", "is cut short"},
		{"a whole answer is not cut", canned{ok, false}, "cut", "is whole"},
		{"a whole answer may be good as well", canned{ok, false}, "cut or 200", ""},
		{"a whole answer of another status may not", canned{ok, false}, "cut or 502", "is whole"},
		{"a close is seen", canned{ok, true}, "status 200\nclosed", ""},
		{"a kept connection is not closed", canned{ok, false}, "status 200\nclosed", "want the connection closed"},
		{"a closed connection is not kept", canned{ok, true}, "status 200\nkept", "want it kept"},
		{"no answer is seen", canned{"", true}, "nothing", ""},
		{"no answer is no status", canned{"", true}, "status 200", "without one"},
		{"an answer is not none", canned{ok, true}, "nothing", "want none"},
		{"answers before are listed", canned{"HTTP/1.1 103 A\r\n\r\nHTTP/1.1 102 B\r\n\r\n" + ok, false}, "status 200\ninterim 103 102", ""},
		{"answers before are not expected", canned{"HTTP/1.1 103 A\r\n\r\n" + ok, false}, "status 200\ninterim none", "interim"},
		{"an answer to HEAD has no body", canned{head + "Content-Length: 5\r\n\r\n", false}, "answers HEAD\nstatus 200\nkept", ""},
		{"an answer to HEAD has a body", canned{ok, false}, "answers HEAD\nstatus 200\nkept", "gets"},
		{"bytes behind an answer are seen", canned{ok + "x", false}, "status 200\nkept", "gets"},
		{"a second answer is seen", canned{ok + ok, false}, "status 200\nkept", "not its own"},
		{"a second answer is seen before the end", canned{ok + ok, true}, "status 200\nclosed", "not its own"},
		{"a bare LF is no line end", canned{"HTTP/1.1 200 OK\nContent-Length: 0\n\n", false}, "status 200", "LF alone"},
		{"two lengths are malformed", canned{head + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", false}, "status 200", "two Content-Length"},
		{"length and coding are malformed", canned{head + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false}, "status 200", "both"},
		{"a bad chunk is malformed", canned{head + "Transfer-Encoding: chunked\r\n\r\nx\r\n", false}, "status 200", "no chunk size"},
		{"a blank in a name is malformed", canned{"HTTP/1.1 200 OK\r\nX A: 1\r\n\r\n", false}, "status 200", "no token"},
		{"another version is malformed", canned{"HTTP/1.2 200 OK\r\n\r\n", false}, "status 200", "no status line"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := playAt(t, get+tt.claims+"\n", tt.answer.serve)
			if !sameFault(err, tt.want) {
				t.Errorf("answer %q, claims %q: fault %v, want %q", tt.answer.answer, tt.claims, err, tt.want)
			}
		})
	}
}

// TestRequestsAreJudged plays requests at a gateway that passes them on as
// they are.
func TestRequestsAreJudged(t *testing.T) {
	t.Parallel()
	const (
		seen   = "--- origin sees ---\n"
		answer = "--- origin ---\nHTTP/1.1 200 OK\nContent-Length: 0\n\n--- client sees ---\nstatus 200\n"
		get    = "--- client ---\nGET / HTTP/1.1\nHost: a\nX-A: 1\n\n"
		post   = "--- client ---\nPOST / HTTP/1.1\nHost: a\nContent-Length: 5\n\n"
	)
	for _, tt := range []struct{ name, text, want string }{
		{"claims hold", get + seen + "line GET / HTTP/1.1\nonly X-A: 1\nno X-B\nbody\nframing none\n" + answer, ""},
		{"a claim does not", get + seen + "only X-A: 2\n" + answer, "origin: request 1: field X-A"},
		{"a body holds", post + "hello\\\n" + seen + "body hello\n" + answer, ""},
		{"a body does not", post + "hello\\\n" + seen + "body world\n" + answer, "origin: request 1: body"},
		{"a request comes that is not expected", get + "--- origin sees nothing ---\n--- client sees ---\nstatus 200\n", "which no block expects"},
		{"a second request comes that is not expected", get + "GET /2 HTTP/1.1\nHost: a\n\n" + seen + "line GET / HTTP/1.1\n" + answer, "GET /2"},
		{"a request does not come", "--- client ---\n{{close}}\n" + seen + "body\n", "does not come"},
		{"a request need not come", "--- client ---\n{{close}}\n--- origin may see ---\nbody\n", ""},
		{"a request that comes is judged though it need not", get + "--- origin may see ---\nonly X-A: 2\n" + answer, "field X-A"},
		{"a cut request is seen", post + "hell\\\n{{close}}\n" + seen + "cut\n", ""},
		{"a reset request is seen", post + "hell\\\n{{reset}}\n" + seen + "cut\n", ""},
		{"a cut request is none", post + "hell\\\n{{close-write}}\n" + seen + "body hell\n", "is cut short"},
		{"a whole request is not cut", post + "hello\\\n" + seen + "cut\n" + answer, "is whole"},
		{"a head without end is seen", "--- client ---\nGET / HTTP/1.1\nHo\\\n{{close-write}}\n--- origin sees nothing ---\n", "no whole head"},
		{"a bare LF is seen", "--- client ---\nGET / HTTP/1.1\\n\\\nHost: a\n\n--- origin sees nothing ---\n--- client sees ---\nnothing\n", "LF alone"},
		{"two hosts are seen", "--- client ---\nGET / HTTP/1.1\nHost: a\nHost: b\n\n--- origin sees nothing ---\n--- client sees ---\nnothing\n", "not one Host"},
		{"another version is seen", "--- client ---\nGET / HTTP/2.0\nHost: a\n\n--- origin sees nothing ---\n--- client sees ---\nnothing\n", "no request line"},
		{"an unknown coding is seen", "--- client ---\nGET / HTTP/1.1\nHost: a\nTransfer-Encoding: x\n\n--- origin sees nothing ---\n--- client sees ---\nnothing\n", "other than chunked"},
		{"a first connection is new", get + seen + "connection new\n" + answer, ""},
		{"a first connection is not the same", get + seen + "connection same\n" + answer, "connection is not same"},
		{"a second request is on the same", get + seen + "body\n" + answer + get + seen + "connection same\n" + answer, ""},
		{"another client's is not", get + seen + "body\n" + answer + "--- client 2 ---\nGET / HTTP/1.1\nHost: a\n\n" + seen + "connection same\n--- origin ---\nHTTP/1.1 200 OK\nContent-Length: 0\n\n--- client 2 sees ---\nstatus 200\n", "connection is not same"},
		{"an answer may come before the body", post + seen + "body hello\n--- origin at once ---\nHTTP/1.1 100 Continue\n\n{{body}}\nHTTP/1.1 200 OK\nContent-Length: 0\n\n--- client sees ---\nstatus 100\n--- client ---\nhello\\\n--- client sees ---\nstatus 200\nkept\n", ""},
		{"an origin goes on if it is expected to", "--- client ---\nPOST / HTTP/1.1\nHost: a\nExpect: 100-continue\nContent-Length: 5\n\n" + seen + "body hello\n--- origin at once ---\n{{continue}}\n{{body}}\nHTTP/1.1 200 OK\nContent-Length: 0\n\n--- client sees ---\nstatus 100\n--- client ---\nhello\\\n--- client sees ---\nstatus 200\nkept\n", ""},
		{"an origin goes on silently if it is not", post + "hello\\\n" + seen + "body hello\n--- origin at once ---\n{{continue}}\n{{body}}\nHTTP/1.1 200 OK\nContent-Length: 0\n\n--- client sees ---\nstatus 200\ninterim none\n", ""},
		{"both sides wait for each other", get + seen + "body\n--- origin ---\n{{await go}}\nHTTP/1.1 200 OK\nContent-Length: 0\n\n--- client ---\n{{signal go}}\n--- client sees ---\nstatus 200\n", ""},
		{"bytes go both ways after a switch", get + seen + "body\n--- origin ---\nHTTP/1.1 101 X\n\n--- origin reads ---\nping\n--- origin ---\npong\n--- client sees ---\nstatus 101\n--- client ---\nping\n--- client reads ---\npong\n", ""},
		{"other bytes come after a switch", get + seen + "body\n--- origin ---\nHTTP/1.1 101 X\n\npong\n{{close}}\n--- client sees ---\nstatus 101\n--- client reads ---\nping\n", `reads bytes "pong\r\n", want "ping\r\n"`},
		{"an answer that is cut by a reset is cut", get + seen + "body\n--- origin ---\nHTTP/1.1 200 OK\n\nhello\\\n{{reset}}\n--- client sees ---\ncut\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if err := playAt(t, tt.text, relay); !sameFault(err, tt.want) {
				t.Errorf("%s\nfault %v, want %q", tt.text, err, tt.want)
			}
		})
	}
}

// TestAnotherClientsAnswerIsSeen plays at a gateway that gives an answer to
// the client that comes next.
func TestAnotherClientsAnswerIsSeen(t *testing.T) {
	var mu sync.Mutex // guards left
	left := ""
	err := playAt(t, "--- client ---\nGET / HTTP/1.1\nHost: a\n\n--- origin sees nothing ---\n--- client sees ---\nstatus 200\nclosed\n", func(client, origin net.Conn) {
		mu.Lock()
		now := left
		left = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen"
		mu.Unlock()
		if now == "" {
			now = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
		}
		canned{now, true}.serve(client, origin)
	})
	if err != nil {
		t.Fatalf("probes are passed on: %v", err)
	}
	err = playAt(t, "--- client ---\nGET / HTTP/1.1\nHost: a\n\n--- origin sees nothing ---\n--- client sees ---\nstatus 200\nclosed\n", func(client, _ net.Conn) {
		var b [4096]byte
		_, _ = client.Read(b[:])
		_, _ = io.WriteString(client, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen")
	})
	if !sameFault(err, "a fresh connection afterwards gets") {
		t.Errorf("fault %v, want that a fresh connection gets another answer", err)
	}
}

// TestASilentGatewayIsNotWaitedForLonger than patience lasts.
func TestASilentGatewayIsNotWaitedForLonger(t *testing.T) {
	c, err := wire.Parse("a/b", []byte(headerText+bodyText))
	if err != nil {
		t.Fatal(err)
	}
	origin := listen(t)
	gateway := front(t, origin.Addr(), func(client, _ net.Conn) { _, _ = io.Copy(io.Discard, client) })
	err = c.Run(t.Context(), gateway, origin, 50*time.Millisecond)
	if !sameFault(err, "does not come, nor an end") {
		t.Errorf("fault %v, want that the answer does not come", err)
	}
}
