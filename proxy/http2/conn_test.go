// SPDX-License-Identifier: Apache-2.0

package http2_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// newClient returns a client of Go's own that speaks HTTP/2 without TLS.
func newClient(t testing.TB) *http.Client {
	t.Helper()
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

func echo(w http.ResponseWriter, r *http.Request) {
	_, _ = fmt.Fprintf(w, "%s %s %s ", r.Method, r.Host, r.URL)
	_, _ = io.Copy(w, r.Body)
}

func TestRequestsAreServed(t *testing.T) {
	s := serve(t, nil, echo)
	c := newClient(t)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			for i := range 20 {
				body := strings.Repeat("x", i*i*200)
				a, err := c.Post("http://"+s.addr+"/here", "text/plain", strings.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				got, err := io.ReadAll(a.Body)
				a.Body.Close()
				if want := "POST " + s.addr + " /here " + body; err != nil || string(got) != want {
					t.Errorf("got %d bytes, %v, want %d", len(got), err, len(want))
				}
			}
		})
	}
	wg.Wait()
}

func TestLargeContentPassesBothWays(t *testing.T) {
	s := serve(t, nil, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	c := newClient(t)
	body := bytes.Repeat([]byte("0123456789abcdef"), 512<<10)
	a, err := c.Post("http://"+s.addr, "text/plain", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	got, err := io.ReadAll(a.Body)
	if err != nil || !bytes.Equal(got, body) {
		t.Errorf("got %d bytes, %v, want %d", len(got), err, len(body))
	}
}
