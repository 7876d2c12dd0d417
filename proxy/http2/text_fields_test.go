// SPDX-License-Identifier: Apache-2.0

package http2

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"
)

// Names have the index that the static table gives them (RFC 7541 appendix A),
// in whatever case they are written.
func TestNamesOfTheStaticTable(t *testing.T) {
	d := hpack.NewDecoder(0, nil)
	for i := 15; i <= 61; i++ {
		list, err := d.DecodeFull([]byte{indexed | byte(i)})
		if err != nil {
			t.Fatal(err)
		}
		name := list[0].Name
		for _, written := range []string{name, strings.ToUpper(name)} {
			if got := int(indexOf([]byte(written))); got != i {
				t.Errorf("indexOf(%q) = %d, want %d", written, got, i)
			}
		}
	}
	for _, name := range []string{"", "x", "x-forwarded-for", "accept-charse", "accept-charsets", strings.Repeat("a", 100)} {
		if got := indexOf([]byte(name)); got != nameOther {
			t.Errorf("indexOf(%q) = %d, want none", name, got)
		}
	}
}

// Pseudo-fields that the static table has with their value take one byte.
func TestUsualHeadsAreShort(t *testing.T) {
	for _, tt := range []struct {
		text   string
		answer bool
		want   []byte
	}{
		{"GET / HTTP/1.1\r\n\r\n", false, []byte{0x82, 0x86, 0x84}},
		{"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", false, []byte("\x83\x86\x84\x0f\x0d\x010")},
		{"HTTP/1.1 200 OK\r\n\r\n", true, []byte{0x88}},
		{"HTTP/1.1 204 No Content\r\n\r\n", true, []byte{0x89}},
		{"HTTP/1.1 206 Partial Content\r\n\r\n", true, []byte{0x8a}},
		{"HTTP/1.1 304 Not Modified\r\n\r\n", true, []byte{0x8b}},
		{"HTTP/1.1 400 Bad Request\r\n\r\n", true, []byte{0x8c}},
		{"HTTP/1.1 404 Not Found\r\n\r\n", true, []byte{0x8d}},
		{"HTTP/1.1 500 Internal Server Error\r\n\r\n", true, []byte{0x8e}},
		{"HTTP/1.1 503 Service Unavailable\r\n\r\n", true, []byte("\x08\x03503")},
	} {
		t.Run(tt.text, func(t *testing.T) {
			var m message
			m.begin(tt.answer, false)
			if p, _, _, err := m.next([]byte(tt.text), 0); p != partHead || err != nil {
				t.Fatalf("next() = %d, %v, want a head", p, err)
			}
			if got := m.appendHead(nil, false); !bytes.Equal(got, tt.want) {
				t.Errorf("appendHead() = %x, want %x", got, tt.want)
			}
		})
	}
}

// Integers and texts are as RFC 7541 section 5 has them, at every length at
// which their form changes.
func TestTextsOfEveryLength(t *testing.T) {
	for _, n := range []int{0, 1, 126, 127, 128, 254, 255, 256, 16383, 16384, 16510, 16511, 16512, 1 << 20} {
		b := append([]byte{literal}, appendString(appendString(nil, []byte("x")), bytes.Repeat([]byte("v"), n))...)
		list, err := hpack.NewDecoder(0, nil).DecodeFull(b)
		if err != nil || len(list) != 1 || list[0].Name != "x" || len(list[0].Value) != n {
			t.Errorf("a value of %d bytes is read as %d fields, %v", n, len(list), err)
		}
	}
}
