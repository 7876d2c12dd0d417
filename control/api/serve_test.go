// SPDX-License-Identifier: Apache-2.0

package api_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-mesh/sluice/control/api"
	"github.com/sluice-mesh/sluice/control/stream"
	"github.com/sluice-mesh/sluice/routing"
)

// pipes is a listener of connections in memory, whose time is that of a
// bubble.
type pipes struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (*pipes) Addr() net.Addr { return here }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- hereConn{server}:
		return client, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

var here = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8090}

// hereConn says that both its ends are on this machine.
type hereConn struct{ net.Conn }

func (hereConn) LocalAddr() net.Addr  { return here }
func (hereConn) RemoteAddr() net.Addr { return here }

// oneStore has one change.
type oneStore struct{ noStore }

func (oneStore) Version(context.Context) (routing.Version, error) {
	return routing.Version{Epoch: 1, Revision: 1}, nil
}

// slowProxies never serve a change.
type slowProxies struct{ proxies }

func (*slowProxies) Convergence(change uint64) (stream.Convergence, bool) {
	return stream.Convergence{Change: change, State: stream.Planned, Proxies: 1}, true
}

func (s *slowProxies) Wait(ctx context.Context, change uint64) (stream.Convergence, error) {
	<-ctx.Done()
	c, _ := s.Convergence(change)
	return c, ctx.Err()
}

// inBubble serves an API in memory for as long as ask takes.
func inBubble(t *testing.T, ask func(t *testing.T, client *http.Client, dial func() net.Conn)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		a, err := api.New(api.Options{Store: oneStore{}, Plans: noPlans{}, Proxies: &slowProxies{}})
		if err != nil {
			t.Fatal(err)
		}
		ln := newPipes()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.Serve(ctx, ln) }()
		transport := &http.Transport{DialContext: ln.dial}
		ask(t, &http.Client{Transport: transport}, func() net.Conn {
			c, err := ln.dial(ctx, "", "")
			if err != nil {
				t.Fatal(err)
			}
			return c
		})
		transport.CloseIdleConnections()
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve() = %v, want nil", err)
		}
	})
}

// Who waits is let wait: the bounds of bodies are not for them.
func TestWaitingTakesAsLongAsWasAskedFor(t *testing.T) {
	inBubble(t, func(t *testing.T, client *http.Client, _ func() net.Conn) {
		t.Helper()
		began := time.Now()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:8090/api/v1/changes/1?wait=4m", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if took := time.Since(began); err != nil || resp.StatusCode != http.StatusOK || took != 4*time.Minute || !strings.Contains(string(body), `"planned"`) {
			t.Errorf("answered %d %s, %v after %v, want the state after 4 min", resp.StatusCode, body, err, took)
		}
	})
}

// slowStore takes a second to tell its version.
type slowStore struct {
	noStore
	asked chan struct{}
}

func (s slowStore) Version(ctx context.Context) (routing.Version, error) {
	select {
	case s.asked <- struct{}{}:
	default:
		return routing.Version{Epoch: 1, Revision: 1}, nil // nobody waits for it
	}
	select {
	case <-time.After(time.Second): // of the bubble
		return routing.Version{Epoch: 1, Revision: 1}, nil
	case <-ctx.Done():
		return routing.Version{}, ctx.Err()
	}
}

// At the end of the process requests under way are answered as ever, and those
// that only wait at once: what they wait for goes on without them.
func TestRequestsUnderWayAreAnsweredAtTheEnd(t *testing.T) {
	for name, path := range map[string]string{
		"one that works": "/api/v1/changes/1",
		"one that waits": "/api/v1/changes/1?wait=4m",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				asked := make(chan struct{})
				a, err := api.New(api.Options{Store: slowStore{asked: asked}, Plans: noPlans{}, Proxies: &slowProxies{}})
				if err != nil {
					t.Fatal(err)
				}
				ln := newPipes()
				ctx, end := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- a.Serve(ctx, ln) }()
				go func() {
					<-asked
					end()
				}()
				c, err := ln.dial(ctx, "", "")
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				began := time.Now()
				if _, err := io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
					t.Fatal(err)
				}
				answer, err := io.ReadAll(c)
				if took := time.Since(began); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200") || !strings.Contains(string(answer), `"planned"`) || took != time.Second {
					t.Errorf("answered %q, %v after %v, want the state after 1 s", answer, err, took)
				}
				if err := <-ended; err != nil {
					t.Errorf("Serve() = %v, want nil", err)
				}
			})
		})
	}
}

// A listener that fails ends what is under way, too.
func TestAListenerThatFailsEndsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, err := api.New(api.Options{Store: oneStore{}, Plans: noPlans{}, Proxies: &slowProxies{}})
		if err != nil {
			t.Fatal(err)
		}
		ln := newPipes()
		ended := make(chan error, 1)
		go func() { ended <- a.Serve(t.Context(), ln) }()
		c, err := ln.dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "GET /api/v1/changes/1?wait=4m HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		_ = ln.Close() // by nobody who may
		if answer, err := io.ReadAll(c); err != nil || !strings.Contains(string(answer), `"planned"`) {
			t.Errorf("answered %q, %v, want the state", answer, err)
		}
		if err := <-ended; err == nil {
			t.Error("Serve() = nil, want what became of the listener")
		}
	})
}

// A body that does not come, and an answer that nobody takes, end their
// connections.
func TestConnectionsThatStandAreEnded(t *testing.T) {
	for name, text := range map[string]string{
		"a head that does not come": "POST /api/v1/exp",
		"a body that does not come": "POST /api/v1/explain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{",
		"nothing":                   "",
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, _ *http.Client, dial func() net.Conn) {
				t.Helper()
				c := dial()
				defer c.Close()
				if _, err := io.WriteString(c, text); err != nil {
					t.Fatal(err)
				}
				_ = c.SetReadDeadline(time.Now().Add(5 * time.Minute))
				if _, err := io.Copy(io.Discard, c); err != nil {
					t.Errorf("the connection is open after 5 min: %v", err)
				}
			})
		})
	}
	t.Run("an answer that nobody takes", func(t *testing.T) {
		inBubble(t, func(t *testing.T, _ *http.Client, dial func() net.Conn) {
			t.Helper()
			c := dial()
			defer c.Close()
			if _, err := io.WriteString(c, "GET /api/v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Minute) // of the bubble
			if n, err := io.Copy(io.Discard, c); err != nil || n > 8<<10 {
				t.Errorf("%d bytes came after 5 min, %v, want the connection ended", n, err)
			}
		})
	})
}

func TestConnectionsWaitForATurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pipes := newPipes()
		ln := api.Limit(pipes, 2)
		accepted := make(chan net.Conn)
		go func() {
			defer close(accepted)
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				accepted <- c
			}
		}()
		dial := func() { _, _ = pipes.dial(t.Context(), "", "") }
		go dial()
		go dial()
		first, second := <-accepted, <-accepted
		go dial()
		synctest.Wait()
		select {
		case <-accepted:
			t.Error("a third connection was accepted beside two, want it to wait")
		default:
		}
		_ = first.Close()
		_ = first.Close() // gives up its turn once
		third := <-accepted
		go dial()
		synctest.Wait()
		select {
		case <-accepted:
			t.Error("a fourth connection was accepted beside two, want it to wait")
		default:
		}
		_ = ln.Close()
		_ = second.Close()
		_ = third.Close()
		for c := range accepted { // what was on its way
			_ = c.Close()
		}
	})
}
