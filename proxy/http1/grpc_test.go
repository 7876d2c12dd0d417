// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/routing"
)

func TestCallsAreKnownByTheirContentType(t *testing.T) {
	for _, tt := range []struct {
		fields string
		want   bool
	}{
		{"", false},
		{"Content-Type: application/grpc\r\n", true},
		{"content-type: Application/GRPC\r\n", true},
		{"Content-Type: application/grpc+proto\r\n", true},
		{"Content-Type: application/grpc;charset=x\r\n", true},
		{"Content-Type: application/grpc-web\r\n", false},
		{"Content-Type: application/grpc-web+proto\r\n", false},
		{"Content-Type: application/grpcx\r\n", false},
		{"Content-Type: application/json\r\n", false},
		{"X-Content-Type: application/grpc\r\n", false},
		{"Content-Type: application/gr\r\n", false},
	} {
		if got := headOf(t, tt.fields).callsGRPC(); got != tt.want {
			t.Errorf("%q: %t, want %t", tt.fields, got, tt.want)
		}
	}
}

func TestTimeoutsOfCalls(t *testing.T) {
	for _, tt := range []struct {
		value string
		want  time.Duration
		ok    bool
	}{
		{"1n", time.Nanosecond, true},
		{"250u", 250 * time.Microsecond, true},
		{"250m", 250 * time.Millisecond, true},
		{"12S", 12 * time.Second, true},
		{"3M", 3 * time.Minute, true},
		{"2H", 2 * time.Hour, true},
		{"00000001H", time.Hour, true},
		{"99999999S", 99999999 * time.Second, true},
		{"99999999H", longestGRPCTimeout, true},
		{"0m", time.Nanosecond, true},
		{"", 0, false},
		{"m", 0, false},
		{"12", 0, false},
		{"12s", 0, false},
		{"-1m", 0, false},
		{"1.5S", 0, false},
		{"123456789m", 0, false},
		{"12 m", 0, false},
	} {
		if got, ok := parseGRPCTimeout([]byte(tt.value)); got != tt.want || ok != tt.ok {
			t.Errorf("%q: %v, %t; want %v, %t", tt.value, got, ok, tt.want, tt.ok)
		}
	}
}

// What is told to an instance is read there as no more than there is.
func FuzzTimeoutsOfCalls(f *testing.F) {
	for _, v := range []string{"1n", "250m", "99999999H", "m", "12s", "000001S"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, value string) {
		d, ok := parseGRPCTimeout([]byte(value))
		if !ok {
			return
		}
		if d < 1 || d > longestGRPCTimeout {
			t.Fatalf("%q is %v", value, d)
		}
		told := append(appendGRPCTimeLeft(nil, int64(d)), 'm')
		again, ok := parseGRPCTimeout(told)
		if !ok || again > max(d, time.Millisecond) || d < 27*time.Hour && d-again >= time.Millisecond {
			t.Errorf("%q, which is %v, is told as %q", value, d, told)
		}
	})
}

func TestATimeoutIsTakenOutOfAHead(t *testing.T) {
	h := headOf(t, "Content-Type: application/grpc\r\nGRPC-Timeout: 250m\r\nX-A: b\r\n")
	if d, ok := h.takeGRPCTimeout(); d != 250*time.Millisecond || !ok {
		t.Fatalf("it is %v, %t", d, ok)
	}
	if out := appendRequest(nil, h, nil, new(edits), 0); bytes.Contains(bytes.ToLower(out), []byte("timeout")) {
		t.Errorf("it goes through as it came: %q", out)
	}
	h = headOf(t, "Content-Type: application/grpc\r\nGRPC-Timeout: soon\r\nX-A: b\r\n")
	if _, ok := h.takeGRPCTimeout(); ok {
		t.Fatal("what is no time was taken for one")
	}
	if out := appendRequest(nil, h, nil, new(edits), 0); !bytes.Contains(out, []byte("GRPC-Timeout: soon\r\n")) {
		t.Errorf("what is no time must go through: %q", out)
	}
}

func TestTheTimeLeftOfACallIsToldAnew(t *testing.T) {
	w := newWork()
	w.plan.grpc = true
	w.now = int64(time.Hour)
	w.end = w.now + int64(12345*time.Millisecond)
	w.out = append(w.out, "POST / HTTP/1.1\r\n\r\n"...)
	w.tellTimeLeft()
	w.out = append(w.out, "content"...)
	for _, tt := range []struct {
		passed time.Duration
		want   string
	}{
		{0, "12345m"},
		{345 * time.Millisecond, "12000m"},
		{11 * time.Second, "1000m"},
		{time.Hour, "1m"},
	} {
		w.now += int64(tt.passed)
		w.retellTimeLeft()
		if want := "POST / HTTP/1.1\r\ngrpc-timeout: " + tt.want + "\r\n\r\ncontent"; string(w.out) != want {
			t.Errorf("after %v: %q, want %q", tt.passed, w.out, want)
		}
	}
}

func TestCallsMayBeSilentForAsLongAsTunnels(t *testing.T) {
	shared := routing.DefaultBounds()
	c := &conn{w: newWork()}
	c.w.bounds = &shared
	c.w.head = *headOf(t, "Content-Type: application/grpc\r\nGrpc-Timeout: 2M\r\n")
	if got := c.call(time.Hour); got != 2*time.Minute || !c.w.hurried {
		t.Errorf("it may take %v, hurried: %t; want 2m0s and that it is", got, c.w.hurried)
	}
	if b := c.w.bounds; b.Idle != shared.Tunnel || b.FirstByte != 2*time.Minute {
		t.Errorf("it may be silent for %v, and answer within %v", b.Idle, b.FirstByte)
	}
	if shared != routing.DefaultBounds() {
		t.Error("the bounds of other exchanges were changed")
	}
	c.w.hurried = false
	c.w.head = *headOf(t, "Content-Type: application/grpc\r\nGrpc-Timeout: 2H\r\n")
	if got := c.call(time.Hour); got != time.Hour || c.w.hurried {
		t.Errorf("it may take %v, hurried: %t; want what its gateway allows", got, c.w.hurried)
	}
}

func TestStatusesOfCalls(t *testing.T) {
	for value, want := range map[string]uint8{"0": 1, "14": 15, "16": 17, "17": 18, "": 18, "-1": 18, "x": 18, "999999999999999999999": 18, "012": 18} {
		if got := parseGRPCStatus([]byte(value)); got != want {
			t.Errorf("%q: %d, want %d", value, got, want)
		}
	}
	var h head
	if _, reason := h.scanResponse([]byte("HTTP/1.1 200 \r\ncontent-type: application/grpc\r\nGrpc-Status: 14\r\ncontent-length: 0\r\n\r\n")); reason != live.None || h.grpcStatus() != 15 {
		t.Errorf("a head alone says %d (%v), want 15", h.grpcStatus(), reason)
	}
	if _, reason := h.scanResponse([]byte("HTTP/1.1 200 \r\ncontent-type: application/grpc\r\n\r\n")); reason != live.None || h.grpcStatus() != 0 {
		t.Errorf("a head that says nothing says %d (%v), want 0", h.grpcStatus(), reason)
	}
	for trailers, want := range map[string]uint8{"grpc-status: 5\r\n": 6, "Grpc-Status:0 \r\ngrpc-message: ok\r\n": 1, "grpc-message: ok\r\n": 0, "": 0} {
		var c chunks
		text := "3\r\nabc\r\n0\r\n" + trailers + "\r\n"
		if n, err := c.take([]byte(text)); n != len(text) || err != nil || c.grpc != want {
			t.Errorf("trailers %q say %d (%d bytes, %v), want %d", trailers, c.grpc, n, err, want)
		}
	}
}

func TestFailuresOfCalls(t *testing.T) {
	for i := range live.Reasons() {
		reason := live.Reason(i)
		if reason == live.None {
			continue
		}
		text := appendFailure(nil, failure{reason: reason, status: reason.Status(), grpc: true, close: true})
		answer, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(text)), nil)
		if err != nil {
			t.Fatalf("%v: %v", reason, err)
		}
		body, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		status, err := strconv.Atoi(answer.Header.Get("Grpc-Status"))
		if err != nil || status < 1 || status > 16 || answer.StatusCode != http.StatusOK || len(body) > 0 {
			t.Errorf("%v: %d with grpc-status %d (%v) and %d bytes", reason, answer.StatusCode, status, err, len(body))
		}
		if got := answer.Header.Get("Content-Type"); got != "application/grpc" {
			t.Errorf("%v: Content-Type %q", reason, got)
		}
		message, err := url.PathUnescape(answer.Header.Get("Grpc-Message"))
		if err != nil || message != reason.String()+": "+reason.Text() || answer.Header.Get("Sluice-Reason") != reason.String() {
			t.Errorf("%v: message %q (%v), Sluice-Reason %q", reason, message, err, answer.Header.Get("Sluice-Reason"))
		}
		if got := answer.Header.Get("Retry-After"); (got != "") != (reason.Status() == 503 || reason.Status() == 429) {
			t.Errorf("%v: Retry-After %q", reason, got)
		}
	}
}

func TestMessagesOfCallsAreEncoded(t *testing.T) {
	if got := string(appendGRPCMessage(nil, "100 % of \n\u00e4 ~")); got != "100 %25 of %0A%C3%A4 ~" {
		t.Errorf("got %q", got)
	}
}

func TestClientsSayWhetherTrailersAreWelcome(t *testing.T) {
	for fields, want := range map[string]bool{
		"": false, "TE: trailers\r\n": true, "te: gzip, Trailers\r\n": true, "TE: gzip\r\n": false, "Keep-Alive: trailers\r\n": false,
	} {
		w := newWork()
		w.head = *headOf(t, fields)
		got := string(w.takeTrailers([]byte("X-A: b\r\n")))
		if strings.HasPrefix(got, "TE: trailers\r\n") != want || !strings.HasSuffix(got, "X-A: b\r\n") {
			t.Errorf("%q becomes %q", fields, got)
		}
	}
}

// What must not stand in trailers ends a message of HTTP/1. Trailers that came
// by HTTP/2 are passed over: they are what an application calls its metadata.
func TestTrailersThatMustNotBe(t *testing.T) {
	const text = "3\r\nabc\r\n0\r\nx-a: b\r\nx-request-id: 1\r\nuser-agent: x\r\nx-c: d\r\nx_forwarded_for: 1\r\ngrpc-status: 3\r\nSluice-Reason: x\r\n\r\n"
	const want = "3\r\nabc\r\n0\r\nx-a: b\r\nx-c: d\r\ngrpc-status: 3\r\n\r\n"
	if _, err := new(chunks).take([]byte(text)); err == nil {
		t.Error("they are taken from HTTP/1")
	}
	for _, name := range []string{"content-length", "transfer-encoding", "host", "trailer", "connection", "te", "upgrade", "expect", "cookie", "content-encoding"} {
		c := chunks{lenient: true}
		if _, err := c.take([]byte("0\r\n" + name + ": 1\r\n\r\n")); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	for size := 1; size <= len(text); size++ {
		c := chunks{lenient: true}
		var kept, out []byte
		for rest := []byte(text); len(rest) > 0; {
			n := min(size, len(rest))
			kept = append(kept, rest[:n]...)
			rest = rest[n:]
			for again := true; again; again = c.skip > 0 {
				n, err := c.take(kept)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, kept[:n]...)
				kept = kept[n+c.skip:]
			}
		}
		if string(out) != want || !c.done() || c.grpc != 4 {
			t.Fatalf("in pieces of %d: %q, done: %t, status %d", size, out, c.done(), c.grpc)
		}
	}
}
