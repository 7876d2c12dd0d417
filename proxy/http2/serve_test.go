// SPDX-License-Identifier: Apache-2.0

package http2_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy/http2"
	"github.com/sluice-mesh/sluice/proxy/socket"
)

// patience is how long a test waits for what must come.
const patience = time.Minute

// sweep runs a sweeper for the test.
func sweep(tb testing.TB) *socket.Sweeper {
	tb.Helper()
	s := new(socket.Sweeper)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.Run(ctx)
	}()
	tb.Cleanup(func() {
		cancel()
		<-done
	})
	return s
}

// messages serves HTTP/1 over conversations by a handler, as an exchange does.
type messages struct {
	handler http.Handler
	wg      sync.WaitGroup
}

func (m *messages) accept(c *socket.Conn) { m.wg.Go(func() { m.serve(c) }) }

func (m *messages) serve(c *socket.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		q, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		w := &writer{conn: c, fields: make(http.Header), request: q}
		if !m.answer(w, q) {
			c.Abort()
			return
		}
		if w.finish() != nil {
			return
		}
		if _, err := io.Copy(io.Discard, q.Body); err != nil {
			return
		}
	}
}

// answer reports whether the handler came to its end.
func (m *messages) answer(w http.ResponseWriter, q *http.Request) (whole bool) {
	defer func() {
		if r := recover(); r != nil && !errors.Is(r.(error), http.ErrAbortHandler) {
			panic(r)
		}
	}()
	m.handler.ServeHTTP(w, q)
	return true
}

// writer writes an answer by chunks.
type writer struct {
	conn    *socket.Conn
	fields  http.Header
	request *http.Request
	began   bool
	err     error
}

func (w *writer) Header() http.Header { return w.fields }

func (w *writer) WriteHeader(status int) {
	w.began = status >= 200
	b := []byte("HTTP/1.1 " + http.StatusText(0) + string([]byte{'0' + byte(status/100), '0' + byte(status/10%10), '0' + byte(status%10)}) + " \r\n")
	for name, values := range w.fields {
		if len(name) > len(http.TrailerPrefix) && name[:len(http.TrailerPrefix)] == http.TrailerPrefix {
			continue
		}
		for _, v := range values {
			b = append(b, name+": "+v+"\r\n"...)
		}
	}
	if w.chunked() && status >= 200 {
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	w.write(append(b, "\r\n"...))
}

func (w *writer) chunked() bool { return w.fields.Get("Content-Length") == "" }

func (w *writer) write(b []byte) {
	if w.err == nil {
		_, w.err = w.conn.WriteWithin(b, patience)
	}
}

func (w *writer) Write(b []byte) (int, error) {
	if !w.began {
		w.WriteHeader(http.StatusOK)
	}
	if len(b) == 0 || w.request.Method == http.MethodHead {
		return len(b), w.err
	}
	if !w.chunked() {
		w.write(b)
		return len(b), w.err
	}
	const digits = "0123456789abcdef"
	var size []byte
	for n := len(b); n > 0; n >>= 4 {
		size = append([]byte{digits[n&15]}, size...)
	}
	size = append(size, '\r', '\n')
	w.write(append(append(size, b...), '\r', '\n'))
	return len(b), w.err
}

func (w *writer) Flush() {}

func (w *writer) finish() error {
	if !w.began {
		w.WriteHeader(http.StatusOK)
	}
	if !w.chunked() || w.request.Method == http.MethodHead {
		return w.err
	}
	b := []byte("0\r\n")
	for name, values := range w.fields {
		if len(name) > len(http.TrailerPrefix) && name[:len(http.TrailerPrefix)] == http.TrailerPrefix {
			b = append(b, name[len(http.TrailerPrefix):]+": "+values[0]+"\r\n"...)
		}
	}
	w.write(append(b, '\r', '\n'))
	return w.err
}

// server is a listener of which every connection speaks HTTP/2.
type server struct {
	addr  string
	conns chan *http2.Conn
	ended chan error
}

func serve(tb testing.TB, o *http2.Options, h http.HandlerFunc) *server {
	tb.Helper()
	ln, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := &server{addr: ln.Addr().String(), conns: make(chan *http2.Conn, 1000), ended: make(chan error, 1000)}
	sweeper := sweep(tb)
	m := &messages{handler: h}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var all []*http2.Conn
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			sc, err := sweeper.Open(nc.(*net.TCPConn))
			if err != nil {
				tb.Error(err)
				return
			}
			c := http2.New(sc, sweeper, o, m.accept)
			mu.Lock()
			all = append(all, c)
			mu.Unlock()
			s.conns <- c
			wg.Go(func() { s.ended <- c.Run(nil) })
		}
	})
	tb.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		for _, c := range all {
			c.Abort()
		}
		mu.Unlock()
		wg.Wait()
		m.wg.Wait()
	})
	return s
}
