// SPDX-License-Identifier: Apache-2.0

package load

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// lines is a codec of several lanes: it begins with a greeting, a request is a
// line with the number of its lane, and so is its answer, in any order.
type lines struct{ held []byte }

const linesLanes = 4

func (l *lines) lanes() int { return linesLanes }

func (l *lines) reset() []byte {
	l.held = nil
	return []byte("hello\n")
}

func (l *lines) ask(lane int, request int32) []byte {
	return fmt.Appendf(nil, "%d %d\n", lane, request)
}

func (l *lines) take(b []byte) (n int, a answer, done bool, err error) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		l.held = append(l.held, b...)
		return len(b), answer{}, false, nil
	}
	text := string(l.held) + string(b[:i])
	l.held = nil
	lane, err := strconv.Atoi(strings.TrimSuffix(text, "!"))
	return i + 1, answer{lane: lane, status: 200, last: strings.HasSuffix(text, "!")}, true, err
}

func (l *lines) end() (a answer, done bool) { return answer{}, false }

// serveLines answers four requests at a time, the last first, until it has
// answered 20 times. The last answers say that the connection ends.
func serveLines(c net.Conn, answering func(requests int)) error {
	in := bufio.NewReader(c)
	if s, err := in.ReadString('\n'); err == nil && s != "hello\n" {
		return fmt.Errorf("greeting %q", s)
	}
	for round := range 20 {
		seen := map[string]bool{}
		var out string
		for range linesLanes {
			s, err := in.ReadString('\n')
			if err != nil {
				return nil //nolint:nilerr // the run is over
			}
			lane, _, _ := strings.Cut(s, " ")
			seen[lane] = true
			out = lane + "\n" + out
		}
		if len(seen) != linesLanes {
			return fmt.Errorf("round %d: lanes %v; want each once", round, seen)
		}
		if round == 19 {
			out = strings.Replace(out, "\n", "!\n", 1)
		}
		answering(linesLanes)
		if _, err := io.WriteString(c, out); err != nil {
			return nil //nolint:nilerr // the run is over
		}
	}
	return nil
}

func TestLanes(t *testing.T) {
	t.Parallel()
	for name, newEngine := range map[string]func(*run, target) (engine, error){
		"plaintext":  newEngine,
		"goroutines": func(r *run, t target) (engine, error) { return newGoroutines(r, t), nil },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			var total atomic.Int64
			var served sync.WaitGroup
			defer served.Wait()
			defer ln.Close()
			served.Go(func() {
				for {
					c, err := ln.Accept()
					if err != nil {
						return
					}
					served.Go(func() {
						defer c.Close()
						if err := serveLines(c, func(n int) {
							if total.Add(int64(n)) >= 2400 {
								cancel()
							}
						}); err != nil {
							t.Error(err)
						}
					})
				}
			})
			p, err := Plan{
				Address: ln.Addr().String(), Mix: requestsOf(1, 1), Connections: 3, Duration: time.Minute,
			}.checked()
			if err != nil {
				t.Fatal(err)
			}
			r, err := newRun(p, func() codec { return &lines{} }, false)
			if err != nil {
				t.Fatal(err)
			}
			to, err := resolve(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			e, err := newEngine(r, to)
			if err != nil {
				t.Fatal(err)
			}
			interrupted := e.drive(ctx, nil)
			result, err := r.result(ctx, false)
			if !interrupted || err != nil || result.Failed() != 0 || result.Requests > total.Load() || result.Requests < 2400-4*3*linesLanes {
				t.Errorf("%+v, %v; want about %d answers", result, err, total.Load())
			}
			if least := result.Requests / linesLanes / 20; result.Connections < least {
				t.Errorf("%d connections, want at least %d", result.Connections, least)
			}
		})
	}
}
