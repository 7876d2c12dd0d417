// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// fields reads "name: value" lines as a header list.
func fields(lines ...string) []hpack.HeaderField {
	var list []hpack.HeaderField
	for _, l := range lines {
		i := 1 + strings.Index(l[1:], ": ")
		list = append(list, hpack.HeaderField{Name: l[:i], Value: l[i+2:]})
	}
	return list
}

// get is a request with fields behind its pseudo-fields.
func get(more ...string) []hpack.HeaderField {
	return fields(append([]string{":method: GET", ":scheme: https", ":authority: shop.example", ":path: /"}, more...)...)
}

func post(more ...string) []hpack.HeaderField {
	return fields(append([]string{":method: POST", ":scheme: https", ":authority: shop.example", ":path: /"}, more...)...)
}

// requestOf turns a list into text.
func requestOf(list []hpack.HeaderField, ended bool) (string, content, malformed) {
	var t requestText
	t.reset(32 << 10)
	for _, f := range list {
		t.add(f)
	}
	b, c, fault := t.end(nil, ended)
	return string(b), c, fault
}

func TestRequestText(t *testing.T) {
	for _, tt := range []struct {
		name  string
		list  []hpack.HeaderField
		ended bool
		want  string
	}{
		{
			"a request without content ends with its head", get("user-agent: x"), true,
			"GET / HTTP/1.1\r\nHost: shop.example\r\nuser-agent: x\r\n\r\n",
		},
		{
			"content of unknown length comes by chunks", post(), false,
			"POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n",
		},
		{
			"content of a stated length comes as it is", post("content-length: 5"), false,
			"POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 5\r\n\r\n",
		},
		{
			"announced trailers come by chunks whatever the length", post("content-length: 5", "trailer: x-sum"), false,
			"POST / HTTP/1.1\r\nHost: shop.example\r\ntrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n",
		},
		{
			"no content of stated length stays stated", post("content-length: 0"), true,
			"POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 0\r\n\r\n",
		},
		{
			"crumbs of cookies are joined", get("cookie: a=1", "x: y", "cookie: b=2; c=3", "cookie: d=4"), true,
			"GET / HTTP/1.1\r\nHost: shop.example\r\nx: y\r\ncookie: a=1; b=2; c=3; d=4\r\n\r\n",
		},
		{
			"other fields stay apart", get("accept: a", "accept: b"), true,
			"GET / HTTP/1.1\r\nHost: shop.example\r\naccept: a\r\naccept: b\r\n\r\n",
		},
		{
			"a host stands for an authority", fields(":method: GET", ":scheme: http", ":path: /a?b=c", "host: shop.example:8080"), true,
			"GET /a?b=c HTTP/1.1\r\nHost: shop.example:8080\r\n\r\n",
		},
		{
			"a host like the authority is said once", get("host: SHOP.example"), true,
			"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n",
		},
		{
			"a request without a host is left to who reads the text", fields(":method: GET", ":scheme: http", ":path: /"), true,
			"GET / HTTP/1.1\r\n\r\n",
		},
		{
			"an empty authority is left to who reads the text", fields(":method: GET", ":scheme: http", ":authority: ", ":path: /"), true,
			"GET / HTTP/1.1\r\nHost: \r\n\r\n",
		},
		{
			"the asterisk is for OPTIONS", fields(":method: OPTIONS", ":scheme: http", ":authority: a", ":path: *"), true,
			"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
		},
		{
			"a CONNECT request passes as it is", fields(":method: CONNECT", ":authority: a:443"), false,
			"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nTransfer-Encoding: chunked\r\n\r\n",
		},
		{
			"trailers may be asked for, and a time be set",
			post("te: trailers", "content-type: application/grpc", "grpc-timeout: 100m"), false,
			"POST / HTTP/1.1\r\nHost: shop.example\r\nte: trailers\r\ncontent-type: application/grpc\r\ngrpc-timeout: 100m\r\nTransfer-Encoding: chunked\r\n\r\n",
		},
		{
			"bytes above ASCII and empty values pass", get("x-a: \xc3\xa4\xff", "x-b: "), true,
			"GET / HTTP/1.1\r\nHost: shop.example\r\nx-a: \xc3\xa4\xff\r\nx-b: \r\n\r\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, _, fault := requestOf(tt.list, tt.ended)
			if fault != wellFormed || got != tt.want {
				t.Errorf("text of %v = %q, %q, want %q", tt.list, got, fault, tt.want)
			}
		})
	}
}

func TestMalformedRequests(t *testing.T) {
	for _, tt := range []struct {
		name string
		list []hpack.HeaderField
		want malformed
	}{
		{"an empty list", nil, badRequestLine},
		{"no method", fields(":scheme: http", ":authority: a", ":path: /"), badRequestLine},
		{"no scheme", fields(":method: GET", ":authority: a", ":path: /"), badRequestLine},
		{"no path", fields(":method: GET", ":scheme: http", ":authority: a"), badRequestLine},
		{"an empty path", fields(":method: GET", ":scheme: http", ":authority: a", ":path: "), badRequestLine},
		{"a path in the absolute form", fields(":method: GET", ":scheme: http", ":authority: a", ":path: http://b/"), badRequestLine},
		{"a path that is a name", fields(":method: GET", ":scheme: http", ":authority: a", ":path: b"), badRequestLine},
		{"an asterisk for GET", fields(":method: GET", ":scheme: http", ":authority: a", ":path: *"), badRequestLine},
		{"a path with a blank", fields(":method: GET", ":scheme: http", ":authority: a", ":path: / HTTP/1.1"), badRequestLine},
		{"a path with a line break", fields(":method: GET", ":scheme: http", ":authority: a", ":path: /\r\nx: y"), badRequestLine},
		{"a method with a blank", fields(":method: GET /x", ":scheme: http", ":authority: a", ":path: /"), badRequestLine},
		{"an empty method", fields(":method: ", ":scheme: http", ":authority: a", ":path: /"), badRequestLine},
		{"a scheme that is none", fields(":method: GET", ":scheme: ht tp", ":authority: a", ":path: /"), badRequestLine},
		{"an authority with a line break", fields(":method: GET", ":scheme: http", ":authority: a\r\nx: y", ":path: /"), badAuthority},
		{"an authority with a blank", fields(":method: GET", ":scheme: http", ":authority: a b", ":path: /"), badAuthority},
		{"a host unlike the authority", get("host: other"), badAuthority},
		{"an empty host beside an authority", get("host: "), badAuthority},
		{"two hosts", get("host: shop.example", "host: shop.example"), badAuthority},
		{"a host with a line break", fields(":method: GET", ":scheme: http", ":path: /", "host: a\nx: y"), badAuthority},
		{"a repeated pseudo-field", fields(":method: GET", ":method: GET", ":scheme: http", ":path: /"), badPseudo},
		{"a repeated empty pseudo-field", fields(":path: ", ":path: /", ":method: GET", ":scheme: http"), badPseudo},
		{"a pseudo-field behind others", fields(":method: GET", ":scheme: http", "x: y", ":path: /"), badPseudo},
		{"a pseudo-field behind a host", fields(":method: GET", ":scheme: http", "host: y", ":path: /"), badPseudo},
		{"a pseudo-field behind a cookie", fields(":method: GET", ":scheme: http", "cookie: y", ":path: /"), badPseudo},
		{"an unknown pseudo-field", get(":x: y"), badPseudo},
		{"the pseudo-field of answers", fields(":status: 200", ":method: GET", ":scheme: http", ":path: /"), badPseudo},
		{"an extended CONNECT", fields(":method: CONNECT", ":protocol: websocket", ":scheme: http", ":authority: a", ":path: /"), badPseudo},
		{"a CONNECT with a path", fields(":method: CONNECT", ":authority: a", ":path: /"), badConnect},
		{"a CONNECT without an authority", fields(":method: CONNECT", "host: a"), badConnect},
		{"an empty name", []hpack.HeaderField{{Name: "", Value: "x"}}, badName},
		{"a capital letter in a name", get("X-a: y"), badName},
		{"a blank in a name", get("x a: y"), badName},
		{"a colon in a name", get("x:a: y"), badName},
		{"a line break in a name", get("x\r\nhost: y"), badName},
		{"a byte above ASCII in a name", get("x\xe4: y"), badName},
		{"a line break in a value", get("x: y\r\nz: w"), badValue},
		{"a carriage return in a value", get("x: 12345678\r2345678"), badValue},
		{"a line feed in a long value", get("x: 0123456789abcdef01234567\n9abcdef"), badValue},
		{"a NUL in a value", get("x: \x00"), badValue},
		{"a blank before a value", get("x:  y"), badValue},
		{"a tab behind a value", get("x: y\t"), badValue},
		{"a line break in a cookie", get("cookie: a=1\r\nx: y"), badValue},
		{"a connection field", get("connection: close"), badConnection},
		{"a keep-alive field", get("keep-alive: 5"), badConnection},
		{"a proxy-connection field", get("proxy-connection: close"), badConnection},
		{"a transfer-encoding", post("transfer-encoding: chunked"), badConnection},
		{"an upgrade", get("upgrade: h2c"), badConnection},
		{"a te for more than trailers", get("te: trailers, gzip"), badConnection},
		{"two lengths", post("content-length: 1", "content-length: 1"), badLength},
		{"a length that is no number", post("content-length: +1"), badLength},
		{"an empty length", post("content-length: "), badLength},
		{"a length beyond counting", post("content-length: 9999999999999999999"), badLength},
		{"a length without content", post("content-length: 1"), badLength},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, _, fault := requestOf(tt.list, true); fault != tt.want || got != "" {
				t.Errorf("text of %q = %q, %q, want %q", tt.list, got, fault, tt.want)
			}
		})
	}
}
