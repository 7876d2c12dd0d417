// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/test/freeport"
)

// framed is an instance that speaks HTTP/2 frame by frame: does is told of each
// stream that begins, once its request is complete, and of how many did before,
// in all connections. It runs until the test ends.
func framed(t *testing.T, does func(f *http2.Framer, stream uint32, before int64)) (address string) {
	t.Helper()
	ln := listen(t)
	var all sync.WaitGroup
	var streams atomic.Int64
	all.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			_ = nc.SetDeadline(time.Now().Add(time.Minute))
			all.Go(func() {
				defer nc.Close()
				serveFrames(nc, func(f *http2.Framer, stream uint32) { does(f, stream, streams.Add(1)-1) })
			})
		}
	})
	t.Cleanup(all.Wait)
	t.Cleanup(func() { _ = ln.Close() })
	return ln.Addr().String()
}

// serveFrames serves a connection.
func serveFrames(nc net.Conn, does func(f *http2.Framer, stream uint32)) {
	if _, err := io.ReadFull(nc, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	f := http2.NewFramer(nc, nc)
	_ = f.WriteSettings()
	for {
		fr, err := f.ReadFrame()
		if err != nil {
			return
		}
		switch fr := fr.(type) {
		case *http2.SettingsFrame:
			if !fr.IsAck() {
				_ = f.WriteSettingsAck()
			}
		case *http2.HeadersFrame:
			if fr.StreamEnded() {
				does(f, fr.StreamID)
			}
		case *http2.DataFrame:
			if fr.StreamEnded() {
				does(f, fr.StreamID)
			}
		}
	}
}

// answerEmpty answers a stream with 200, no content, and further
// fields.
func answerEmpty(f *http2.Framer, stream uint32, fields ...string) {
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	e.SetMaxDynamicTableSize(0)
	_ = e.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
	for i := 0; i < len(fields); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true})
}

// What an instance says that it did nothing about is sent again, whatever the
// method; but not without end.
func TestRefusedStreamsAreSentAgain(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		refuses int64
		status  int
		streams int64 // that the instance saw
	}{
		{"once", 1, http.StatusOK, 2},
		{"three times", 3, http.StatusOK, 4},
		{"without end", 1000, http.StatusBadGateway, 4},
	} {
		for _, from := range protocols {
			t.Run(tt.name+" from "+from.name, func(t *testing.T) {
				t.Parallel()
				var streams atomic.Int64
				at := framed(t, func(f *http2.Framer, stream uint32, before int64) {
					streams.Add(1)
					if before < tt.refuses {
						_ = f.WriteRSTStream(stream, http2.ErrCodeRefusedStream)
						return
					}
					answerEmpty(f, stream)
				})
				c := crossTo(t, from, protocols[1], newStage(), at)
				resp, _ := c.ask(t, request(t, http.MethodPost, c.url+"/", strings.NewReader("content")))
				if resp.StatusCode != tt.status || streams.Load() != tt.streams {
					t.Errorf("status %d (%s) after %d streams, want %d after %d",
						resp.StatusCode, resp.Header.Get("Sluice-Reason"), streams.Load(), tt.status, tt.streams)
				}
				c.quiet()
			})
		}
	}
}

// What an instance resets for other reasons may have had an effect: it is only
// sent again if it is safe.
func TestResetStreamsAreNotSentAgain(t *testing.T) {
	t.Parallel()
	var streams atomic.Int64
	at := framed(t, func(f *http2.Framer, stream uint32, _ int64) {
		streams.Add(1)
		_ = f.WriteRSTStream(stream, http2.ErrCodeInternal)
	})
	c := crossTo(t, protocols[0], protocols[1], newStage(), at)
	resp, _ := c.ask(t, request(t, http.MethodPost, c.url+"/", strings.NewReader("content")))
	if resp.StatusCode != http.StatusBadGateway || streams.Load() != 1 {
		t.Errorf("status %d after %d streams, want 502 after 1", resp.StatusCode, streams.Load())
	}
	c.quiet()
}

// An instance that ends connections, each after some requests, takes none back:
// what came too late for one is sent over the next.
func TestGoAwayLosesNoRequest(t *testing.T) {
	t.Parallel()
	const workers, requests = 8, 50
	at := framed(t, func(f *http2.Framer, stream uint32, _ int64) {
		if stream == 21 {
			_ = f.WriteGoAway(stream, http2.ErrCodeNo, nil)
		}
		if stream <= 21 { // what follows is not looked at
			answerEmpty(f, stream)
		}
	})
	c := crossTo(t, protocols[1], protocols[1], newStage(), at)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for range requests {
				resp, err := c.try(t, request(t, http.MethodPost, c.url+"/", strings.NewReader("content")))
				if err != nil || resp.StatusCode != http.StatusOK {
					t.Errorf("a request failed: %v %+v", err, resp.Response)
					return
				}
			}
		})
	}
	all.Wait()
	c.quiet()
}

// restarting is an instance that can be stopped and started again at the same
// address.
type restarting struct {
	t    *testing.T
	addr string
	h    http.Handler
	s    *http.Server
	done chan struct{}
}

func (r *restarting) start() {
	var ln net.Listener
	eventually(r.t, "the address is free", func() (ok bool) {
		var err error
		ln, err = new(net.ListenConfig).Listen(r.t.Context(), "tcp", r.addr)
		return err == nil
	})
	r.addr = ln.Addr().String()
	s := &http.Server{Handler: r.h, Protocols: protocols[1].protocols(), ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)}
	done := make(chan struct{})
	r.s, r.done = s, done
	go func() {
		defer close(done)
		_ = s.Serve(ln)
	}()
}

func (r *restarting) stop() {
	_ = r.s.Shutdown(context.Background())
	<-r.done
}

// Instances that are restarted one after the other under load lose nothing, not
// even what may not be sent twice.
func TestRestartsUnderLoadLoseNothing(t *testing.T) {
	t.Parallel()
	const restarts, workers = 6, 8
	var served atomic.Int64
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		served.Add(1)
		_, _ = fmt.Fprint(w, string(body), err)
	})
	instances := [2]*restarting{}
	for k := range instances {
		instances[k] = &restarting{t: t, addr: fmt.Sprintf("127.0.0.1:%d", freeport.One(t)), h: h}
		instances[k].start()
		defer func() { instances[k].stop() }()
	}
	port := freeport.One(t)
	tr := &http.Transport{Protocols: protocols[1].protocols()}
	t.Cleanup(tr.CloseIdleConnections)
	c := &crossing{bed: start(t, nil), from: protocols[1], url: local(port), client: &http.Client{Transport: tr, Timeout: time.Minute}}
	c.lead(port, func(g *routing.Gateway) { g.Routes[0].Protocol = routing.ProtocolH2C },
		route("shop", routing.FullWeight, instances[0].addr, instances[1].addr))
	var all sync.WaitGroup
	var sent atomic.Int64
	stop := make(chan struct{})
	for range workers {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				sent.Add(1)
				resp, err := c.try(t, request(t, http.MethodPost, c.url+"/", strings.NewReader("content")))
				if err != nil {
					t.Errorf("a request failed: %v", err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				if err != nil || resp.StatusCode != http.StatusOK || string(body) != "content<nil>" {
					t.Errorf("a request failed: %d %q (%s), %v", resp.StatusCode, body, resp.Header.Get("Sluice-Reason"), err)
					return
				}
			}
		})
	}
	for n := range restarts {
		i := instances[n%2]
		before := served.Load()
		eventually(t, "there is load", func() bool { return t.Failed() || served.Load() > before+50 })
		i.stop()
		i.start()
	}
	close(stop)
	all.Wait()
	if sent.Load() != served.Load() {
		t.Errorf("%d requests were sent, and %d served", sent.Load(), served.Load())
	}
	c.quiet()
}

// Who is led to an instance that speaks something else than its route says is
// told so, and so is whoever looks at the status.
func TestInstancesThatSpeakSomethingElse(t *testing.T) {
	t.Parallel()
	s := newStage()
	c := crossTo(t, protocols[0], protocols[1], s, s.serve(t, protocols[0]))
	resp, _ := c.ask(t, request(t, http.MethodGet, c.url+"/hello", http.NoBody))
	if reason := resp.Header.Get("Sluice-Reason"); resp.StatusCode != http.StatusBadGateway || reason != "upstream_protocol" {
		t.Errorf("status %d (%s), want 502 (upstream_protocol)", resp.StatusCode, reason)
	}
	route := c.server.Status()[0].Routes[0]
	if route.Protocol != "h2c" || !strings.Contains(route.Problem, "it answers by HTTP/1: ") {
		t.Errorf("the status of the route is protocol %q, problem %q", route.Protocol, route.Problem)
	}
	c.quiet()
}

// Nothing is left of connections to instances when the proxy has ended.
func TestNoGoroutineOutlivesTheProxy(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("all", func(t *testing.T) {
		everywhere(t, func(t *testing.T, c *crossing) {
			t.Helper()
			for range 3 {
				c.works(t)
			}
		})
	})
	eventually(t, "no goroutine is left", func() bool {
		http.DefaultClient.CloseIdleConnections()
		return runtime.NumGoroutine() <= before
	})
}

// An instance that answers calls with UNAVAILABLE fails, though its status is
// 200: it is left alone for a while.
func TestCallsThatAreUnavailableEject(t *testing.T) {
	t.Parallel()
	var bad, good atomic.Int64
	ill := framed(t, func(f *http2.Framer, stream uint32, _ int64) {
		bad.Add(1)
		answerEmpty(f, stream, "content-type", "application/grpc", "grpc-status", "14")
	})
	well := framed(t, func(f *http2.Framer, stream uint32, _ int64) {
		good.Add(1)
		answerEmpty(f, stream, "content-type", "application/grpc", "grpc-status", "0")
	})
	b := start(t, nil)
	port := freeport.One(t)
	var unavailable routing.StatusSet
	unavailable[503>>6] |= 1 << (503 & 63)
	b.lead(port, func(g *routing.Gateway) {
		g.Routes[0].Protocol = routing.ProtocolGRPC
		g.Routes[0].Ejection = routing.PartOf(routing.Ejection{Failures: 3, Statuses: unavailable, Time: time.Hour, MostTime: time.Hour, Most: routing.FullWeight})
	}, route("shop", routing.FullWeight, ill, well))
	tr := &http.Transport{Protocols: protocols[1].protocols()}
	defer tr.CloseIdleConnections()
	for n := 0; bad.Load() < 3 || n < 200; n++ {
		r := request(t, http.MethodPost, local(port)+"/shop.Cart/Add", strings.NewReader("\x00\x00\x00\x00\x00"))
		r.Header.Set("Content-Type", "application/grpc")
		resp, err := tr.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if n == 1000 {
			t.Fatalf("%d calls to the instance that is unavailable, %d to the other one", bad.Load(), good.Load())
		}
	}
	eventually(t, "it gets nothing", func() bool { return b.states(0) == "ejected unknown" })
}
