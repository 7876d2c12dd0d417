// SPDX-License-Identifier: Apache-2.0

package sniff_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy/sniff"
)

// wire is a connection whose peer has sent some bytes and nothing else; what
// is written to it is kept.
type wire struct {
	net.Conn

	in  io.Reader
	out bytes.Buffer
}

func (w *wire) Read(b []byte) (int, error)       { return w.in.Read(b) }
func (w *wire) Write(b []byte) (int, error)      { return w.out.Write(b) }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }
func (w *wire) Close() error                     { return nil }

// sent returns what a client of crypto/tls sends first.
func sent(config *tls.Config) []byte {
	config.InsecureSkipVerify = true
	w := &wire{in: strings.NewReader("")}
	_ = tls.Client(w, config).HandshakeContext(context.Background()) // fails: nobody answers
	return w.out.Bytes()
}

// extension is an extension of a ClientHello.
type extension struct {
	kind    uint16
	content []byte
}

// vector puts the length of b before it, in so many bytes.
func vector(lengthBytes int, b []byte) []byte {
	all := binary.BigEndian.AppendUint32(nil, uint32(len(b)))
	return append(all[4-lengthBytes:], b...)
}

// names returns a server_name extension with some host names.
func names(hosts ...string) extension {
	var list []byte
	for _, h := range hosts {
		list = append(list, 0)
		list = append(list, vector(2, []byte(h))...)
	}
	return extension{0, vector(2, list)}
}

// protocols returns an extension with an offer of protocols.
func protocols(offer ...string) extension {
	var list []byte
	for _, p := range offer {
		list = append(list, vector(1, []byte(p))...)
	}
	return extension{16, vector(2, list)}
}

// clientHello returns a message of TLS 1.2 with extensions, header included.
func clientHello(extensions ...extension) []byte {
	b := append([]byte{3, 3}, make([]byte, 32)...)
	b = append(b, 0)                            // session
	b = append(b, 0, 4, 0x0a, 0x0a, 0xc0, 0x2f) // a grease, a suite
	b = append(b, 1, 0)                         // compression: none
	var list []byte
	for _, e := range extensions {
		list = binary.BigEndian.AppendUint16(list, e.kind)
		list = append(list, vector(2, e.content)...)
	}
	if len(extensions) > 0 {
		b = append(b, vector(2, list)...)
	}
	return append([]byte{1}, vector(3, b)...)
}

// inRecords puts a message into records of a size.
func inRecords(message []byte, size int) []byte {
	var b []byte
	for piece := range slices.Chunk(message, size) {
		b = append(b, 22, 3, 1)
		b = append(b, vector(2, piece)...)
	}
	return b
}

func TestParseHello(t *testing.T) {
	long := strings.Repeat("a.", 127) + "a"
	for _, tt := range []struct {
		name    string
		bytes   []byte
		server  string
		alpn    []string
		verdict sniff.Verdict
	}{
		{"a client of Go", sent(&tls.Config{ServerName: "shop.example", NextProtos: []string{"h2", "http/1.1"}}), "shop.example", []string{"h2", "http/1.1"}, sniff.Complete},
		{"a client of TLS 1.2", sent(&tls.Config{ServerName: "shop.example", MaxVersion: tls.VersionTLS12}), "shop.example", nil, sniff.Complete},
		{"a client that names an address sends no name", sent(&tls.Config{ServerName: "10.0.0.1"}), "", nil, sniff.Complete},
		{"no extensions at all", inRecords(clientHello(), 1<<14), "", nil, sniff.Complete},
		{"a name in capital letters", inRecords(clientHello(names("Shop.EXAMPLE")), 1<<14), "shop.example", nil, sniff.Complete},
		{"a name with a final dot", inRecords(clientHello(names("shop.example.")), 1<<14), "shop.example", nil, sniff.Complete},
		{"the longest name", inRecords(clientHello(names(long)), 1<<14), long, nil, sniff.Complete},
		{"a name that is too long", inRecords(clientHello(names(long+"aa")), 1<<14), "", nil, sniff.Malformed},
		{"a name that is a dot", inRecords(clientHello(names(".")), 1<<14), "", nil, sniff.Malformed},
		{"an empty name", inRecords(clientHello(names("")), 1<<14), "", nil, sniff.Malformed},
		{"an empty list of names", inRecords(clientHello(names()), 1<<14), "", nil, sniff.Malformed},
		{"a name with a line feed", inRecords(clientHello(names("a\nb")), 1<<14), "", nil, sniff.Malformed},
		{"a name beyond ASCII", inRecords(clientHello(names("bücher.example")), 1<<14), "", nil, sniff.Malformed},
		{"two names", inRecords(clientHello(names("a.example", "b.example")), 1<<14), "", nil, sniff.Malformed},
		{"two lists of names", inRecords(clientHello(names("a.example"), names("b.example")), 1<<14), "", nil, sniff.Malformed},
		{"names of other kinds are passed over", inRecords(clientHello(extension{0, []byte{0, 9, 7, 0, 1, 'x', 0, 0, 2, 'a', 'b'}}), 1<<14), "ab", nil, sniff.Complete},
		{"a list of names with more behind it", inRecords(clientHello(extension{0, []byte{0, 4, 0, 0, 1, 'x', 1}}), 1<<14), "", nil, sniff.Malformed},
		{"a name that is longer than its list", inRecords(clientHello(extension{0, []byte{0, 4, 0, 0, 2, 'x'}}), 1<<14), "", nil, sniff.Malformed},
		{"protocols with grease", inRecords(clientHello(protocols("\x0a\x0a", "h2", "postgresql")), 1<<14), "", []string{"\x0a\x0a", "h2", "postgresql"}, sniff.Complete},
		{"two offers of protocols", inRecords(clientHello(protocols("h2"), protocols("x")), 1<<14), "", nil, sniff.Malformed},
		{"an empty protocol", inRecords(clientHello(protocols("h2", "")), 1<<14), "", nil, sniff.Malformed},
		{"an empty offer", inRecords(clientHello(protocols()), 1<<14), "", nil, sniff.Malformed},
		{"more protocols than are kept", inRecords(clientHello(protocols(slices.Repeat([]string{"h2"}, 100)...)), 1<<14), "", slices.Repeat([]string{"h2"}, sniff.MaxProtocols), sniff.Complete},
		{"extensions that nobody knows", inRecords(clientHello(extension{0x0a0a, nil}, names("a"), extension{0xdada, []byte{0}}), 1<<14), "a", nil, sniff.Complete},
		{"an extension that is cut short", inRecords(cut(clientHello(names("a"))), 1<<14), "", nil, sniff.Malformed},
		{"bytes behind the extensions", inRecords(grown(clientHello(names("a"))), 1<<14), "", nil, sniff.Malformed},
		{"a message that ends in its random", inRecords([]byte{1, 0, 0, 4, 3, 3, 0, 0}, 1<<14), "", nil, sniff.Malformed},
		{"an empty message", inRecords([]byte{1, 0, 0, 0}, 1<<14), "", nil, sniff.Malformed},
		{"records of a byte each", inRecords(clientHello(names("shop.example"), protocols("h2")), 1), "shop.example", []string{"h2"}, sniff.Complete},
		{"records of three bytes", inRecords(clientHello(names("shop.example"), protocols("h2")), 3), "shop.example", []string{"h2"}, sniff.Complete},
		{"more records than are gone through", inRecords(clientHello(extension{21, make([]byte, 2000)}), 1), "", nil, sniff.Malformed},
		{"several full records", inRecords(clientHello(extension{21, make([]byte, 50_000)}, names("a")), 1<<14), "a", nil, sniff.Complete},
		{"what follows in the same record", inRecords(append(clientHello(names("a")), "more"...), 1<<14), "a", nil, sniff.Complete},
		{"what follows in another record", append(inRecords(clientHello(names("a")), 1<<14), 23, 3, 3, 0, 1, 0), "a", nil, sniff.Complete},
		{"an oversized message, told by its length", []byte{22, 3, 1, 0x40, 0, 1, 1, 0, 0}, "", nil, sniff.Malformed},
		{"an oversized message, told by its records", inRecords(clientHello(extension{21, make([]byte, 65_300)}), 100), "", nil, sniff.Malformed},
		{"an oversized record", []byte{22, 3, 1, 0x40, 1}, "", nil, sniff.Malformed},
		{"an empty record", []byte{22, 3, 1, 0, 0}, "", nil, sniff.Malformed},
		{"a message of another type", []byte{22, 3, 3, 0, 4, 2}, "", nil, sniff.Malformed},
		{"an alert between the records", append(inRecords(clientHello()[:10], 1<<14), 21, 3, 3, 0, 2, 2, 40), "", nil, sniff.Malformed},
		{"an alert", []byte{21, 3, 3, 0, 2, 2, 40}, "", nil, sniff.NotTLS},
		{"a ClientHello of SSL 2", []byte{0x80, 0x2e, 1, 3, 1, 0, 0x15, 0, 0, 0, 0x10}, "", nil, sniff.NotTLS},
		{"another major version", []byte{22, 2}, "", nil, sniff.NotTLS},
		{"HTTP", []byte("GET / HTTP/1.1\r\n\r\n"), "", nil, sniff.NotTLS},
		{"SSH", []byte("SSH-2.0-OpenSSH_9.6\r\n"), "", nil, sniff.NotTLS},
		{"nothing", nil, "", nil, sniff.NeedMore},
		{"a byte", []byte{22}, "", nil, sniff.NeedMore},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, v := sniff.ParseHello(tt.bytes)
			if v != tt.verdict {
				t.Fatalf("ParseHello(%.80q) = %v, want %v", tt.bytes, v, tt.verdict)
			}
			if h.ServerName != tt.server || !slices.Equal(h.ALPN, tt.alpn) {
				t.Errorf("ParseHello(%.80q) = %+v, want %q and %q", tt.bytes, h, tt.server, tt.alpn)
			}
		})
	}
}

// cut takes the last byte of a message away, and none from its length.
func cut(message []byte) []byte {
	message = slices.Clone(message[:len(message)-1])
	binary.BigEndian.PutUint16(message[2:], uint16(len(message)-4))
	return message
}

// grown adds a byte to a message.
func grown(message []byte) []byte {
	message = append(slices.Clone(message), 0)
	binary.BigEndian.PutUint16(message[2:], uint16(len(message)-4))
	return message
}

func TestEveryPrefixOfAHelloNeedsMore(t *testing.T) {
	whole := clientHello(names("shop.example"), protocols("h2"))
	for _, size := range []int{1, 2, 7, len(whole) - 1, len(whole)} {
		b := inRecords(whole, size)
		for n := range b {
			if h, v := sniff.ParseHello(b[:n]); v != sniff.NeedMore {
				t.Fatalf("records of %d: %d bytes of %d are %v, %+v", size, n, len(b), v, h)
			}
		}
		if _, v := sniff.ParseHello(b); v != sniff.Complete {
			t.Errorf("records of %d: all %d bytes are %v", size, len(b), v)
		}
	}
}

func TestAFullBufferNeverNeedsMore(t *testing.T) {
	b := inRecords(clientHello(extension{21, make([]byte, 65_470)}), 1<<14)
	if len(b) <= sniff.MaxHello {
		t.Fatalf("the test sends %d bytes", len(b))
	}
	for _, n := range []int{sniff.MaxHello, sniff.MaxHello + 1, len(b)} {
		if _, v := sniff.ParseHello(b[:n]); v != sniff.Malformed {
			t.Errorf("%d bytes are %v, want malformed", n, v)
		}
	}
}

var errEnough = errors.New("enough was seen")

// accepted returns what crypto/tls reads of a ClientHello, nil if it refuses
// it or wants more.
func accepted(b []byte) (info *tls.ClientHelloInfo) {
	config := &tls.Config{GetConfigForClient: func(i *tls.ClientHelloInfo) (*tls.Config, error) {
		info = i
		return nil, errEnough
	}}
	_ = tls.Server(&wire{in: bytes.NewReader(b)}, config).HandshakeContext(context.Background())
	return info
}

func FuzzParseHello(f *testing.F) {
	f.Add(sent(&tls.Config{ServerName: "shop.example", NextProtos: []string{"h2", "http/1.1"}}))
	f.Add(sent(&tls.Config{ServerName: "shop.example", MaxVersion: tls.VersionTLS12}))
	f.Add(inRecords(clientHello(extension{0x1a1a, nil}, names("A.example"), protocols("\x2a\x2a", "h2"), extension{0xaaaa, []byte{0}}), 1<<14))
	f.Add(inRecords(clientHello(names("a.example"), protocols("h2")), 5))
	f.Add(inRecords(clientHello(names("a.example"), names("b.example")), 1<<14))
	f.Add([]byte{22, 3, 1, 0x40, 0, 1, 1, 0, 0})
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, v := sniff.ParseHello(b)
		prefixesAgree(t, b, h, v)
		info := accepted(b)
		switch {
		case v == sniff.Complete && info == nil:
			return // we refuse less, such as duplicates of what we do not read
		case v == sniff.Complete:
			if want := strings.ToLower(info.ServerName); h.ServerName != want {
				t.Errorf("the name is %q, crypto/tls reads %q", h.ServerName, want)
			}
			if n := min(len(info.SupportedProtos), sniff.MaxProtocols); !slices.Equal(h.ALPN, info.SupportedProtos[:n]) {
				t.Errorf("the protocols are %q, crypto/tls reads %q", h.ALPN, info.SupportedProtos)
			}
		case info != nil && !stricter(b, info):
			t.Errorf("%q is %v, crypto/tls reads %q, %q", b, v, info.ServerName, info.SupportedProtos)
		}
	})
}

// stricter reports whether what crypto/tls accepts is refused here on purpose.
func stricter(b []byte, info *tls.ClientHelloInfo) bool {
	odd := strings.ContainsFunc(info.ServerName, func(r rune) bool { return r <= ' ' || r > '~' })
	return odd || len(info.ServerName) > 255 || len(b) > sniff.MaxHello || otherMajor(b)
}

// otherMajor reports whether a record is not of version 3, which crypto/tls
// does not ask at first.
func otherMajor(b []byte) bool {
	for len(b) >= 5 {
		if b[1] != 3 {
			return true
		}
		b = b[min(len(b), 5+int(binary.BigEndian.Uint16(b[3:]))):]
	}
	return false
}

// prefixesAgree checks that a client who sends in pieces is judged alike.
func prefixesAgree(t *testing.T, b []byte, h sniff.Hello, v sniff.Verdict) {
	t.Helper()
	step := max(1, len(b)/64)
	for n := 0; n < len(b); n += step {
		early, ev := sniff.ParseHello(b[:n])
		if ev == sniff.NeedMore {
			continue
		}
		if ev != v || early.ServerName != h.ServerName || !slices.Equal(early.ALPN, h.ALPN) {
			t.Fatalf("%d bytes of %q are %v, %+v; all are %v, %+v", n, b, ev, early, v, h)
		}
	}
}

func TestParseHelloAllocatesItsNamesOnly(t *testing.T) {
	b := inRecords(clientHello(names("shop.example"), protocols("h2")), 1<<14)
	if n := testing.AllocsPerRun(100, func() {
		if _, v := sniff.ParseHello(b); v != sniff.Complete {
			t.Fatal(v)
		}
	}); n > 2 {
		t.Errorf("%v allocations, want the name and the list of protocols", n)
	}
}

func BenchmarkParseHello(b *testing.B) {
	hello := sent(&tls.Config{ServerName: "shop.example", NextProtos: []string{"h2", "http/1.1"}})
	for _, bb := range []struct {
		name  string
		bytes []byte
	}{
		{"one record", hello},
		{"records of 100 bytes", inRecords(hello[5:], 100)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				sniff.ParseHello(bb.bytes)
			}
		})
	}
}
