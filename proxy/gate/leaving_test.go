// SPDX-License-Identifier: Apache-2.0

package gate_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy/gate"
)

const goodbye = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

func listen(t *testing.T) *net.TCPListener {
	t.Helper()
	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln.(*net.TCPListener)
}

func dial(t *testing.T, ln *net.TCPListener) *net.TCPConn {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return c.(*net.TCPConn)
}

// pair returns both ends of a connection, that of the client first.
func pair(t *testing.T, ln *net.TCPListener) (client, server *net.TCPConn) {
	t.Helper()
	client = dial(t, ln)
	server, err := ln.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return client, server
}

// seeOut runs a Leaving for the time of the test.
func seeOut(t *testing.T) *gate.Leaving {
	t.Helper()
	l := new(gate.Leaving)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		l.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return l
}

func TestDismissedClientsGetTheirAnswer(t *testing.T) {
	l, ln := seeOut(t), listen(t)
	for _, tt := range []struct {
		name, request string
	}{
		{"one that sends a request", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"},
		{"one that sends more than is read of it", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n" + strings.Repeat("x", 20000)},
		{"one that sends nothing", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, server := pair(t, ln)
			l.Dismiss(server, []byte(goodbye))
			if _, err := io.WriteString(client, tt.request); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(client)
			if err != nil || string(got) != goodbye {
				t.Errorf("read %q, %v; want the answer, then the end", got, err)
			}
		})
	}
}

// An answer that comes before the request is taken for one to nothing by some
// clients.
func TestDismissedClientsAreAnsweredOnceTheyAsk(t *testing.T) {
	l, ln := seeOut(t), listen(t)
	client, server := pair(t, ln)
	l.Dismiss(server, []byte(goodbye))
	_ = client.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if n, err := client.Read(make([]byte, 1)); n > 0 {
		t.Errorf("read %d bytes, %v before a request was sent", n, err)
	}
}

func TestFloodOfDismissalsDoesNotWait(t *testing.T) {
	l, ln := new(gate.Leaving), listen(t) // nobody sees them out
	const flood = 400
	clients := make([]*net.TCPConn, flood)
	for i := range clients {
		client, server := pair(t, ln)
		clients[i] = client
		l.Dismiss(server, []byte(goodbye))
	}
	at := 0
	for _, c := range clients[128:] { // those there is no room for
		if got, err := io.ReadAll(c); err == nil && string(got) == goodbye {
			at++
		}
	}
	if want := flood - 128; at != want {
		t.Errorf("%d clients were answered at once, want %d", at, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l.Run(ctx)
	for i, c := range clients[:128] {
		if got, err := io.ReadAll(c); err != nil || string(got) != goodbye {
			t.Fatalf("client %d read %q, %v at the end; want the answer", i, got, err)
		}
	}
}

func TestClientsThatStayAreClosed(t *testing.T) {
	l, ln := seeOut(t), listen(t)
	client, server := pair(t, ln)
	l.Dismiss(server, []byte(goodbye))
	var err error
	for err == nil { // it never stops sending
		_, err = client.Write(make([]byte, 64<<10))
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Write() = %v, want the connection closed after about a second", err)
	}
}
