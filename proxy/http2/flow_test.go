// SPDX-License-Identifier: Apache-2.0

package http2_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/proxy/http2"
)

// What an instance sends is for many clients: those that do not read keep back
// no answers but their own.
func TestAnswersThatNobodyReadsKeepBackNoOthers(t *testing.T) {
	content := strings.Repeat("x", 1<<20)
	c := dial(t, instance(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, content) }))
	for range 40 {
		l := lane(t, c)
		defer l.Close()
		if _, err := l.Write([]byte(plain)); err != nil {
			t.Fatal(err)
		}
		until(t, "an answer begins", func() bool { return l.Pending() > 0 })
	}
	l := lane(t, c)
	defer l.Close()
	if _, body, err := ask(l, plain); err != nil || body != content {
		t.Errorf("got %d bytes, %v, want %d", len(body), err, len(content))
	}
}

// Of a client no more is kept unread than its connection's window, however many
// streams it has; what it sends goes on once it is read.
func TestContentThatNobodyReadsIsBounded(t *testing.T) {
	const window = 128 << 10
	hold := make(chan struct{})
	s := serve(t, &http2.Options{ConnWindow: window}, func(w http.ResponseWriter, r *http.Request) {
		<-hold
		n, _ := io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, hex(int(n)))
	})
	c := dial(t, s.addr)
	sent := make(chan error)
	const streams, size = 8, 100_000
	for range streams {
		l := lane(t, c)
		go func() {
			defer l.Close()
			wait := send(l, chunkedPost(size, ""))
			_, body, err := ask(l, "")
			wait()
			if err == nil && body != hex(size) {
				err = io.ErrShortWrite
			}
			sent <- err
		}()
	}
	served := <-s.conns
	// The server has a buffer of 4 KB for each request.
	until(t, "the window is used up", func() bool { return served.Unread() >= window-streams*4096 })
	if n := served.Unread(); n > window {
		t.Errorf("%d bytes are unread, of which %d were allowed", n, window)
	}
	close(hold)
	for range streams {
		if err := <-sent; err != nil {
			t.Error(err)
		}
	}
	until(t, "all is read", func() bool { return served.Unread() == 0 })
}
