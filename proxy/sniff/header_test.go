// SPDX-License-Identifier: Apache-2.0

package sniff_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/proxy/sniff"
	"github.com/sluice-mesh/sluice/routing"
)

const signature = "\r\n\r\n\x00\r\nQUIT\n"

func ports(source, destination string) sniff.Header {
	return sniff.Header{Source: netip.MustParseAddrPort(source), Destination: netip.MustParseAddrPort(destination)}
}

func withTLVs(h sniff.Header, tlvs string) sniff.Header {
	h.TLVs = []byte(tlvs)
	return h
}

// v2 returns a header of version 2 with its length in front of what follows.
func v2(command, family byte, rest string) string {
	return signature + string([]byte{command, family, byte(len(rest) >> 8), byte(len(rest))}) + rest
}

// Both ends as version 2 writes them: 10.0.0.1:50000 to 10.0.0.2:443, and
// [2001:db8::1]:50000 to [2001:db8::2]:443.
const (
	four = "\x0a\x00\x00\x01\x0a\x00\x00\x02\xc3\x50\x01\xbb"
	net6 = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	six  = net6 + "\x01" + net6 + "\x02\xc3\x50\x01\xbb"
)

func TestParseHeader(t *testing.T) {
	four4, six6 := ports("10.0.0.1:50000", "10.0.0.2:443"), ports("[2001:db8::1]:50000", "[2001:db8::2]:443")
	local := sniff.Header{Local: true}
	for _, tt := range []struct {
		name, bytes string
		want        sniff.Header
		err         error
	}{
		{"version 1 of IPv4", "PROXY TCP4 10.0.0.1 10.0.0.2 50000 443\r\n", four4, nil},
		{"version 1 of IPv6", "PROXY TCP6 2001:db8::1 2001:db8::2 50000 443\r\n", six6, nil},
		{"version 1 of IPv6 in full", "PROXY TCP6 2001:0db8:0000:0000:0000:0000:0000:0001 2001:DB8:0:0::2 50000 443\r\n", six6, nil},
		{"version 1 of IPv4 mapped into IPv6", "PROXY TCP6 ::ffff:10.0.0.1 2001:db8::2 50000 443\r\n", ports("10.0.0.1:50000", "[2001:db8::2]:443"), nil},
		{"version 1, unknown", "PROXY UNKNOWN\r\n", local, nil},
		{"version 1, unknown with addresses", "PROXY UNKNOWN ffff:f...f:ffff 10.0.0.2 65535 65535\r\n", local, nil},
		{"version 1, the longest line", "PROXY UNKNOWN " + strings.Repeat("x", 91) + "\r\n", local, nil},
		{"version 1, a line that is too long", "PROXY UNKNOWN " + strings.Repeat("x", 92) + "\r\n", local, sniff.ErrMalformed},
		{"version 1 without an end", "PROXY UNKNOWN " + strings.Repeat("x", 200), local, sniff.ErrMalformed},
		{"version 1, port 0", "PROXY TCP4 10.0.0.1 10.0.0.2 0 65535\r\n", ports("10.0.0.1:0", "10.0.0.2:65535"), nil},
		{"version 1, a port beyond the last", "PROXY TCP4 10.0.0.1 10.0.0.2 65536 443\r\n", local, sniff.ErrMalformed},
		{"version 1, a port with a zero in front", "PROXY TCP4 10.0.0.1 10.0.0.2 050 443\r\n", local, sniff.ErrMalformed},
		{"version 1, a port with a sign", "PROXY TCP4 10.0.0.1 10.0.0.2 +50 443\r\n", local, sniff.ErrMalformed},
		{"version 1, an address with zeros in front", "PROXY TCP4 10.0.0.01 10.0.0.2 50000 443\r\n", local, sniff.ErrMalformed},
		{"version 1, an address of the other family", "PROXY TCP4 2001:db8::1 10.0.0.2 50000 443\r\n", local, sniff.ErrMalformed},
		{"version 1, an address with a zone", "PROXY TCP6 fe80::1%eth0 2001:db8::2 50000 443\r\n", local, sniff.ErrMalformed},
		{"version 1, an address that is a name", "PROXY TCP4 localhost 10.0.0.2 50000 443\r\n", local, sniff.ErrMalformed},
		{"version 1 without addresses", "PROXY TCP4\r\n", local, sniff.ErrMalformed},
		{"version 1, a field is missing", "PROXY TCP4 10.0.0.1 10.0.0.2 50000\r\n", local, sniff.ErrMalformed},
		{"version 1, a field too many", "PROXY TCP4 10.0.0.1 10.0.0.2 50000 443 x\r\n", local, sniff.ErrMalformed},
		{"version 1, a space at the end", "PROXY TCP4 10.0.0.1 10.0.0.2 50000 443 \r\n", local, sniff.ErrMalformed},
		{"version 1, two spaces", "PROXY TCP4  10.0.0.1 10.0.0.2 50000 443\r\n", local, sniff.ErrMalformed},
		{"version 1, another protocol", "PROXY UDP4 10.0.0.1 10.0.0.2 50000 443\r\n", local, sniff.ErrMalformed},
		{"version 1, a line feed alone", "PROXY TCP4 10.0.0.1 10.0.0.2 50000 443\n", local, sniff.ErrMalformed},
		{"version 1, a line feed at once", "PROXY \n", local, sniff.ErrMalformed},
		{"version 2 of IPv4", v2(0x21, 0x11, four), four4, nil},
		{"version 2 of IPv6", v2(0x21, 0x21, six), six6, nil},
		{"version 2 with vectors", v2(0x21, 0x11, four+"\x01\x00\x02h2\x04\x00\x00"), withTLVs(four4, "\x01\x00\x02h2\x04\x00\x00"), nil},
		{"version 2, local", v2(0x20, 0x00, ""), local, nil},
		{"version 2, local with a block", v2(0x20, 0x11, four), local, nil},
		{"version 2, local with a block that is too short", v2(0x20, 0x11, "xx"), local, nil},
		{"version 2, unspecified", v2(0x21, 0x00, ""), local, nil},
		{"version 2, unix", v2(0x21, 0x31, strings.Repeat("\x00", 216)), local, nil},
		{"version 2, datagrams", v2(0x21, 0x12, four), local, nil},
		{"version 2, another family", v2(0x21, 0x41, four), local, sniff.ErrMalformed},
		{"version 2, another transport", v2(0x21, 0x13, four), local, sniff.ErrMalformed},
		{"version 2, another command", v2(0x22, 0x11, four), local, sniff.ErrMalformed},
		{"version 3", v2(0x31, 0x11, four), local, sniff.ErrMalformed},
		{"version 3, at once", signature + "\x31", local, sniff.ErrMalformed},
		{"version 2, addresses that are cut", v2(0x21, 0x11, four[:11]), local, sniff.ErrMalformed},
		{"version 2, a vector that is cut", v2(0x21, 0x11, four+"\x01\x00\x03h2"), local, sniff.ErrMalformed},
		{"version 2, the head of a vector that is cut", v2(0x21, 0x11, four+"\x01\x00"), local, sniff.ErrMalformed},
		{"version 2, a checksum", v2(0x21, 0x11, four+"\x03\x00\x04"+unhex("291fa951")), withTLVs(four4, "\x03\x00\x04"+unhex("291fa951")), nil},
		{"version 2, a wrong checksum", v2(0x21, 0x11, four+"\x03\x00\x04"+unhex("291fa950")), local, sniff.ErrMalformed},
		{"version 2, a checksum of another size", v2(0x21, 0x11, four+"\x03\x00\x02xx"), local, sniff.ErrMalformed},
		{"version 2, two checksums", v2(0x21, 0x11, four+strings.Repeat("\x03\x00\x04\x00\x00\x00\x00", 2)), local, sniff.ErrMalformed},
		{"version 2, the largest", v2(0x21, 0x11, four+vectorOf(sniff.MaxHeader-16-12)), withTLVs(four4, vectorOf(sniff.MaxHeader-16-12)), nil},
		{"version 2, too large", v2(0x21, 0x11, four+vectorOf(sniff.MaxHeader-16-12+1)), local, sniff.ErrMalformed},
		{"version 2, too large, at once", signature + "\x21\x11\xff\xff", local, sniff.ErrMalformed},
		{"HTTP", "GET / HTTP/1.1\r\n\r\n", local, sniff.ErrMissing},
		{"HTTP that begins alike", "PROPFIND / HTTP/1.1\r\n\r\n", local, sniff.ErrMissing},
		{"TLS", "\x16\x03\x01", local, sniff.ErrMissing},
		{"empty lines", "\r\n\r\n\r\n", local, sniff.ErrMissing},
		{"lower case", "proxy ", local, sniff.ErrMissing},
		{"nothing", "", local, sniff.ErrShort},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, n, err := sniff.ParseHeader([]byte(tt.bytes))
			if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Fatalf("ParseHeader(%.120q) error = %v, want %v", tt.bytes, err, tt.err)
			}
			if err != nil {
				return
			}
			if !same(h, tt.want) || n != len(tt.bytes) {
				t.Errorf("ParseHeader(%.120q) = %+v, %d; want %+v, %d", tt.bytes, h, n, tt.want, len(tt.bytes))
			}
			followed, m, err := sniff.ParseHeader([]byte(tt.bytes + "\x03\x00\x00PROXY "))
			if err != nil || m != n || !same(followed, h) {
				t.Errorf("followed by more: %+v, %d, %v", followed, m, err)
			}
			for i := range tt.bytes {
				if _, _, err := sniff.ParseHeader([]byte(tt.bytes[:i])); !errors.Is(err, sniff.ErrShort) {
					t.Fatalf("%d bytes of %.120q: %v, want %v", i, tt.bytes, err, sniff.ErrShort)
				}
			}
		})
	}
}

func unhex(s string) string {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// vectorOf returns one vector that takes n bytes.
func vectorOf(n int) string {
	return string([]byte{0xe0, byte((n - 3) >> 8), byte(n - 3)}) + strings.Repeat("x", n-3)
}

func same(a, b sniff.Header) bool {
	return a.Source == b.Source && a.Destination == b.Destination && a.Local == b.Local && bytes.Equal(a.TLVs, b.TLVs)
}

func TestAppendHeader(t *testing.T) {
	four4, six6 := ports("10.0.0.1:50000", "10.0.0.2:443"), ports("[2001:db8::1]:50000", "[2001:db8::2]:443")
	mixed := ports("10.0.0.1:50000", "[2001:db8::2]:443")
	const mapped = "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x0a\x00\x00\x01"
	for _, tt := range []struct {
		name    string
		version routing.ProxyVersion
		header  sniff.Header
		want    string
	}{
		{"none", routing.ProxyNone, four4, ""},
		{"version 1 of IPv4", routing.ProxyV1, four4, "PROXY TCP4 10.0.0.1 10.0.0.2 50000 443\r\n"},
		{"version 1 of IPv6", routing.ProxyV1, six6, "PROXY TCP6 2001:db8::1 2001:db8::2 50000 443\r\n"},
		{"version 1 of both", routing.ProxyV1, mixed, "PROXY TCP6 ::ffff:10.0.0.1 2001:db8::2 50000 443\r\n"},
		{"version 1 of an address with a zone", routing.ProxyV1, ports("[fe80::1%eth0]:1", "[fe80::2]:2"), "PROXY TCP6 fe80::1 fe80::2 1 2\r\n"},
		{"version 1 of IPv4 mapped into IPv6", routing.ProxyV1, ports("[::ffff:10.0.0.1]:50000", "10.0.0.2:443"), "PROXY TCP4 10.0.0.1 10.0.0.2 50000 443\r\n"},
		{"version 1 leaves vectors out", routing.ProxyV1, withTLVs(four4, "\x01\x00\x02h2"), "PROXY TCP4 10.0.0.1 10.0.0.2 50000 443\r\n"},
		{"version 1, local", routing.ProxyV1, sniff.Header{Local: true}, "PROXY UNKNOWN\r\n"},
		{"version 1 without addresses", routing.ProxyV1, sniff.Header{}, "PROXY UNKNOWN\r\n"},
		{"version 2 of IPv4", routing.ProxyV2, four4, v2(0x21, 0x11, four)},
		{"version 2 of IPv6", routing.ProxyV2, six6, v2(0x21, 0x21, six)},
		{"version 2 of both", routing.ProxyV2, mixed, v2(0x21, 0x21, mapped+net6+"\x02\xc3\x50\x01\xbb")},
		{"version 2 with vectors", routing.ProxyV2, withTLVs(four4, "\x01\x00\x02h2"), v2(0x21, 0x11, four+"\x01\x00\x02h2")},
		{"version 2 makes a checksum anew", routing.ProxyV2, withTLVs(four4, "\x03\x00\x04\xff\xff\xff\xff"), v2(0x21, 0x11, four+"\x03\x00\x04"+unhex("291fa951"))},
		{"version 2 leaves malformed vectors out", routing.ProxyV2, withTLVs(four4, "\x01\x00\x03h2"), v2(0x21, 0x11, four)},
		{"version 2 leaves vectors out that are too many", routing.ProxyV2, withTLVs(six6, vectorOf(sniff.MaxHeader-16-12)), v2(0x21, 0x21, six)},
		{"version 2, local", routing.ProxyV2, sniff.Header{Local: true, TLVs: []byte("\x01\x00\x02h2")}, v2(0x20, 0, "")},
		{"version 2 with one address", routing.ProxyV2, sniff.Header{Source: four4.Source}, v2(0x20, 0, "")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := sniff.AppendHeader([]byte("before "), tt.version, tt.header)
			if string(got) != "before "+tt.want {
				t.Errorf("AppendHeader(%v, %+v) = %.120q, want %.120q", tt.version, tt.header, got, "before "+tt.want)
			}
		})
	}
}

func FuzzParseHeader(f *testing.F) {
	for _, s := range []string{
		"PROXY TCP4 10.0.0.1 10.0.0.2 50000 443\r\nmore",
		"PROXY TCP6 ::ffff:10.0.0.1 2001:db8::2 50000 443\r\n",
		"PROXY UNKNOWN ffff::1 x\r\n",
		v2(0x21, 0x11, four+"\x01\x00\x02h2\x04\x00\x00") + "more",
		v2(0x21, 0x21, six+"\x20\x00\x08\x01\x00\x00\x00\x00\x21\x00\x00"),
		v2(0x21, 0x11, four+"\x03\x00\x04"+unhex("291fa951")),
		v2(0x20, 0x00, ""),
		v2(0x21, 0x31, strings.Repeat("\x00", 216)),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		h, n, err := sniff.ParseHeader(b)
		for i := 0; i < len(b); i += max(1, len(b)/64) {
			early, m, e := sniff.ParseHeader(b[:i])
			if errors.Is(e, sniff.ErrShort) && (err != nil || i < n) {
				continue
			}
			if !errors.Is(e, err) || m != n || !same(early, h) {
				t.Fatalf("%d bytes of %q are %+v, %d, %v; all are %+v, %d, %v", i, b, early, m, e, h, n, err)
			}
		}
		if errors.Is(err, sniff.ErrShort) && len(b) >= sniff.MaxHeader {
			t.Fatalf("%d bytes are too short", len(b))
		}
		if err != nil {
			return
		}
		if n > len(b) || n > sniff.MaxHeader {
			t.Fatalf("%d bytes of %d are a header", n, len(b))
		}
		again(t, h)
	})
}

// again checks that a header reads as it was written.
func again(t *testing.T, h sniff.Header) {
	t.Helper()
	for _, v := range []routing.ProxyVersion{routing.ProxyV1, routing.ProxyV2} {
		want := h
		if v == routing.ProxyV1 {
			want.TLVs = nil
		}
		b := sniff.AppendHeader(nil, v, want)
		got, n, err := sniff.ParseHeader(b)
		if err != nil || n != len(b) || got.Source != want.Source || got.Destination != want.Destination || got.Local != want.Local {
			t.Errorf("%v of %+v is %q, which reads %+v, %d, %v", v, want, b, got, n, err)
		}
		// A checksum is made anew: the second time nothing may change.
		if second := sniff.AppendHeader(nil, v, got); !bytes.Equal(second, b) {
			t.Errorf("%v of %+v is %q, then %q", v, want, b, second)
		}
	}
}

func FuzzAppendHeader(f *testing.F) {
	f.Add([]byte{10, 0, 0, 1}, []byte{10, 0, 0, 2}, uint16(50000), uint16(443), []byte("\x01\x00\x02h2"))
	f.Add([]byte(net6+"\x01"), []byte{10, 0, 0, 2}, uint16(0), uint16(65535), []byte("\x03\x00\x04abcd"))
	f.Add([]byte(""), []byte{10, 0, 0, 2}, uint16(1), uint16(2), []byte("\x03"))
	f.Fuzz(func(t *testing.T, source, destination []byte, from, to uint16, tlvs []byte) {
		a, ok := netip.AddrFromSlice(source)
		b, also := netip.AddrFromSlice(destination)
		h := sniff.Header{Local: !ok || !also}
		if !h.Local {
			h.Source, h.Destination = netip.AddrPortFrom(a.Unmap(), from), netip.AddrPortFrom(b.Unmap(), to)
		}
		h.TLVs = tlvs
		again(t, h)
	})
}

func TestHeadersDoNotAllocate(t *testing.T) {
	out := make([]byte, 0, 256)
	for _, s := range []string{
		"PROXY TCP4 10.0.0.1 10.0.0.2 50000 443\r\n",
		"PROXY TCP6 2001:db8::1 2001:db8::2 50000 443\r\n",
		v2(0x21, 0x21, six+"\x01\x00\x02h2\x03\x00\x04\x00\x00\x00\x00"),
	} {
		b := []byte(s)
		if n := testing.AllocsPerRun(100, func() {
			h, _, _ := sniff.ParseHeader(b)
			out = sniff.AppendHeader(out[:0], routing.ProxyV1, h)
			out = sniff.AppendHeader(out[:0], routing.ProxyV2, h)
		}); n != 0 {
			t.Errorf("%q: %v allocations, want none", s, n)
		}
	}
}

func BenchmarkHeader(b *testing.B) {
	for _, bb := range []struct{ name, bytes string }{
		{"version 1", "PROXY TCP4 10.0.0.1 10.0.0.2 50000 443\r\n"},
		{"version 2", v2(0x21, 0x11, four+"\x01\x00\x02h2")},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			in, out := []byte(bb.bytes), make([]byte, 0, 256)
			for b.Loop() {
				h, _, err := sniff.ParseHeader(in)
				if err != nil {
					b.Fatal(err)
				}
				out = sniff.AppendHeader(out[:0], routing.ProxyV2, h)
			}
		})
	}
}
