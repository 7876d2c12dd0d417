// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// listOf reads a header list: fields end with a line of "\x1e", names with
// "\x1f", so that names and values may hold whatever breaks a text of HTTP/1.
func listOf(b string) []hpack.HeaderField {
	var list []hpack.HeaderField
	for f := range strings.SplitSeq(b, "\x1e") {
		name, value, _ := strings.Cut(f, "\x1f")
		list = append(list, hpack.HeaderField{Name: name, Value: value})
	}
	return list
}

func seedOf(list []hpack.HeaderField) string {
	s := make([]string, len(list))
	for i, f := range list {
		s[i] = f.Name + "\x1f" + f.Value
	}
	return strings.Join(s, "\x1e")
}

// saysThe checks that the lines of a head are those fields that the list has,
// and nothing besides: each line is one field, in the list's order.
func saysThe(t *testing.T, list []hpack.HeaderField, head string, request bool) {
	t.Helper()
	lines, ok := strings.CutSuffix(head, "\r\n\r\n")
	if !ok || strings.Contains(lines, "\r\n\r\n") {
		t.Fatalf("the text of %q is not one head: %q", list, head)
	}
	if strings.Count(head, "\n") != strings.Count(head, "\r\n") || strings.Count(head, "\r") != strings.Count(head, "\r\n") || strings.Contains(head, "\x00") {
		t.Fatalf("the text of %q has loose line breaks: %q", list, head)
	}
	var want, crumbs []string
	for _, f := range list {
		switch {
		case strings.HasPrefix(f.Name, ":"), f.Name == "host" && request, f.Name == "content-length":
		case f.Name == "cookie" && request:
			crumbs = append(crumbs, f.Value)
		default:
			want = append(want, f.Name+": "+f.Value)
		}
	}
	var got []string
	var cookie string
	for _, l := range strings.Split(lines, "\r\n")[1:] {
		switch name, value, _ := strings.Cut(l, ": "); name {
		case "Host", "Content-Length", "Transfer-Encoding":
		case "cookie":
			if request {
				cookie = value
				continue
			}
			fallthrough
		default:
			got = append(got, l)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the text of %q has the fields %q, want %q", list, got, want)
	}
	// Empty crumbs say nothing.
	if got, want := strings.ReplaceAll(cookie, "; ", ""), strings.ReplaceAll(strings.Join(crumbs, ""), "; ", ""); got != want {
		t.Errorf("the text of %q has the cookie %q, want %q", list, got, want)
	}
}

// FuzzRequestText: a header list becomes the head of one request that says the
// same, for net/http and when it is turned back into a list, or nothing.
func FuzzRequestText(f *testing.F) {
	for _, s := range [][]hpack.HeaderField{
		get(), post("content-length: 3"), post("te: trailers", "trailer: x"),
		get("cookie: a=1", "cookie: b=2", "accept: \xff", "x: "),
		get("x: y\r\n\r\nGET /evil HTTP/1.1"), get("x\r\ny: z"), get("host: shop.example"),
		fields(":method: GET /x HTTP/1.1\r\n", ":scheme: http", ":authority: a", ":path: /"),
		fields(":method: OPTIONS", ":scheme: http", ":authority: a", ":path: *"),
		fields(":method: CONNECT", ":authority: a:1"),
		fields(":method: GET", ":scheme: http", ":authority: a b", ":path: / HTTP/1.1\r\nx: y"),
		post("content-length: 1", "content-length: 2"), post("transfer-encoding: chunked"),
	} {
		f.Add(seedOf(s), true)
		f.Add(seedOf(s), false)
	}
	f.Fuzz(func(t *testing.T, b string, ended bool) {
		list := listOf(b)
		text, c, fault := requestOf(list, ended)
		if fault != wellFormed {
			if text != "" {
				t.Errorf("the list %q is malformed, but has the text %q", list, text)
			}
			return
		}
		if c.form == passedOver {
			if strings.Contains(text, "\r\n\r\n") {
				t.Errorf("the list %q is too long, but has a whole head: %q", list, text)
			}
			return
		}
		saysThe(t, list, text, true)
		sameRequest(t, list, text, c)
		backToList(t, list, text)
	})
}

// sameRequest checks that net/http, if it takes the text, reads in it what the
// list says, and content where it is.
func sameRequest(t *testing.T, list []hpack.HeaderField, text string, c content) {
	t.Helper()
	const body = "the content"
	behind, fault := c.appendData(nil, []byte(body[:max(0, min(c.want, int64(len(body))))]))
	if c.form == byChunks && c.want < 0 {
		behind, fault = c.appendData(nil, []byte(body))
	}
	if fault != wellFormed {
		t.Fatalf("content of %q: %s", list, fault)
	}
	if c.want < 0 || c.want == c.got {
		if behind, fault = c.appendEnd(behind, nil); fault != wellFormed {
			t.Fatalf("content of %q: %s", list, fault)
		}
	}
	r := bufio.NewReader(strings.NewReader(text + string(behind) + "NEXT"))
	got, err := http.ReadRequest(r)
	if err != nil {
		return // it refuses more, as our scanner does
	}
	method, path, host := first(list, ":method"), first(list, ":path"), first(list, ":authority")
	if host == "" {
		host = first(list, "host")
	}
	if method == "CONNECT" {
		path = host
	}
	if got.Method != method || got.RequestURI != path || got.Host != host {
		t.Errorf("the text of %q asks for %s %s of %s: %q", list, got.Method, got.RequestURI, got.Host, text)
	}
	if c.want >= 0 && c.want != c.got {
		return
	}
	if read, err := io.ReadAll(got.Body); err != nil || int64(len(read)) != c.got {
		t.Errorf("the text of %q has the content %q, %v, want %d bytes", list, read, err, c.got)
	}
	if rest, err := io.ReadAll(r); err != nil || string(rest) != "NEXT" {
		t.Errorf("behind the text of %q stands %q, %v", list, rest, err)
	}
}

func first(list []hpack.HeaderField, name string) string {
	for _, f := range list {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// backToList checks that the text, as it goes to an instance, becomes the list
// that it came from, less what ends here.
func backToList(t *testing.T, list []hpack.HeaderField, text string) {
	t.Helper()
	if first(list, ":method") == "CONNECT" {
		return
	}
	var m message
	m.beginRequest()
	p, _, _, err := m.next([]byte(text), 0)
	if p != partHead || err != nil {
		t.Fatalf("the text of %q is read as %d, %v: %q", list, p, err, text)
	}
	back, err := hpack.NewDecoder(0, nil).DecodeFull(m.appendHead(nil, first(list, ":scheme") == "https"))
	if err != nil {
		t.Fatalf("the text of %q becomes a block that is none: %v", list, err)
	}
	if !slices.Equal(sorted(back), sorted(list)) {
		t.Errorf("the text of %q becomes the list %q", sorted(list), sorted(back))
	}
	var again requestText
	again.reset(64 << 10)
	for _, f := range back {
		again.add(f)
	}
	if again.fault != wellFormed {
		t.Errorf("the text of %q becomes the list %q, which is malformed: %s", list, back, again.fault)
	}
}

// sorted sorts a list and leaves out what may change on the way.
func sorted(list []hpack.HeaderField) []string {
	var s []string
	host := ""
	for _, f := range list {
		switch f.Name {
		case ":authority", "host":
			if host == "" {
				host = f.Value
			}
		case "cookie", "te", "content-length", "http2-settings", ":scheme":
		default:
			s = append(s, f.Name+": "+f.Value)
		}
	}
	slices.Sort(s)
	return append(s, host)
}

// FuzzAnswerText: a header list becomes the head of one answer that says the
// same, for net/http and when it is turned back into a list, or nothing.
func FuzzAnswerText(f *testing.F) {
	for _, s := range [][]hpack.HeaderField{
		fields(":status: 200"), fields(":status: 200", "content-length: 3"), fields(":status: 204"),
		fields(":status: 103", "link: x"), fields(":status: 304", "etag: x"),
		fields(":status: 200", "content-type: application/grpc", "trailer: x"),
		fields(":status: 200", "x: y\r\n\r\nHTTP/1.1 200 OK"), fields(":status: 2\r\n"),
		fields(":status: 200", "set-cookie: a", "set-cookie: b", "date: \x80"),
		fields(":status: 200", "cookie: a", "cookie: b", "host: x"),
	} {
		for i := range 4 {
			f.Add(seedOf(s), i&1 != 0, i&2 != 0)
		}
	}
	f.Fuzz(func(t *testing.T, b string, toHead, ended bool) {
		list := listOf(b)
		text, c, fault := answerOf(list, toHead, ended)
		if fault != wellFormed {
			if text != "" {
				t.Errorf("the list %q is malformed, but has the text %q", list, text)
			}
			return
		}
		if c.form == passedOver {
			if strings.Contains(text, "\r\n\r\n") {
				t.Errorf("the list %q is too long, but has a whole head: %q", list, text)
			}
			return
		}
		saysThe(t, list, text, false)
		var m message
		m.beginAnswer(toHead)
		p, n, _, err := m.next([]byte(text), 0)
		if p != partHead || err != nil || n != len(text) {
			t.Fatalf("the text of %q is read as %d, %d, %v: %q", list, p, n, err, text)
		}
		if m.done() != (c.form == empty && !m.interim() || c.form == asIs && c.want == 0) {
			t.Errorf("the text of %q ends with its head: %t: %q", list, m.done(), text)
		}
		back, err := hpack.NewDecoder(0, nil).DecodeFull(m.appendHead(nil, false))
		if err != nil {
			t.Fatalf("the text of %q becomes a block that is none: %v", list, err)
		}
		if !slices.Equal(sorted(back), sorted(list)) {
			t.Errorf("the text of %q becomes the list %q", list, back)
		}
		if c.form != empty {
			return
		}
		got, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), nil)
		if err != nil {
			return
		}
		_ = got.Body.Close()
		if strconv.Itoa(got.StatusCode) != first(list, ":status") {
			t.Errorf("the text of %q has the status %d", list, got.StatusCode)
		}
	})
}

// FuzzTrailerText: trailers become the end of one chunked text that says the
// same, or nothing.
func FuzzTrailerText(f *testing.F) {
	f.Add(seedOf(fields("grpc-status: 0", "grpc-message: ")))
	f.Add(seedOf(fields("x: y\r\n\r\nGET / HTTP/1.1")))
	f.Add(seedOf(fields(":status: 200")))
	f.Fuzz(func(t *testing.T, b string) {
		list := listOf(b)
		c := content{form: byChunks, want: -1}
		text, fault := c.appendEnd(nil, trailersOf(list))
		if fault != wellFormed {
			if len(text) > 0 {
				t.Errorf("the trailers %q are malformed, but have the text %q", list, text)
			}
			return
		}
		var m message
		m.beginAnswer(false)
		whole := append([]byte("HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n"), text...)
		_, n, _, err := m.next(whole, 0)
		if err != nil {
			t.Fatal(err)
		}
		p, n2, _, err := m.next(whole[n:], 0)
		if p != partTrailers || n+n2 != len(whole) || err != nil {
			t.Fatalf("the trailers %q are read as %d, %v: %q", list, p, err, text)
		}
		back, err := hpack.NewDecoder(0, nil).DecodeFull(m.appendTrailers(nil))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(sorted(back), sorted(list)) {
			t.Errorf("the trailers %q become %q", list, back)
		}
	})
}

// FuzzMessage: a text says the same in whatever pieces it comes and however
// little room there is, and whatever it is, reading it ends.
func FuzzMessage(f *testing.F) {
	for _, m := range messages {
		if len(m.text) < 1000 {
			f.Add([]byte(m.text), strings.HasPrefix(m.text, "HTTP/"), false, uint8(1), uint8(7), uint8(3))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte, answer, toHead bool, firstSize, size, room uint8) {
		begin := func(m *message) { m.begin(answer, answer && toHead) }
		whole, err := readText(t, begin, string(text), 1<<20, len(text)+1)
		pieces, err2 := readText(t, begin, string(text), int(room)+1, int(firstSize)+1, int(size)+1)
		if (err == nil) != (err2 == nil) {
			t.Fatalf("%q is read in one piece as %q, %v, in others as %q, %v", text, whole, err, pieces, err2)
		}
		if err == nil && whole != pieces {
			t.Errorf("%q is read in one piece as\n%s\nin others as\n%s", text, whole, pieces)
		}
		if bytes.Count(text, []byte("\r\n\r\n")) == 0 && strings.Contains(whole, "head") {
			t.Errorf("%q has no head, but is read as %s", text, whole)
		}
	})
}
