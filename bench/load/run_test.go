// SPDX-License-Identifier: Apache-2.0

package load_test

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/bench/load"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// onEngine is a test on one of the ways in which runs move their bytes.
type onEngine struct {
	*testing.T

	secure bool
	run    func(context.Context, load.Plan, func(load.Progress)) (*load.Result, error)
}

// onEngines runs a test on each of them. Where there is epoll, the first is on
// it.
func onEngines(t *testing.T, test func(onEngine)) {
	t.Helper()
	t.Run("plaintext", func(t *testing.T) {
		t.Parallel()
		test(onEngine{t, false, load.Run})
	})
	t.Run("goroutines", func(t *testing.T) {
		t.Parallel()
		test(onEngine{t, false, load.RunOnGoroutines})
	})
	t.Run("TLS", func(t *testing.T) {
		t.Parallel()
		test(onEngine{t, true, load.Run})
	})
}

// offer runs a plan against a server. The plan ends by itself long before the
// duration that it is given here.
func (t onEngine) offer(s *server, p load.Plan) *load.Result {
	t.Helper()
	p.Address, p.TLS = s.address, s.tls
	if p.Duration == 0 {
		p.Duration = time.Minute
	}
	r, err := t.run(t.Context(), p, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	chunked := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, tt := range []struct {
		name   string
		wire   string // what is asked, / where empty
		pieces []string
		class  int
		ends   bool // the server closes after each answer
	}{
		{name: "a body of known length", pieces: []string{ok}, class: 2},
		{name: "an answer in pieces", pieces: []string{"HT", "TP/1.1 20", "0 OK\r", "\nContent-Le", "ngth: 2\r\n", "\r", "\n", "o", "k"}, class: 2},
		{name: "an empty body", pieces: []string{"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"}, class: 4},
		{name: "chunks", pieces: []string{chunked, "5\r\nhello\r\n", "1;last\r\n!\r\n0\r\n\r\n"}, class: 2},
		{name: "chunks in pieces", pieces: []string{chunked, "1", "0\r", "\n0123456789", "abcdef", "\r", "\n0", "\r\nDigest:", " x\r\n", "\r\n"}, class: 2},
		{name: "a hint before the answer", pieces: []string{"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok}, class: 2},
		{name: "no content", pieces: []string{"HTTP/1.1 204 No Content\r\n\r\n"}, class: 2},
		{name: "not modified, with a length", pieces: []string{"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n"}, class: 3},
		{name: "an answer to HEAD", wire: "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", pieces: []string{"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"}, class: 2},
		{name: "a body that ends with the connection", pieces: []string{"HTTP/1.1 500 Oh\r\n\r\nbody", " and more"}, class: 5, ends: true},
		{name: "a connection that is announced to end", pieces: []string{"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"}, class: 2, ends: true},
		{name: "a request that ends its connection", wire: "GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n", pieces: []string{ok}, class: 2, ends: true},
		{name: "HTTP/1.0", pieces: []string{"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"}, class: 2, ends: true},
		{name: "HTTP/1.0 that keeps the connection", pieces: []string{"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"}, class: 2},
		{name: "a status that is none", pieces: []string{"HTTP/1.1 999 \r\nContent-Length: 0\r\n\r\n"}, class: 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			onEngines(t, func(t onEngine) {
				serve := always(tt.pieces...)
				if tt.ends {
					serve = func(p *peer) {
						p.request()
						p.say(tt.pieces...)
					}
				}
				s := listen(t.T, t.secure, serve)
				wire := get("/")
				if tt.wire != "" {
					wire = []byte(tt.wire)
				}
				const n = 20
				r := t.offer(s, load.Plan{Mix: mixOf(wire), Connections: 2, Requests: n})
				if r.Requests != n || r.Status[tt.class] != n || r.Failed() != 0 {
					t.Errorf("Requests = %d, Status = %v, Errors = %v; want %d of class %d", r.Requests, r.Status, r.Errors, n, tt.class)
				}
				if r.Latency.TotalCount() != n || r.ByRequest != nil {
					t.Errorf("%d latencies, ByRequest = %v; want %d and none", r.Latency.TotalCount(), r.ByRequest, n)
				}
				made := int64(2)
				if tt.ends {
					made = n // and those that were open when the last answer came
				}
				if r.Connections < made || r.Connections > made+2 || s.made.Load() < made {
					t.Errorf("Connections = %d, the server saw %d; want about %d", r.Connections, s.made.Load(), made)
				}
			})
		})
	}
}

func TestFailures(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		serve func(*peer)
		kind  string
	}{
		{"the connection is reset", func(p *peer) { p.request(); p.reset() }, "reset"},
		{"the connection ends before the answer", func(p *peer) { p.request() }, "closed"},
		{"the connection ends inside the head", func(p *peer) { p.request(); p.say("HTTP/1.1 200 OK\r\n") }, "closed"},
		{"the connection ends inside the body", func(p *peer) { p.request(); p.say(ok[:len(ok)-1]) }, "closed"},
		{"the connection ends inside a chunk", func(p *peer) {
			p.request()
			p.say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhell")
		}, "closed"},
		{"no answer comes", func(p *peer) { p.request(); p.hang() }, "timeout"},
		{"the answer stops", func(p *peer) { p.request(); p.say(ok[:len(ok)-1]); p.hang() }, "timeout"},
		{"something else answers", func(p *peer) { p.request(); p.say("SSH-2.0-OpenSSH_9.2\r\n"); p.hang() }, "protocol"},
		{"something else answers without a line", func(p *peer) { p.request(); p.say("\x15\x03\x01"); p.hang() }, "protocol"},
		{"more is said than was asked", func(p *peer) { p.request(); p.say(ok + ok); p.hang() }, "protocol"},
		{"two lengths", func(p *peer) {
			p.request()
			p.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok")
			p.hang()
		}, "protocol"},
		{"another protocol, which nobody asked for", func(p *peer) {
			p.request()
			p.say("HTTP/1.1 101 Switching Protocols\r\n\r\n")
			p.hang()
		}, "protocol"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			onEngines(t, func(t onEngine) {
				n := int64(6)
				s := listen(t.T, t.secure, tt.serve)
				p := load.Plan{Mix: mixOf(get("/")), Connections: 2, Requests: n}
				if tt.kind == "timeout" {
					p.Requests, p.Timeout = 2, 2*time.Second // enough for the connection
					n = 2
				}
				r := t.offer(s, p)
				if want := map[string]int64{tt.kind: n}; !maps.Equal(r.Errors, want) || r.Requests != 0 || r.Failed() != n {
					t.Errorf("Errors = %v, Requests = %d, Failed() = %d; want %v and no answers", r.Errors, r.Requests, r.Failed(), want)
				}
				if r.Latency.TotalCount() != 0 {
					t.Errorf("%d latencies of failures; want none", r.Latency.TotalCount())
				}
			})
		})
	}
}

func TestConnectFails(t *testing.T) {
	t.Parallel()
	t.Run("a target that never accepts is an error", func(t *testing.T) {
		t.Parallel()
		onEngines(t, func(t onEngine) {
			address := "127.0.0.1:" + strconv.Itoa(freeport.One(t.T))
			r, err := t.run(t.Context(), load.Plan{Address: address, Mix: mixOf(get("/"))}, nil)
			if err == nil || !strings.Contains(err.Error(), "nothing could connect to "+address) || !strings.Contains(err.Error(), "refused") {
				t.Errorf("Run = %v, %v; want an error that says what refused", r, err)
			}
		})
	})
	t.Run("a target that accepts no more makes requests fail", func(t *testing.T) {
		t.Parallel()
		onEngines(t, func(t onEngine) {
			var s *server
			ready := make(chan struct{})
			s = listen(t.T, t.secure, func(p *peer) {
				p.request()
				<-ready
				_ = s.ln.Close()
				p.say(ok)
			})
			close(ready)
			r := t.offer(s, load.Plan{Mix: mixOf(get("/")), Connections: 1, PerConnection: 1, Requests: 5})
			if want := map[string]int64{"connect": 4}; r.Requests != 1 || !maps.Equal(r.Errors, want) {
				t.Errorf("Requests = %d, Errors = %v; want 1 and %v", r.Requests, r.Errors, want)
			}
		})
	})
}

func TestMix(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t onEngine) {
		var mu sync.Mutex
		seen := map[string]int{}
		s := listen(t.T, t.secure, func(p *peer) {
			for {
				target, more := p.request()
				if !more {
					return
				}
				mu.Lock()
				seen[target]++
				mu.Unlock()
				p.say(ok)
			}
		})
		r := t.offer(s, load.Plan{
			Mix: []load.Request{
				{Name: "a", Weight: 60, Wire: get("/a")},
				{Name: "b", Weight: 30, Wire: get("/b")},
				{Name: "c", Weight: 10, Wire: get("/c")},
			},
			Connections: 7, Requests: 1000,
		})
		mu.Lock()
		defer mu.Unlock()
		if want := map[string]int{"/a": 600, "/b": 300, "/c": 100}; !maps.Equal(seen, want) {
			t.Errorf("the server saw %v, want %v", seen, want)
		}
		var counts []int64
		for _, h := range r.ByRequest {
			counts = append(counts, h.TotalCount())
		}
		if len(counts) != 3 || counts[0] != 600 || counts[1] != 300 || counts[2] != 100 {
			t.Errorf("ByRequest counts %v, want 600, 300, 100", counts)
		}
	})
}

func TestPerConnection(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name                                 string
		perConnection, requests, connections int
	}{
		{"a connection for each request", 1, 30, 30},
		{"a connection for 5 requests", 5, 30, 6},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			onEngines(t, func(t onEngine) {
				var mu sync.Mutex
				carried := map[int64]int{}
				s := listen(t.T, t.secure, func(p *peer) {
					for {
						if _, more := p.request(); !more {
							return
						}
						mu.Lock()
						carried[p.n]++
						mu.Unlock()
						p.say(ok)
					}
				})
				r := t.offer(s, load.Plan{
					Mix: mixOf(get("/")), Connections: 3, PerConnection: tt.perConnection, Requests: int64(tt.requests),
				})
				if r.Requests != int64(tt.requests) || r.Failed() != 0 {
					t.Errorf("Requests = %d, Errors = %v; want %d", r.Requests, r.Errors, tt.requests)
				}
				mu.Lock()
				defer mu.Unlock()
				var sum int
				for n, k := range carried {
					sum += k
					if k > tt.perConnection {
						t.Errorf("connection %d carried %d requests, want at most %d", n, k, tt.perConnection)
					}
				}
				if sum != tt.requests || len(carried) < tt.connections {
					t.Errorf("%d requests on %d connections, want %d on at least %d", sum, len(carried), tt.requests, tt.connections)
				}
			})
		})
	}
}

func TestOpenLoop(t *testing.T) {
	t.Parallel()
	accounts := func(t *testing.T, r *load.Result) {
		t.Helper()
		if sum := r.Requests + r.Failed() + r.Unanswered + r.Unsent; sum != r.Scheduled {
			t.Errorf("%d answered, %d failed, %d unanswered, %d unsent: %d; want the %d scheduled",
				r.Requests, r.Failed(), r.Unanswered, r.Unsent, sum, r.Scheduled)
		}
		if n := r.Latency.TotalCount(); n != r.Scheduled-r.Failed() {
			t.Errorf("%d latencies, want those of all but the failed: %d", n, r.Scheduled-r.Failed())
		}
	}
	t.Run("as many are due as rate and duration say", func(t *testing.T) {
		t.Parallel()
		onEngines(t, func(t onEngine) {
			s := listen(t.T, t.secure, always(ok))
			r := t.offer(s, load.Plan{
				Mix: mixOf(get("/")), Connections: 4, Rate: 2000, Warmup: 50 * time.Millisecond, Duration: 200 * time.Millisecond,
			})
			accounts(t.T, r)
			if r.Scheduled != 400 || r.Elapsed != 200*time.Millisecond || r.Failed() != 0 {
				t.Errorf("Scheduled = %d in %v, Errors = %v; want 400 in 200ms", r.Scheduled, r.Elapsed, r.Errors)
			}
		})
	})
	t.Run("the bound on requests bounds the schedule", func(t *testing.T) {
		t.Parallel()
		onEngines(t, func(t onEngine) {
			s := listen(t.T, t.secure, always(ok))
			r := t.offer(s, load.Plan{Mix: mixOf(get("/")), Connections: 4, Rate: 5000, Requests: 333})
			accounts(t.T, r)
			if r.Scheduled != 333 || r.Requests != 333 {
				t.Errorf("Scheduled = %d, Requests = %d; want 333", r.Scheduled, r.Requests)
			}
			if least := 332 * time.Second / 5000; r.Elapsed < least {
				t.Errorf("Elapsed = %v; the last was due after %v", r.Elapsed, least)
			}
		})
	})
	t.Run("failures are part of the account", func(t *testing.T) {
		t.Parallel()
		onEngines(t, func(t onEngine) {
			s := listen(t.T, t.secure, func(p *peer) {
				for i := range 3 {
					if _, more := p.request(); !more || i == 2 {
						return
					}
					p.say(ok)
				}
			})
			r := t.offer(s, load.Plan{Mix: mixOf(get("/")), Connections: 4, Rate: 150, Duration: 2 * time.Second})
			accounts(t.T, r)
			if r.Scheduled != 300 || r.Requests == 0 || r.Errors["closed"] == 0 {
				t.Errorf("Scheduled = %d, Requests = %d, Errors = %v; want 300, both answered and closed", r.Scheduled, r.Requests, r.Errors)
			}
		})
	})
	t.Run("what hangs counts with the time it waited", func(t *testing.T) {
		t.Parallel()
		onEngines(t, func(t onEngine) {
			s := listen(t.T, t.secure, func(p *peer) { p.request(); p.hang() })
			r := t.offer(s, load.Plan{Mix: mixOf(get("/")), Connections: 2, Rate: 100, Duration: 2 * time.Second})
			accounts(t.T, r)
			if r.Scheduled != 200 || r.Unanswered != 2 || r.Unsent != 198 {
				t.Errorf("Scheduled = %d, Unanswered = %d, Unsent = %d; want 200, 2, 198", r.Scheduled, r.Unanswered, r.Unsent)
			}
			if p50, longest := r.Latency.ValueAtQuantile(50), r.Latency.Max(); p50 < 990e6 || p50 > 1010e6 || longest < 1990e6 {
				t.Errorf("p50 = %v, max = %v; want 1s, 2s", time.Duration(p50), time.Duration(longest))
			}
		})
	})
}

func TestBytes(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t onEngine) {
		s := listen(t.T, t.secure, always(ok))
		wire := []byte("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n" + strings.Repeat("x", 3_000_000))
		const n = 10
		r := t.offer(s, load.Plan{Mix: mixOf(wire), Connections: 2, Requests: n})
		if r.Requests != n || r.BytesIn != n*int64(len(ok)) {
			t.Errorf("Requests = %d, Errors = %v, BytesIn = %d; want %d, %d", r.Requests, r.Errors, r.BytesIn, n, n*len(ok))
		}
		if least := n * int64(len(wire)); r.BytesOut < least { // the next one may have begun
			t.Errorf("BytesOut = %d, want at least %d", r.BytesOut, least)
		}
	})
}

func TestLargeAnswers(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t onEngine) {
		const size = 5_000_000
		answer := "HTTP/1.1 200 OK\r\nContent-Length: " + strconv.Itoa(size) + "\r\n\r\n" + strings.Repeat("x", size)
		s := listen(t.T, t.secure, always(answer))
		r := t.offer(s, load.Plan{Mix: mixOf(get("/")), Connections: 2, Requests: 8})
		if r.Requests != 8 || r.Failed() != 0 || r.BytesIn < 8*int64(len(answer)) {
			t.Errorf("Requests = %d, Errors = %v, BytesIn = %d", r.Requests, r.Errors, r.BytesIn)
		}
	})
}

func TestClosedLoop(t *testing.T) {
	t.Parallel()
	t.Run("what is out at the end is no error", func(t *testing.T) {
		t.Parallel()
		onEngines(t, func(t onEngine) {
			var out sync.WaitGroup
			out.Add(3)
			s := listen(t.T, t.secure, func(p *peer) {
				p.request()
				p.say(ok)
				p.request()
				out.Done()
				p.hang()
			})
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				out.Wait()
				cancel()
			}()
			r, err := t.run(ctx, load.Plan{Address: s.address, TLS: s.tls, Mix: mixOf(get("/")), Connections: 3, Duration: time.Minute}, nil)
			if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			if r.Requests != 3 || r.Failed() != 0 || r.Unanswered != 0 || r.Latency.TotalCount() != 3 {
				t.Errorf("Requests = %d, Errors = %v, Unanswered = %d; want 3 answers and nothing else", r.Requests, r.Errors, r.Unanswered)
			}
		})
	})
	t.Run("a connection that the server ends while idle is replaced", func(t *testing.T) {
		t.Parallel()
		onEngines(t, func(t onEngine) {
			// The end comes before the schedule uses the connection again.
			s := listen(t.T, t.secure, func(p *peer) {
				p.request()
				p.say(ok)
			})
			r := t.offer(s, load.Plan{Mix: mixOf(get("/")), Connections: 1, Rate: 1, Requests: 3})
			if r.Requests != 3 || r.Failed() != 0 {
				t.Errorf("Requests = %d, Errors = %v; want 3", r.Requests, r.Errors)
			}
		})
	})
}

func TestInterrupted(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t onEngine) {
		s := listen(t.T, t.secure, always(ok))
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("enough")
		var reports []load.Progress
		r, err := t.run(ctx, load.Plan{
			Address: s.address, TLS: s.tls, Mix: mixOf(get("/")), Connections: 2, Warmup: time.Microsecond, Duration: time.Hour,
		}, func(p load.Progress) {
			reports = append(reports, p)
			cancel(why)
		})
		if !errors.Is(err, why) || r == nil || r.Requests == 0 || r.Elapsed < 900*time.Millisecond || r.Rate() <= 0 {
			t.Errorf("Run = %+v, %v; want the result so far and %v", r, err, why)
		}
		if len(reports) != 1 {
			t.Fatalf("%d reports; want one", len(reports))
		}
		p := reports[0]
		if p.Elapsed < time.Second || p.Total != time.Hour+time.Microsecond || p.Warmup || p.Requests == 0 || p.Failed != 0 || p.P50 <= 0 || p.P99 < p.P50 {
			t.Errorf("progress %+v; want a second's", p)
		}
	})
}
