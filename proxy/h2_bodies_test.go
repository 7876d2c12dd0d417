// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// streamed hides how long a body is.
func streamed(r io.Reader) io.Reader { return struct{ io.Reader }{r} }

func TestBodiesBetweenProtocols(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, c *crossing) {
		t.Helper()
		for _, size := range []int{0, 1, 100, 16 << 10, 16<<10 + 1, 1 << 20} {
			payload := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
			for _, hidden := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d bytes, streamed %v", size, hidden), func(t *testing.T) {
					for range 3 {
						var body io.Reader = bytes.NewReader(payload)
						want := int64(size)
						if hidden {
							body, want = streamed(body), -1
						}
						resp, got := c.ask(t, request(t, http.MethodPost, c.url+"/echo", body))
						if got != string(payload) {
							t.Fatalf("got %d bytes, want the %d that were sent", len(got), size)
						}
						length := resp.Header.Get("X-Framing")
						if length == "0" && size == 0 && c.to.h2 {
							continue // that there is none may be said with the head
						}
						if length != strconv.FormatInt(want, 10) {
							t.Errorf("the instance was told a length of %s, want %d", length, want)
						}
					}
				})
			}
		}
		if got := c.stage.conns.Load(); got > 3 {
			t.Errorf("%d connections to the instance for one request at a time", got)
		}
	})
}

func TestManyAtOnceBetweenProtocols(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, c *crossing) {
		t.Helper()
		var group sync.WaitGroup
		for i := range 50 {
			group.Go(func() {
				for j := range 5 {
					payload := strings.Repeat(fmt.Sprintf("%d of %d;", j, i), 1+i*200)
					resp, err := c.client.Do(request(t, http.MethodPost, c.url+"/echo", streamed(strings.NewReader(payload))))
					if err != nil {
						t.Error(err)
						return
					}
					got, err := io.ReadAll(resp.Body)
					_ = resp.Body.Close()
					if err != nil || string(got) != payload {
						t.Errorf("got %d bytes, %v; want the %d that were sent", len(got), err, len(payload))
					}
				}
			})
		}
		group.Wait()
		c.quiet()
	})
}

func TestHeadsBetweenProtocols(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, c *crossing) {
		t.Helper()
		r := request(t, http.MethodGet, c.url+"/seen/a%2Fb/?x=%20y&z", http.NoBody)
		r.Host = "shop.example"
		r.Header.Set("Cookie", "a=1; b=2; c=3")
		r.Header.Add("X-Twice", "one")
		r.Header.Add("X-Twice", "two, three")
		r.Header.Set("X-Long", strings.Repeat("long ", 1000)+"end")
		r.Header.Set("X-Empty", "")
		r.Header.Set("Proxy-Connection", "keep-alive")
		r.Header.Set("Te", "trailers")
		resp, _ := c.ask(t, r)
		seen := heard(t, "the instance has seen it", c.stage.seen)
		if seen.ProtoMajor != c.to.major() {
			t.Errorf("the instance is spoken to in %s", seen.Proto)
		}
		if seen.Host != "shop.example" || seen.RequestURI != "/seen/a%2Fb/?x=%20y&z" {
			t.Errorf("host %q and target %q are not as sent", seen.Host, seen.RequestURI)
		}
		for name, want := range map[string][]string{
			"Cookie": {"a=1; b=2; c=3"}, "X-Twice": {"one", "two, three"}, "X-Long": r.Header["X-Long"], "X-Empty": {""},
			"X-Forwarded-Proto": {strings.Split(c.url, ":")[0]}, "X-Forwarded-Host": {"shop.example"}, "X-Forwarded-For": {"127.0.0.1"},
			"Proxy-Connection": nil, "Connection": nil, "Transfer-Encoding": nil, "Upgrade": nil,
		} {
			if got := seen.Header.Values(name); !slices.Equal(got, want) {
				t.Errorf("%s = %.50q, want %.50q", name, got, want)
			}
		}
		if got := resp.Header.Values("Set-Cookie"); !slices.Equal(got, []string{"a=1", "b=2"}) {
			t.Errorf("Set-Cookie = %q", got)
		}
	})
}

func TestAnswersWithoutContentBetweenProtocols(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, c *crossing) {
		t.Helper()
		for _, tt := range []struct {
			name, method, path string
			status             int
			length             int64
		}{
			{"HEAD keeps the length that GET would have", http.MethodHead, "/sized", 200, sizedAnswer},
			{"HEAD of what has none", http.MethodHead, "/status/200", 200, -1},
			{"204", http.MethodGet, "/status/204", 204, 0},
			{"304", http.MethodGet, "/status/304", 304, 0},
			{"200 that is empty", http.MethodGet, "/status/200", 200, 0},
			{"GET has its length", http.MethodGet, "/sized", 200, sizedAnswer},
		} {
			t.Run(tt.name, func(t *testing.T) {
				for range 2 {
					resp, body := c.ask(t, request(t, tt.method, c.url+tt.path, http.NoBody))
					length := tt.length
					if length < 0 {
						length = resp.ContentLength // whether it is known is the instance's affair
					}
					if resp.StatusCode != tt.status || resp.ContentLength != length {
						t.Errorf("status %d, length %d; want %d, %d", resp.StatusCode, resp.ContentLength, tt.status, length)
					}
					if want := tt.method == http.MethodGet && tt.length > 0; want != (body != "") {
						t.Errorf("a content of %d bytes", len(body))
					}
				}
			})
		}
	})
}

func TestInterimAnswersBetweenProtocols(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, c *crossing) {
		t.Helper()
		var hints []string
		trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			hints = append(hints, fmt.Sprint(code, " ", h.Get("Link")))
			return nil
		}}
		r := request(t, http.MethodGet, c.url+"/hints", http.NoBody)
		resp, body := c.ask(t, r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
		hint := "103 </style.css>; rel=preload"
		if want := []string{hint, hint}; !slices.Equal(hints, want) || body != "hello" || resp.Header.Get("Link") != "" {
			t.Errorf("got %q, then %q with Link %q", hints, body, resp.Header.Get("Link"))
		}
	})
}

func TestExpectationsBetweenProtocols(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, c *crossing) {
		t.Helper()
		for _, tt := range []struct {
			name, path string
			status     int
			told       bool
		}{
			{"who reads lets the client go on", "/echo", 200, true},
			{"who does not read answers at once", "/early", 401, false},
		} {
			t.Run(tt.name, func(t *testing.T) {
				told := false
				r := request(t, http.MethodPost, c.url+tt.path, strings.NewReader("content"))
				r.Header.Set("Expect", "100-continue")
				trace := &httptrace.ClientTrace{Got100Continue: func() { told = true }}
				resp, _ := c.ask(t, r.WithContext(httptrace.WithClientTrace(r.Context(), trace)))
				if resp.StatusCode != tt.status || tt.told && !told {
					t.Errorf("status %d, told to go on: %v; want %d, %v", resp.StatusCode, told, tt.status, tt.told)
				}
			})
		}
		c.works(t)
	})
}

func TestTrailersBetweenProtocols(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, c *crossing) {
		t.Helper()
		for _, content := range []string{"", "content", strings.Repeat("long", 100_000)} {
			t.Run(fmt.Sprintf("behind %d bytes", len(content)), func(t *testing.T) {
				for range 2 {
					r := request(t, http.MethodPost, c.url+"/trailers", streamed(strings.NewReader(content)))
					r.Trailer = http.Header{"X-Sum": {"42"}, "X-Other": {"a", "b"}}
					resp, body := c.ask(t, r)
					if body != content {
						t.Errorf("got %d bytes, want %d", len(body), len(content))
					}
					for name, want := range map[string][]string{
						"X-Sum": {"42"}, "X-Other": {"a", "b"}, "X-Count": {fmt.Sprint(len(content), " <nil>")},
					} {
						if got := resp.Trailer.Values(name); !slices.Equal(got, want) {
							t.Errorf("trailer %s = %q, want %q", name, got, want)
						}
					}
				}
			})
		}
	})
}

func TestPiecesPassAtOnceBetweenProtocols(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, c *crossing) {
		t.Helper()
		for _, path := range []string{"/steps", "/steps?sized"} {
			t.Run(path, func(t *testing.T) {
				resp := c.do(t, request(t, http.MethodGet, c.url+path, http.NoBody))
				for i := range 3 {
					expectBytes(t, resp.Body, fmt.Sprintf("step%d", i))
					c.stage.next <- struct{}{}
				}
				if rest, err := io.ReadAll(resp.Body); len(rest) > 0 || err != nil {
					t.Errorf("got %q, %v behind it", rest, err)
				}
			})
		}
	})
}

func TestBothWaysAtOnceBetweenProtocols(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, c *crossing) {
		t.Helper()
		out, in := io.Pipe()
		defer in.Close()
		answered := make(chan reply, 1)
		go func() {
			resp, err := c.try(t, request(t, http.MethodPost, c.url+"/echo/pieces", out))
			if err != nil {
				t.Error(err)
			}
			answered <- resp
		}()
		_, _ = io.WriteString(in, "piece 0")
		resp := heard(t, "an answer begins", answered)
		if resp.Response == nil {
			return
		}
		for i := range 100 {
			expectBytes(t, resp.Body, fmt.Sprintf("piece %d", i))
			if _, err := fmt.Fprintf(in, "piece %d", i+1); err != nil {
				t.Fatal(err)
			}
		}
		_ = in.Close()
		if rest, err := io.ReadAll(resp.Body); string(rest) != "piece 100" || err != nil {
			t.Errorf("got %q, %v at the end", rest, err)
		}
	})
}

// flood sends content for ever, and returns the answer that comes before the
// end. The client of package http takes that for an error, in HTTP/1.
func (c *crossing) flood(t *testing.T, path string) reply {
	t.Helper()
	if c.from.h2 {
		return c.do(t, request(t, http.MethodPost, c.url+path, streamed(zeros{})))
	}
	nc := dial(t, c.url)
	go func() {
		_, err := io.WriteString(nc, "POST "+path+" HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
		for err == nil {
			_, err = io.WriteString(nc, "1000\r\n"+strings.Repeat("x", 0x1000)+"\r\n")
		}
	}()
	resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return reply{resp}
}

// zeros are without end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

func TestEarlyAnswersBetweenProtocols(t *testing.T) {
	t.Parallel()
	everywhere(t, func(t *testing.T, c *crossing) {
		t.Helper()
		for range 3 {
			resp := c.flood(t, "/early")
			body, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusUnauthorized || string(body) != "no\n" || err != nil {
				t.Errorf("status %d %q, %v; want 401", resp.StatusCode, body, err)
			}
		}
		c.works(t)
		c.quiet()
	})
}
