// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// trailersOf reads a list as trailers.
func trailersOf(list []hpack.HeaderField) *trailerText {
	t := new(trailerText)
	t.reset()
	for _, f := range list {
		t.add(f)
	}
	return t
}

// contentOf turns pieces, and trailers if there are any, into text.
func contentOf(c content, pieces []string, trailers []hpack.HeaderField) (string, malformed) {
	var b []byte
	for _, p := range pieces {
		var fault malformed
		if b, fault = c.appendData(b, []byte(p)); fault != wellFormed {
			return string(b), fault
		}
	}
	var t *trailerText
	if trailers != nil {
		t = trailersOf(trailers)
	}
	b, fault := c.appendEnd(b, t)
	return string(b), fault
}

func TestContentAsText(t *testing.T) {
	for _, tt := range []struct {
		name     string
		content  content
		pieces   []string
		trailers []hpack.HeaderField
		want     string
		fault    malformed
	}{
		{"each piece is a chunk", content{form: byChunks, want: -1}, []string{"abc", "defghijklmnopqrs"}, nil, "3\r\nabc\r\n10\r\ndefghijklmnopqrs\r\n0\r\n\r\n", wellFormed},
		{"an empty piece does not end the content", content{form: byChunks, want: -1}, []string{"a", "", "b"}, nil, "1\r\na\r\n1\r\nb\r\n0\r\n\r\n", wellFormed},
		{"trailers stand behind the last chunk", content{form: byChunks, want: -1}, []string{"a"}, fields("grpc-status: 0", "grpc-message: "), "1\r\na\r\n0\r\ngrpc-status: 0\r\ngrpc-message: \r\n\r\n", wellFormed},
		{"trailers need no content", content{form: byChunks, want: -1}, nil, fields("grpc-status: 0"), "0\r\ngrpc-status: 0\r\n\r\n", wellFormed},
		{"content of a stated length goes as it is", content{form: asIs, want: 3}, []string{"a", "bc"}, nil, "abc", wellFormed},
		{"trailers behind content of a stated length are dropped", content{form: asIs, want: 1}, []string{"a"}, fields("x: y"), "a", wellFormed},
		{"chunks are counted against a stated length", content{form: byChunks, want: 2}, []string{"a"}, nil, "1\r\na\r\n", badLength},
		{"too little content is a fault", content{form: asIs, want: 3}, []string{"a"}, nil, "a", badLength},
		{"too much content is a fault", content{form: asIs, want: 3}, []string{"ab", "cd"}, nil, "ab", badLength},
		{"content where none may be is a fault", content{want: -1}, []string{"a"}, nil, "", badContent},
		{"an empty piece where none may be is none", content{want: -1}, []string{""}, nil, "", wellFormed},
		{"content of what was refused is passed over", content{form: passedOver}, []string{"a"}, fields("x: y"), "", wellFormed},
		{"a pseudo-field cannot trail", content{form: byChunks, want: -1}, nil, fields(":status: 200"), "", badPseudo},
		{"a broken name cannot trail", content{form: byChunks, want: -1}, nil, fields("x\r\n: y"), "", badName},
		{"an empty name cannot trail", content{form: byChunks, want: -1}, nil, []hpack.HeaderField{{}}, "", badName},
		{"a broken value cannot trail", content{form: byChunks, want: -1}, nil, fields("x: y\r\n\r\nGET / HTTP/1.1"), "", badValue},
		{"a connection field cannot trail", content{form: byChunks, want: -1}, nil, fields("transfer-encoding: chunked"), "", badConnection},
		{"trailers are bounded", content{form: byChunks, want: -1}, nil, fields("x: " + strings.Repeat("y", maxTrailers)), "", tooManyTrailers},
		{"faults of trailers that are dropped are faults", content{form: asIs, want: 0}, nil, fields("X: y"), "", badName},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, fault := contentOf(tt.content, tt.pieces, tt.trailers)
			if got != tt.want || fault != tt.fault {
				t.Errorf("text of %q and %v = %q, %q, want %q, %q", tt.pieces, tt.trailers, got, fault, tt.want, tt.fault)
			}
		})
	}
}

// A list over its limit must not be mistaken for a whole head, whatever its
// parts: who reads the text sees one that is too long.
func TestAListOverItsLimitBecomesAHeadWithoutAnEnd(t *testing.T) {
	const most = 1 << 10
	for _, tt := range []struct {
		name string
		list []hpack.HeaderField
	}{
		{"by a long value", get("x: " + strings.Repeat("y", most))},
		{"by many short fields", get(strings.Split(strings.Repeat("a: b,", 40)+"a: b", ",")...)},
		{"by a long path", fields(":method: GET", ":scheme: http", ":authority: a", ":path: /"+strings.Repeat("y", most))},
		{"by a long method", fields(":method: "+strings.Repeat("M", most), ":scheme: http", ":authority: a", ":path: /")},
		{"by a path that would be a head", fields(":method: GET", ":scheme: http", ":authority: a", ":path: / HTTP/1.1\r\nHost: a\r\n\r\n"+strings.Repeat("y", most))},
		{"by a method that would be a head", fields(":path: /", ":scheme: http", ":authority: a", ":method: GET / HTTP/1.1\r\nHost: a\r\n\r\n"+strings.Repeat("y", most))},
		{"by what stands before the method", fields(":path: /"+strings.Repeat("y", most), ":method: GET / HTTP/1.1\r\n\r\n")},
		{"by many crumbs", get(strings.Split(strings.Repeat("cookie: b,", 40)+"a: b", ",")...)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r requestText
			r.reset(most)
			for _, f := range tt.list {
				r.add(f)
			}
			b, c, fault := r.end(nil, false)
			if fault != wellFormed || c.form != passedOver {
				t.Fatalf("end() = %q, form %d, %q, want content passed over", b, c.form, fault)
			}
			if len(b) <= most || strings.Contains(string(b), "\r\n\r\n") {
				t.Errorf("text has %d bytes, want more than %d without an end: %q", len(b), most, b)
			}
			if len(b) > most+1 {
				t.Errorf("text has %d bytes of a limit of %d", len(b), most)
			}
		})
	}
	t.Run("of an answer", func(t *testing.T) {
		var a answerText
		a.reset(most, false)
		for _, f := range fields(":status: 200", "x: "+strings.Repeat("y", most)) {
			a.add(f)
		}
		b, c, fault := a.end(nil, false)
		if fault != wellFormed || c.form != passedOver || len(b) <= most || strings.Contains(string(b), "\r\n\r\n") {
			t.Errorf("end() = %q, form %d, %q, want a head of more than %d bytes without an end", b, c.form, fault, most)
		}
	})
	t.Run("faults before it come first", func(t *testing.T) {
		var r requestText
		r.reset(most)
		for _, f := range get("Y: z", "x: "+strings.Repeat("y", most)) {
			r.add(f)
		}
		if b, _, fault := r.end(nil, false); fault != badName || len(b) > 0 {
			t.Errorf("end() = %q, %q, want %q", b, fault, badName)
		}
	})
}
