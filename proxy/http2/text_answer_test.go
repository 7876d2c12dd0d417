// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"testing"

	"golang.org/x/net/http2/hpack"
)

// answerOf turns a list into text.
func answerOf(list []hpack.HeaderField, toHead, ended bool) (string, content, malformed) {
	var t answerText
	t.reset(64<<10, toHead)
	for _, f := range list {
		t.add(f)
	}
	b, c, fault := t.end(nil, ended)
	return string(b), c, fault
}

func TestAnswerText(t *testing.T) {
	for _, tt := range []struct {
		name          string
		list          []hpack.HeaderField
		toHead, ended bool
		want          string
		form          form
	}{
		{
			"an answer without content says so", fields(":status: 200", "server: x"), false, true,
			"HTTP/1.1 200 OK\r\nserver: x\r\nContent-Length: 0\r\n\r\n", empty,
		},
		{
			"content of unknown length comes by chunks", fields(":status: 404", "server: x"), false, false,
			"HTTP/1.1 404 Not Found\r\nserver: x\r\nTransfer-Encoding: chunked\r\n\r\n", byChunks,
		},
		{
			"content of a stated length comes as it is", fields(":status: 200", "content-length: 12"), false, false,
			"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n", asIs,
		},
		{
			"content of gRPC comes by chunks whatever its length",
			fields(":status: 200", "content-type: application/grpc+proto", "content-length: 12"), false, false,
			"HTTP/1.1 200 OK\r\ncontent-type: application/grpc+proto\r\nTransfer-Encoding: chunked\r\n\r\n", byChunks,
		},
		{
			"announced trailers come by chunks whatever the length", fields(":status: 200", "trailer: x", "content-length: 12"), false, false,
			"HTTP/1.1 200 OK\r\ntrailer: x\r\nTransfer-Encoding: chunked\r\n\r\n", byChunks,
		},
		{
			"trailers alone end an answer of gRPC", fields(":status: 200", "content-type: application/grpc", "grpc-status: 12"), false, true,
			"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-status: 12\r\nContent-Length: 0\r\n\r\n", empty,
		},
		{
			"an answer to HEAD keeps the length that it states", fields(":status: 200", "content-length: 12"), true, true,
			"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n", empty,
		},
		{
			"an answer to HEAD without a length says none", fields(":status: 200"), true, true,
			"HTTP/1.1 200 OK\r\n\r\n", empty,
		},
		{
			"an answer to HEAD has no content, whatever follows", fields(":status: 200"), true, false,
			"HTTP/1.1 200 OK\r\n\r\n", empty,
		},
		{
			"304 keeps the length that it states", fields(":status: 304", "content-length: 12"), false, true,
			"HTTP/1.1 304 Not Modified\r\nContent-Length: 12\r\n\r\n", empty,
		},
		{
			"204 has no length", fields(":status: 204", "content-length: 0"), false, true,
			"HTTP/1.1 204 No Content\r\n\r\n", empty,
		},
		{
			"an interim answer has nothing behind it", fields(":status: 103", "link: </a>"), false, false,
			"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n", empty,
		},
		{
			"cookies stay apart", fields(":status: 200", "set-cookie: a=1", "set-cookie: b=2"), false, true,
			"HTTP/1.1 200 OK\r\nset-cookie: a=1\r\nset-cookie: b=2\r\nContent-Length: 0\r\n\r\n", empty,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, c, fault := answerOf(tt.list, tt.toHead, tt.ended)
			if fault != wellFormed || got != tt.want || c.form != tt.form {
				t.Errorf("text of %v = %q, form %d, %q, want %q, form %d", tt.list, got, c.form, fault, tt.want, tt.form)
			}
		})
	}
}

func TestMalformedAnswers(t *testing.T) {
	for _, tt := range []struct {
		name  string
		list  []hpack.HeaderField
		ended bool
		want  malformed
	}{
		{"no status", fields("server: x"), true, badStatus},
		{"a status of two digits", fields(":status: 20"), true, badStatus},
		{"a status with a reason", fields(":status: 200 OK"), true, badStatus},
		{"a status below 100", fields(":status: 099"), true, badStatus},
		{"a status with a line break", fields(":status: 2\r\n"), true, badStatus},
		{"two statuses", fields(":status: 200", ":status: 200"), true, badPseudo},
		{"a status behind a field", fields("server: x", ":status: 200"), true, badPseudo},
		{"a pseudo-field of requests", fields(":status: 200", ":path: /"), true, badPseudo},
		{"an interim answer that ends the stream", fields(":status: 103"), true, badStatus},
		{"a switch of protocols", fields(":status: 101"), false, badStatus},
		{"a connection field", fields(":status: 200", "connection: close"), true, badConnection},
		{"a transfer-encoding", fields(":status: 200", "transfer-encoding: chunked"), false, badConnection},
		{"a length without content", fields(":status: 200", "content-length: 1"), true, badLength},
		{"two lengths", fields(":status: 200", "content-length: 1", "content-length: 1"), false, badLength},
		{"an empty name", []hpack.HeaderField{{Name: ":status", Value: "200"}, {Name: ""}}, true, badName},
		{"a line break in a value", fields(":status: 200", "x: y\nz: w"), true, badValue},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got, _, fault := answerOf(tt.list, false, tt.ended); fault != tt.want || got != "" {
				t.Errorf("text of %q = %q, %q, want %q", tt.list, got, fault, tt.want)
			}
		})
	}
}
