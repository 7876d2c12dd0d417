// SPDX-License-Identifier: Apache-2.0

package test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sluice-mesh/sluice/test/certs"
)

// scriptTB is a script as what makes certificates sees a test.
type scriptTB struct {
	testing.TB

	ts *testscript.TestScript
}

func (t scriptTB) Helper()                      {}
func (t scriptTB) Fatal(args ...any)            { t.ts.Fatalf("%s", fmt.Sprint(args...)) }
func (t scriptTB) Fatalf(f string, args ...any) { t.ts.Fatalf(f, args...) }

// authority returns the script's authority of a name, which it makes if there
// is none, with its certificate in NAME.crt.
func (b *bed) authority(ts *testscript.TestScript, name string) *certs.CA {
	if b.authorities[name] == nil {
		ca := certs.New(scriptTB{ts: ts})
		ca.WriteFile(ts.MkAbs("."), name+".crt")
		b.authorities[name] = ca
	}
	return b.authorities[name]
}

// trusted returns the certificates of all authorities of the script.
func (b *bed) trusted() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, ca := range b.authorities {
		pool.AppendCertsFromPEM(ca.PEM)
	}
	return pool
}

// cmdCertificate writes FILE.crt and FILE.key, vouched for by an authority
// whose certificate is in AUTHORITY.crt: certificate [-by AUTHORITY]
// [-expired] FILE NAME....
func cmdCertificate(ts *testscript.TestScript, neg bool, args []string) {
	by, expired := "ca", false
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		switch {
		case args[0] == "-expired":
			expired = true
		case args[0] == "-by" && len(args) > 1:
			by, args = args[1], args[1:]
		default:
			ts.Fatalf("unknown flag %s", args[0])
		}
		args = args[1:]
	}
	if neg || len(args) < 2 {
		ts.Fatalf("usage: certificate [-by AUTHORITY] [-expired] FILE NAME...")
	}
	ca := bedOf(ts).authority(ts, by)
	if expired {
		ca = ca.With(certs.Expired())
	}
	file := ts.MkAbs(args[0])
	ca.Issue(scriptTB{ts: ts}, args[1:]...).WriteFiles(filepath.Dir(file), filepath.Base(file))
}

// cmdFingerprint sets a variable to the SHA-256 of a certificate in
// hexadecimal digits: fingerprint VAR FILE.
func cmdFingerprint(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: fingerprint VAR FILE")
	}
	block, _ := pem.Decode([]byte(ts.ReadFile(args[1])))
	if block == nil {
		ts.Fatalf("%s is no PEM file", args[1])
	}
	ts.Setenv(args[0], fmt.Sprintf("%x", sha256.Sum256(block.Bytes)))
}

// cmdSecret checks that nothing of a key is in what the admin server tells, nor
// in the log: secret FILE.... It looks for parts of its text and for its number.
func cmdSecret(ts *testscript.TestScript, neg bool, args []string) {
	b := bedOf(ts)
	if neg || len(args) == 0 || b.sluice == nil {
		ts.Fatalf("usage: secret FILE..., after sluice-up")
	}
	said := map[string]string{"the log": b.sluice.log.String() + b.sluice.out.String()}
	for _, page := range []string{"/", "/status", "/metrics", "/readyz", "/healthz"} {
		_, body, err := b.ask(b.ctx, http.MethodGet, page)
		ts.Check(err)
		said[page] = body
	}
	for _, file := range args {
		parts := secretsOf(ts, file)
		for place, text := range said {
			for _, part := range parts {
				if strings.Contains(strings.ToLower(text), strings.ToLower(part)) {
					ts.Fatalf("%s has a part of the key in %s:\n%s", place, file, text)
				}
			}
		}
	}
}

// secretsOf returns what must not be told of a key: each line of its text, and
// its number in the forms in which programs print it.
func secretsOf(ts *testscript.TestScript, file string) (parts []string) {
	text := ts.ReadFile(file)
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "-----END") {
			parts = append(parts, line)
		}
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		ts.Fatalf("%s is no PEM file", file)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	ts.Check(err)
	number, err := key.(*ecdsa.PrivateKey).Bytes()
	ts.Check(err)
	return append(parts, hex.EncodeToString(number), new(big.Int).SetBytes(number).String(), base64.StdEncoding.EncodeToString(number))
}

// secure says how a client speaks before HTTP.
type secure struct {
	tls   *tls.Config // nil: plain text
	proxy []byte      // header of the PROXY protocol; nil: none
}

// securing are the flags that say so.
type securing struct {
	name    string // server name; empty: as the URL and the Host field say
	certs   []tls.Certificate
	version uint16
	proxy   []byte
}

// flag takes a flag that is its own: -sni NAME, -cert FILE, -tls VERSION, or
// -proxy v1|v2=ADDRESS.
func (s *securing) flag(ts *testscript.TestScript, flag, value string) bool {
	switch flag {
	case "-sni":
		s.name = value
	case "-cert":
		pair, err := tls.LoadX509KeyPair(ts.MkAbs(value+".crt"), ts.MkAbs(value+".key"))
		ts.Check(err)
		s.certs = append(s.certs, pair)
	case "-tls":
		versions := map[string]uint16{"1.0": tls.VersionTLS10, "1.1": tls.VersionTLS11, "1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}
		if s.version = versions[value]; s.version == 0 {
			ts.Fatalf("-tls: no version %q", value)
		}
	case "-proxy":
		version, address, _ := strings.Cut(value, "=")
		source, err := netip.ParseAddrPort(address)
		ts.Check(err)
		switch version {
		case "v1":
			s.proxy = fmt.Appendf(nil, "PROXY TCP4 %s 192.0.2.254 %d 443\r\n", source.Addr(), source.Port())
		case "v2":
			s.proxy = proxyV2(source)
		default:
			ts.Fatalf("-proxy: no version %q", version)
		}
	default:
		return false
	}
	return true
}

// proxyV2 returns a header of version 2 for a connection from source, with a
// type-length-value that nobody knows.
func proxyV2(source netip.AddrPort) []byte {
	b := []byte("\r\n\r\n\x00\r\nQUIT\n\x21\x11")
	b = binary.BigEndian.AppendUint16(b, 12+5)
	from, to := source.Addr().As4(), [4]byte{192, 0, 2, 254}
	b = append(append(b, from[:]...), to[:]...)
	b = binary.BigEndian.AppendUint16(b, source.Port())
	b = binary.BigEndian.AppendUint16(b, 443)
	return append(b, 0xe7, 0, 2, 'h', 'i')
}

// apply says how a request is sent: over TLS if its URL is of https.
func (s *securing) apply(b *bed, q *ask) {
	if !q.https && s.proxy == nil {
		return
	}
	q.secure = &secure{proxy: s.proxy}
	if q.https {
		q.secure.tls = s.config(b, q.host)
	}
}

// config returns what a client speaks TLS with. It believes what the script's
// authorities vouch for.
func (s *securing) config(b *bed, host string) *tls.Config {
	name := s.name
	if name == "" {
		if name, _, _ = net.SplitHostPort(host); name == "" {
			name = host
		}
	}
	return &tls.Config{
		ServerName: name, RootCAs: b.trusted(), Certificates: s.certs,
		MinVersion: s.version, MaxVersion: s.version, //nolint:gosec // a script may ask for an old one, to see it refused
		NextProtos: []string{"http/1.1"},
	}
}

// secure does on a new connection what comes before HTTP.
func (s *secure) secure(ctx context.Context, c net.Conn) (net.Conn, error) {
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if _, err := c.Write(s.proxy); err != nil {
		return nil, err
	}
	if s.tls == nil {
		return c, nil
	}
	t := tls.Client(c, s.tls)
	if err := t.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	return t, nil
}

// greeting connects and returns the first line that the server sends, over
// TLS if a server name is asked for.
func (s *securing) greeting(b *bed, addr string) (string, error) {
	if s.name == "" && s.proxy == nil {
		c, greeting, err := b.greeted(addr)
		if err == nil {
			_ = c.Close()
		}
		return greeting, err
	}
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	how := secure{proxy: s.proxy}
	if s.name != "" {
		how.tls = s.config(b, addr)
	}
	spoken, err := how.secure(ctx, c)
	if err != nil {
		return "", err
	}
	line, err := bufio.NewReader(spoken).ReadString('\n')
	return strings.TrimSpace(line), err
}

// proxied is a listener of an origin that expects a PROXY header on each
// connection, whose client is the one that the header tells.
type proxied struct{ net.Listener }

func (l proxied) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &proxiedConn{Conn: c, r: bufio.NewReader(c)}, nil
}

// proxiedConn reads the header when it is first read.
type proxiedConn struct {
	net.Conn

	r      *bufio.Reader
	once   sync.Once
	source string // with its version, such as "v2 192.0.2.1:5000"
	err    error
}

func (c *proxiedConn) Read(b []byte) (int, error) {
	if c.once.Do(c.header); c.err != nil {
		return 0, c.err
	}
	return c.r.Read(b)
}

// errNoHeader reports a connection that does not begin with a PROXY header.
var errNoHeader = errors.New("no PROXY header")

// header reads the header in either version, as the protocol's document has
// it; nothing of the proxy's own is used.
func (c *proxiedConn) header() {
	start, err := c.r.Peek(12)
	if err != nil {
		c.err = err
		return
	}
	if string(start) == "\r\n\r\n\x00\r\nQUIT\n" {
		c.err = c.binary()
		return
	}
	line, err := c.r.ReadString('\n')
	words := strings.Fields(line)
	if err != nil || len(words) != 6 || words[0] != "PROXY" || !strings.HasSuffix(line, "\r\n") {
		c.err = errNoHeader
		return
	}
	c.source = "v1 " + net.JoinHostPort(words[2], words[4])
}

// binary reads version 2.
func (c *proxiedConn) binary() error {
	var head [16]byte
	if _, err := io.ReadFull(c.r, head[:]); err != nil {
		return err
	}
	rest := make([]byte, binary.BigEndian.Uint16(head[14:]))
	if _, err := io.ReadFull(c.r, rest); err != nil {
		return err
	}
	switch {
	case head[12] == 0x20:
		c.source = "v2 local"
	case head[12] == 0x21 && head[13] == 0x11 && len(rest) >= 12:
		ip := netip.AddrFrom4([4]byte(rest[:4]))
		c.source = "v2 " + netip.AddrPortFrom(ip, binary.BigEndian.Uint16(rest[8:])).String()
	default:
		return errNoHeader
	}
	return nil
}
