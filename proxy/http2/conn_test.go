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
func newClient(tb testing.TB) *http.Client {
	tb.Helper()
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	tb.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: patience}
}

func post(t *testing.T, c *http.Client, url string, body io.Reader) (*http.Response, error) {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
	if err != nil {
		return nil, err
	}
	return c.Do(q)
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
				a, err := post(t, c, "http://"+s.addr+"/here", strings.NewReader(body))
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
	a, err := post(t, c, "http://"+s.addr, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	got, err := io.ReadAll(a.Body)
	if err != nil || !bytes.Equal(got, body) {
		t.Errorf("got %d bytes, %v, want %d", len(got), err, len(body))
	}
}
