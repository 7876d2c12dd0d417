// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// TestEndsOfAnswersOverTLS holds that a client never takes for complete what
// is not, and always what is.
func TestEndsOfAnswersOverTLS(t *testing.T) {
	long := strings.Repeat("0123456789", 10_000)
	for _, tt := range []struct {
		name, answer string
		want         string // what the body begins with
		whole        bool   // its end is said
	}{
		{"delimited by the end of the connection", "HTTP/1.1 200 OK\r\n\r\n" + long, long, true},
		{"with a length", "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + long, long, true},
		{"in chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n" + long + "\r\n0\r\n\r\n", "186a0\r\n" + long + "\r\n0\r\n\r\n", true},
		{"with a length and cut short", "HTTP/1.1 200 OK\r\nContent-Length: 100001\r\n\r\n" + long, "", false},
		{"in chunks and cut short", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n186a1\r\n" + long, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := seal(t, nil)
			p := freeport.One(t)
			s.apply(speaks("a", p, scripted(t, tt.answer, false), ""))
			nc := s.connect(t, p, s.config("a.example"))
			if _, err := io.WriteString(nc, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(nc)
			_, body, _ := strings.Cut(string(got), "\r\n\r\n")
			if tt.whole && (err != nil || body != tt.want) {
				t.Errorf("got %d bytes, %v; want all %d and their end", len(body), err, len(tt.want))
			}
			if !tt.whole && len(body) > len(long)+len("186a1\r\n") {
				t.Errorf("%d bytes were made up", len(body)-len(long))
			}
		})
	}
}

// TestCutAnswerOfUnknownLengthOverTLS holds that an answer whose end is that of
// its connection, and that is cut, does not end as if it were whole.
func TestCutAnswerOfUnknownLengthOverTLS(t *testing.T) {
	ln := listen(t)
	go func() {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		_, _ = nc.Read(make([]byte, 1<<10))
		_, _ = io.WriteString(nc, "HTTP/1.1 200 OK\r\n\r\nhalf")
		_, _ = nc.Read(make([]byte, 1)) // until the test has it
		reset(nc)
	}()
	s := seal(t, nil)
	p := freeport.One(t)
	s.apply(speaks("a", p, ln.Addr().String(), ", timeouts: {idle: 300ms}"))
	nc := s.connect(t, p, s.config("a.example"))
	if _, err := io.WriteString(nc, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(nc)
	if err == nil || errors.Is(err, os.ErrDeadlineExceeded) || !strings.HasSuffix(string(got), "half") {
		t.Errorf("got %q, %v; want what came, and no end of it", got, err)
	}
}

// bundling gathers what is written until it is told to send it at once.
type bundling struct {
	net.Conn
	held bytes.Buffer
	on   bool
}

func (b *bundling) Write(p []byte) (int, error) {
	if b.on {
		return b.held.Write(p)
	}
	return b.Conn.Write(p)
}

// TestRequestsInRecords holds that it does not matter how requests are cut into
// records, and records into segments.
func TestRequestsInRecords(t *testing.T) {
	s := seal(t, nil)
	p := freeport.One(t)
	s.apply(speaks("a", p, origin(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(w, r.Body)
		_, _ = io.WriteString(w, r.URL.Path+";")
	}), ""))
	var all, wants strings.Builder
	for i := range 30 {
		if i%3 == 2 {
			fmt.Fprintf(&all, "POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nbody:", i)
			wants.WriteString("body:")
		} else {
			fmt.Fprintf(&all, "GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", i)
		}
		fmt.Fprintf(&wants, "/%d;", i)
	}
	all.WriteString("GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	want := wants.String() + "/end;"
	for _, size := range []int{1, 7, 40, 1 << 20} {
		for _, at := range []int{1, 3, 1 << 20} { // records in a segment
			t.Run(fmt.Sprintf("of %d bytes, %d at a time", size, at), func(t *testing.T) {
				b := &bundling{Conn: dial(t, local(p))}
				nc := tls.Client(b, s.config("a.example"))
				if err := nc.HandshakeContext(t.Context()); err != nil {
					t.Fatal(err)
				}
				b.on = true
				sent := make(chan error, 1)
				go func() { sent <- sendRecords(nc, b, []byte(all.String()), size, at) }()
				got, err := io.ReadAll(nc)
				if err != nil {
					t.Fatal(err)
				}
				if err := <-sent; err != nil {
					t.Fatal(err)
				}
				var bodies strings.Builder
				for _, part := range strings.Split(string(got), "\r\n\r\n")[1:] {
					body, _, _ := strings.Cut(part, "HTTP/1.1 ")
					bodies.WriteString(body)
				}
				if bodies.String() != want {
					t.Errorf("got %q, want %q", &bodies, want)
				}
			})
		}
	}
}

// sendRecords sends text in records of a size, some of them in one segment.
func sendRecords(nc *tls.Conn, b *bundling, text []byte, size, at int) error {
	flush := func() error {
		_, err := b.held.WriteTo(b.Conn)
		return err
	}
	for n := 1; len(text) > 0; n++ {
		k := min(size, len(text))
		if _, err := nc.Write(text[:k]); err != nil {
			return err
		}
		text = text[k:]
		if n%at == 0 {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// TestMinimumRateOverTLS holds that a client which takes too little of an
// answer, or sends too little of a body, is cut.
func TestMinimumRateOverTLS(t *testing.T) {
	s := seal(t, nil)
	p := freeport.One(t)
	s.apply(speaks("a", p, origin(t, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		for range 256 {
			if _, err := io.WriteString(w, longBody); err != nil {
				return
			}
		}
	}), ", limits: {min_rate: 1KB over 1s}"))
	t.Run("an answer", func(t *testing.T) {
		nc := s.connect(t, p, s.config("a.example"))
		if _, err := io.WriteString(nc, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is counted", func() bool { return s.failures(live.ClientTooSlow) == 1 })
		if _, err := io.Copy(io.Discard, nc); err == nil {
			t.Error("what the client got ends as if it were whole")
		}
	})
	t.Run("a body", func(t *testing.T) {
		nc := s.connect(t, p, s.config("a.example"))
		if _, err := io.WriteString(nc, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nx"); err != nil {
			t.Fatal(err)
		}
		_ = nc.SetDeadline(time.Now().Add(time.Minute))
		got, _ := io.ReadAll(nc)
		if !strings.HasPrefix(string(got), "HTTP/1.1 408 ") {
			t.Errorf("got %.60q, want a 408", got)
		}
	})
}
