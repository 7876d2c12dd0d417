// SPDX-License-Identifier: Apache-2.0

//go:build linux

package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The environment that makes this binary an origin.
const (
	originName    = "SLUICE_CHAOS_ORIGIN"
	originAddress = "SLUICE_CHAOS_ADDRESS"
	originJournal = "SLUICE_CHAOS_JOURNAL"
)

// lame is how long an origin that ends waits for its kept connections to be
// used once more, each of which is then told to be the last time.
const lame = time.Second

// origin is one of the servers behind the proxy, a process of its own.
type origin struct {
	name    string
	journal *os.File // the ids of what was acted on, a line each
	ending  atomic.Bool

	mu   sync.Mutex // guards what follows
	open map[net.Conn]bool
	none chan struct{} // closed when open is empty and the origin is ending
}

type connKey struct{}

// doomed is a connection that may be closed just when its next request
// arrives.
type doomed struct {
	net.Conn
	next atomic.Bool
}

// Read drops what arrives if the connection is doomed: the kernel then resets
// it, as nothing of the request was taken.
func (d *doomed) Read(b []byte) (int, error) {
	n, err := d.Conn.Read(b)
	if n > 0 && d.next.Load() {
		_ = d.Conn.(*net.TCPConn).SetLinger(0)
		_ = d.Close()
		return 0, net.ErrClosed
	}
	return n, err
}

// doomedListener makes connections that can be doomed.
type doomedListener struct{ net.Listener }

func (l doomedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &doomed{Conn: c}, nil
}

// runOrigin serves until it is told to end, and then ends in order.
func runOrigin(name string) int {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	if err := serveOrigin(name, stop); err != nil {
		fmt.Fprintln(os.Stderr, "origin", name, err)
		return 1
	}
	return 0
}

func serveOrigin(name string, stop <-chan os.Signal) error {
	ctx := context.Background()
	journal, err := os.OpenFile(os.Getenv(originJournal), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp4", os.Getenv(originAddress))
	if err != nil {
		return err
	}
	o := &origin{name: name, journal: journal, open: make(map[net.Conn]bool), none: make(chan struct{})}
	srv := &http.Server{
		Handler:           http.HandlerFunc(o.serve),
		ReadHeaderTimeout: 2 * patience,
		ConnState:         o.count,
		ConnContext:       func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(doomedListener{ln}) }()
	fmt.Println("ready")
	// An origin does not outlive the tests: they hold the other end.
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); os.Exit(3) }()
	select {
	case err := <-served:
		return err
	case <-stop:
	}
	o.end(ln.(*net.TCPListener))
	late, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	// Shutdown closes the listener once more if Serve has not noticed yet.
	if err := srv.Shutdown(late); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// count follows which connections are open.
func (o *origin) count(c net.Conn, s http.ConnState) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch s {
	case http.StateNew:
		o.open[c] = true
	case http.StateClosed, http.StateHijacked:
		delete(o.open, c)
	default:
	}
	o.last()
}

// last tells end that no connection is left. o.mu is held.
func (o *origin) last() {
	if !o.ending.Load() || len(o.open) > 0 {
		return
	}
	select {
	case <-o.none:
	default:
		close(o.none)
	}
}

// end takes no new connections and has the kept ones used up.
func (o *origin) end(ln *net.TCPListener) {
	closeEmptied(ln)
	o.mu.Lock()
	o.ending.Store(true)
	o.last()
	o.mu.Unlock()
	late := time.NewTimer(lame)
	defer late.Stop()
	select {
	case <-o.none:
	case <-late.C:
	}
}

// closeEmptied closes a listener without a reset for the connections that the
// kernel has made and that were not accepted yet: it first has no more of them
// made, then waits for the others to be accepted.
func closeEmptied(ln *net.TCPListener) {
	raw, err := ln.SyscallConn()
	if err != nil {
		panic(err)
	}
	for waiting := true; waiting; {
		if err := raw.Control(func(fd uintptr) { waiting = refuseNew(int(fd)) }); err != nil {
			panic(err)
		}
	}
	_ = ln.Close()
}

// refuseNew drops all that comes for a listening socket and reports whether
// connections wait in it. A sandbox's kernel may know no filters: what is made
// between the look and the close is reset there, some microseconds long.
func refuseNew(fd int) bool {
	drop := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0}
	err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop})
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOPROTOOPT) {
		panic(err)
	}
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return err != nil || n > 0 // interrupted: look again
}

// serve answers by the path what the client asked for, faults among it.
func (o *origin) serve(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseUint(r.FormValue("id"), 10, 64)
	size, err2 := strconv.Atoi(r.FormValue("size"))
	if err := errors.Join(err, err2); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if r.Method == http.MethodPost && !o.act(w, r, id, size) {
		return
	}
	w.Header().Set("X-Id", strconv.FormatUint(id, 10))
	w.Header().Set("X-Origin", o.name)
	w.Header().Set("Content-Type", "application/octet-stream")
	if o.ending.Load() {
		w.Header().Set("Connection", "close")
	}
	switch kind(r.URL.Path) {
	case stream:
		o.stream(w, r, id, size)
	case stall:
		<-r.Context().Done()
	case reset, broken, garbage, surplus, ends:
		o.misbehave(w, kind(r.URL.Path), id, size)
	case doom:
		r.Context().Value(connKey{}).(*doomed).next.Store(true)
		fallthrough
	default:
		think(r.Context(), id)
		_, _ = w.Write(content(id, size))
	}
}

// think takes some time over every third request, so that those who are killed
// have something to do just then.
func think(ctx context.Context, id uint64) {
	if id%3 != 0 {
		return
	}
	done := time.NewTimer(15 * time.Millisecond)
	defer done.Stop()
	select {
	case <-done.C:
	case <-ctx.Done():
	}
}

// act takes what a POST brings and notes that it was acted on. A note is in
// the kernel's hands once it is written: no kill undoes it.
func (o *origin) act(w http.ResponseWriter, r *http.Request, id uint64, size int) bool {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // the client went away
	}
	if !bytes.Equal(body, content(id, size)) {
		http.Error(w, "not what belongs to the id", http.StatusBadRequest)
		return false
	}
	if kind(r.URL.Path) == stall {
		return true // it never gets to it
	}
	if _, err := fmt.Fprintln(o.journal, id); err != nil {
		panic(err)
	}
	return true
}

// stream answers in pieces over some time.
func (o *origin) stream(w http.ResponseWriter, r *http.Request, id uint64, size int) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	b := content(id, size)
	for range 3 {
		piece := b[:size/3]
		b = b[size/3:]
		_, _ = w.Write(piece)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
	_, _ = w.Write(b)
}

// misbehave answers as no server should.
func (o *origin) misbehave(w http.ResponseWriter, k kind, id uint64, size int) {
	head := w.Header()
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer c.Close()
	b := content(id, size)
	var text bytes.Buffer
	fmt.Fprintf(&text, "HTTP/1.1 200 OK\r\nX-Id: %s\r\nX-Origin: %s\r\n", head.Get("X-Id"), o.name)
	if k == broken {
		fmt.Fprintf(&text, "Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", size/2, b[:size/2])
	} else {
		fmt.Fprintf(&text, "Content-Length: %d\r\n\r\n%s", size, b)
	}
	out := text.Bytes()
	switch k {
	case reset:
		out = out[:len(out)-size/2]
	case garbage:
		out = append(content(id, 20), "\r\n\r\n"...)
	case surplus:
		out = append(out, "HTTP/1.1 200 OK\r\nX-Id: 0\r\nContent-Length: 5\r\n\r\nwrong"...)
	default:
	}
	_, _ = c.Write(out)
	if k == reset && id%2 == 0 {
		_ = c.(*doomed).Conn.(*net.TCPConn).SetLinger(0)
	}
}
