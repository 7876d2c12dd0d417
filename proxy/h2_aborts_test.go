// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
)

// abandoned returns a request that the client can give up.
func (c *crossing) abandoned(t *testing.T, method, path string, body io.Reader) (r *http.Request, giveUp func()) {
	t.Helper()
	ctx, giveUp := context.WithCancel(t.Context())
	t.Cleanup(giveUp)
	r, err := http.NewRequestWithContext(ctx, method, c.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	return r, giveUp
}

// fails sends a request that gets no answer.
func (c *crossing) fails(t *testing.T, r *http.Request) {
	t.Helper()
	resp, err := c.client.Do(r)
	if err == nil {
		_ = resp.Body.Close()
		t.Errorf("got an answer %d", resp.StatusCode)
	}
}

func TestClientsGiveUpBetweenProtocols(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, c *crossing) {
		t.Helper()
		learns := func(t *testing.T) {
			t.Helper()
			if err := heard(t, "the instance learns of it", c.stage.ended); err == nil {
				t.Error("the instance takes what it got for complete")
			}
			c.works(t)
			c.quiet()
		}
		t.Run("before the answer", func(t *testing.T) {
			r, giveUp := c.abandoned(t, http.MethodGet, "/wait", http.NoBody)
			go func() {
				<-c.stage.began
				giveUp()
			}()
			c.fails(t, r)
			learns(t)
		})
		t.Run("during the answer", func(t *testing.T) {
			r, giveUp := c.abandoned(t, http.MethodGet, "/drip", http.NoBody)
			expectBytes(t, c.do(t, r).Body, "drop")
			<-c.stage.began
			giveUp()
			learns(t)
		})
		t.Run("during their content", func(t *testing.T) {
			out, in := io.Pipe()
			r, giveUp := c.abandoned(t, http.MethodPost, "/read", out)
			go func() {
				_, _ = io.WriteString(in, "the beginning")
				<-c.stage.began
				giveUp()
				_ = in.CloseWithError(context.Canceled) // in HTTP/1 the client waits for it
			}()
			c.fails(t, r)
			learns(t)
		})
	})
}

func TestInstancesBreakOffBetweenProtocols(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, c *crossing) {
		t.Helper()
		t.Run("before the answer", func(t *testing.T) {
			resp, body := c.ask(t, request(t, http.MethodPost, c.url+"/abort", strings.NewReader("content")))
			if resp.StatusCode != http.StatusBadGateway || resp.Header.Get("Sluice-Reason") == "" {
				t.Errorf("status %d %q, want 502 with a reason", resp.StatusCode, body)
			}
			c.works(t)
		})
		for _, path := range []string{"/abort/sized", "/abort/streamed"} {
			t.Run(path, func(t *testing.T) {
				resp := c.do(t, request(t, http.MethodGet, c.url+path, http.NoBody))
				if body, err := io.ReadAll(resp.Body); err == nil || string(body) != "the beginning" {
					t.Errorf("got %q, %v; want the beginning and then an error", body, err)
				}
				c.works(t)
			})
		}
		t.Run("during the request", func(t *testing.T) {
			out, in := io.Pipe()
			defer in.Close()
			go func() { _, _ = io.WriteString(in, strings.Repeat("0123456789", 10)) }()
			resp, body := c.ask(t, request(t, http.MethodPost, c.url+"/abort/reading", out))
			if resp.StatusCode != http.StatusBadGateway || resp.Header.Get("Sluice-Reason") == "" {
				t.Errorf("status %d %q, want 502 with a reason", resp.StatusCode, body)
			}
			c.works(t)
		})
		c.quiet()
	})
}
