// SPDX-License-Identifier: Apache-2.0

package http2_test

import (
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy/http2"
	"github.com/sluice-mesh/sluice/proxy/socket"
)

// Exchanges of all sizes that either side gives up at any moment disturb no
// other, and leave nothing behind.
func TestConversationsThatAreGivenUpDisturbNoOthers(t *testing.T) {
	s := serve(t, &http2.Options{StreamWindow: 8 << 10, ConnWindow: 64 << 10, Abuse: http2.Abuse{Resets: 1 << 20, Strays: 1 << 20, Refused: 1 << 20, Windows: 1 << 20}},
		func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Fail") != "" {
				_, _ = io.CopyN(w, r.Body, 100)
				panic(http.ErrAbortHandler)
			}
			_, _ = io.Copy(w, r.Body)
		})
	c := dial(t, s.addr)
	served := <-s.conns
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			for range 100 {
				if err := stress(c, random); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	until(t, "all streams are over", func() bool { return c.Streams() == 0 && served.Streams() == 0 })
	until(t, "all conversations are", func() bool { return c.Lanes() == 0 && served.Lanes() <= 100 })
	if err := exchangeWhole(c, 100_000); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// until waits for what must come to be.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for began := time.Now(); !is(); time.Sleep(time.Millisecond) {
		if time.Since(began) > patience {
			t.Fatalf("it never came that %s", what)
		}
	}
}

// stress has one exchange of some kind, and returns what should not be.
func stress(c *http2.Conn, random *rand.Rand) error {
	size := random.IntN(40_000)
	switch random.IntN(4) {
	case 0:
		return exchangeWhole(c, size)
	case 1:
		return giveUp(c, size, (*socket.Conn).Close)
	case 2:
		return giveUp(c, size, (*socket.Conn).Abort)
	default:
		return failed(c, size)
	}
}

func chunkedPost(size int, more string) string {
	text := "POST / HTTP/1.1\r\nHost: a\r\n" + more + "Transfer-Encoding: chunked\r\n\r\n"
	if size > 0 {
		text += hex(size) + "\r\n" + strings.Repeat("x", size) + "\r\n"
	}
	return text + "0\r\n\r\n"
}

// send writes a request in another goroutine, for its answer comes meanwhile.
func send(l *socket.Conn, text string) (wait func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = l.WriteWithin([]byte(text), patience)
	}()
	return func() { <-done }
}

func exchangeWhole(c *http2.Conn, size int) error {
	l, ok := c.Lane()
	if !ok {
		return errors.New("no room for a stream")
	}
	defer l.Close()
	defer send(l, chunkedPost(size, ""))()
	b, err := readAnswer(l)
	if err == nil && b != size {
		err = errors.New("an answer of another size")
	}
	return err
}

func readAnswer(l *socket.Conn) (int, error) {
	_, body, err := ask(l, "")
	return len(body), err
}

// giveUp ends a conversation in the middle of its exchange.
func giveUp(c *http2.Conn, size int, end func(*socket.Conn) bool) error {
	l, ok := c.Lane()
	if !ok {
		return errors.New("no room for a stream")
	}
	wait := send(l, chunkedPost(size, ""))
	var b [64]byte
	_, err := l.Read(b[:])
	end(l)
	wait()
	if err != nil && size > 0 {
		return err
	}
	return nil
}

// failed has an exchange that the server gives up.
func failed(c *http2.Conn, size int) error {
	l, ok := c.Lane()
	if !ok {
		return errors.New("no room for a stream")
	}
	defer l.Close()
	wait := send(l, chunkedPost(size, "Fail: 1\r\n"))
	_, err := readAnswer(l)
	l.Expire()
	wait()
	if err == nil {
		return errors.New("an answer that was given up is complete")
	}
	return nil
}
