// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"bufio"
	"bytes"
	"io"
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/proxy/live"
)

// FuzzForwardedMeansTheSame has a foreign reader, net/http, judge what we send
// on: whatever both it and we accept means the same to it before and after.
func FuzzForwardedMeansTheSame(f *testing.F) {
	for _, s := range []string{
		"GET /a?b=c HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n",
		"POST /a HTTP/1.1\r\nHost: a:80\r\nContent-Length: 3\r\nConnection: x-a, keep-alive\r\nX-A: b\r\n\r\nabcGET / HTTP/1.1",
		"PUT http://h/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n3;q=1\r\nabc\r\n0\r\nX-T: v\r\n\r\n",
		"\r\nDELETE * HTTP/1.0\r\nHost: a\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost: [::1]:8080\r\nX_Forwarded_For: b\r\nCookie: a=b; c=d\r\nCookie: e\r\nproxy: x\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\nX-Forwarded-Proto: https\r\nVia: 1.1 x\r\n\r\n",
		"POST / HTTP/1.1\r\nhost: A\r\ncontent-length: 0\r\nX-Empty:\r\nX-Tab: \ta\tb \r\nX-High: \x80\xff\r\n\r\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var h head
		n, reason := h.scanRequest(b)
		if n == 0 || reason != live.None || !agree(&h) {
			return
		}
		body, ok := wholeBody(&h, b[n:])
		if !ok {
			return
		}
		before, err := readForeign(slices.Concat(h.raw, body))
		if err != nil {
			return // it is stricter, or knows less
		}
		sent := append(appendRequest(nil, &h, []byte("X-Forwarded-For: 192.0.2.1\r\n"), new(edits), 0), body...)
		after, err := readForeign(sent)
		if err != nil {
			t.Fatalf("%q is sent on as %q, which net/http refuses: %v", b, sent, err)
		}
		if diff := before.differs(after); diff != "" {
			t.Errorf("%s\nreceived %q\nsent on  %q", diff, b, sent)
		}
	})
}

// wholeBody returns the bytes of b that are the body of a message, if all of
// them are there.
func wholeBody(h *head, b []byte) ([]byte, bool) {
	if h.chunked {
		var c chunks
		n, err := c.take(b)
		return b[:n], err == nil && c.done()
	}
	length := max(h.length, 0)
	if length > int64(len(b)) {
		return nil, false
	}
	return b[:length], true
}

// foreign is a request as net/http reads it.
type foreign struct {
	method, target, host, body string
	length                     int64
	coding                     []string
	fields, trailer            http.Header
}

// readForeign reads exactly one request.
func readForeign(b []byte) (*foreign, error) {
	r := bufio.NewReader(bytes.NewReader(b))
	req, err := http.ReadRequest(r)
	if err != nil {
		return nil, err
	}
	defer req.Body.Close()
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	if r.Buffered() > 0 {
		return nil, io.ErrShortBuffer // more than one message
	}
	target := req.URL.RequestURI()
	if req.RequestURI == "*" || req.Method == http.MethodOptions && req.URL.Path == "" && req.URL.RawQuery == "" {
		target = "*"
	}
	return &foreign{
		method: req.Method, target: target, host: req.Host, body: string(body), length: req.ContentLength,
		coding: req.TransferEncoding, fields: req.Header, trailer: req.Trailer,
	}, nil
}

// differs returns in what the request that was sent on differs, but for the
// fields that end at a hop, or that only the proxy sets.
func (x *foreign) differs(sent *foreign) string {
	switch {
	case x.method != sent.method:
		return "the method differs"
	case x.target != sent.target:
		return "the target differs: " + x.target + " becomes " + sent.target
	case x.host != sent.host:
		return "the host differs: " + x.host + " becomes " + sent.host
	case x.body != sent.body, x.length != sent.length, !slices.Equal(x.coding, sent.coding):
		return "the body differs"
	case !maps.EqualFunc(x.trailer, sent.trailer, slices.Equal):
		return "the trailer differs"
	}
	named := x.fields.Values("Connection")
	for name, values := range x.fields {
		got := sent.fields[name]
		switch {
		case endsHere(name, named):
			if got != nil && !setByProxy(name) {
				return name + " is sent on"
			}
		case !slices.Equal(values, got):
			return name + " differs"
		}
	}
	for name := range sent.fields {
		if x.fields[name] == nil && !setByProxy(name) {
			return name + " is made up"
		}
	}
	return ""
}

// endsHere says by itself, without the tables of the code, which fields are
// not sent on.
func endsHere(name string, connection []string) bool {
	plain := strings.ReplaceAll(strings.ToLower(name), "_", "-")
	own := strings.HasPrefix(plain, "x-forwarded-") || strings.HasPrefix(plain, "sluice-") ||
		slices.Contains([]string{"forwarded", "x-real-ip", "x-request-id", "proxy"}, plain)
	hop := slices.Contains([]string{
		"connection", "keep-alive", "proxy-connection", "te", "upgrade", "http2-settings", "proxy-authorization",
	}, plain)
	twin := plain != strings.ToLower(name) && slices.Contains([]string{"host", "content-length", "transfer-encoding"}, plain)
	if own || hop || twin {
		return true
	}
	for _, line := range connection {
		for option := range strings.SplitSeq(line, ",") {
			if textproto.TrimString(option) != "" && textproto.CanonicalMIMEHeaderKey(textproto.TrimString(option)) == name {
				return !slices.Contains([]string{"Host", "Content-Length", "Transfer-Encoding", "Expect"}, name)
			}
		}
	}
	return false
}

// setByProxy reports whether a field is one of those that are added: Upgrade
// and its Connection are the proxy's own, if it asks for what a client asks
// for.
func setByProxy(name string) bool {
	return strings.HasPrefix(name, "X-Forwarded-") || name == "X-Request-Id" || name == "Upgrade" || name == "Connection"
}
