// SPDX-License-Identifier: Apache-2.0

package test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/rogpeppe/go-internal/testscript"
)

// origin is a server behind the gateways. It answers its name.
type origin struct {
	name     string
	addr     string
	served   atomic.Int64 // exchanges, or bytes after a half-close
	release  chan struct{}
	released bool
	http2    bool // it speaks HTTP/2, too
	close    func()
}

// cmdOrigin starts an origin on an address of its own and sets $NAME to its
// host:port and $NAME_IP to its address: origin [-tcp] [-tls FILE [-clients
// AUTHORITY]] [-proxy] [-h2] NAME [PORT]. Over HTTP it answers NAME, on /echo the head
// that it got, on /slow the first half of its answer until it is released, and
// on /bulk as serveBulk says. Over TCP it greets with NAME. With -tls it speaks
// TLS with FILE.crt and FILE.key, and with -clients only with those for whom the
// authority vouches; with -proxy it expects a PROXY header; with -h2 it speaks
// HTTP/2 as well, in TLS or plain text, and answers calls of gRPC. What it learns of
// the connection stands in /echo as From, Server-Name and Client, and behind
// NAME in its greeting, if it expects a header.
func cmdOrigin(ts *testscript.TestScript, neg bool, args []string) {
	b := bedOf(ts)
	var tcp, proxy, both bool
	var config *tls.Config
	for len(args) > 0 && strings.HasPrefix(args[0], "-") {
		switch {
		case args[0] == "-tcp":
			tcp = true
		case args[0] == "-proxy":
			proxy = true
		case args[0] == "-h2":
			both = true
		case args[0] == "-tls" && len(args) > 1:
			pair, err := tls.LoadX509KeyPair(ts.MkAbs(args[1]+".crt"), ts.MkAbs(args[1]+".key"))
			ts.Check(err)
			config = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
			args = args[1:]
		case args[0] == "-clients" && len(args) > 1 && config != nil:
			config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, b.authority(ts, args[1]).Pool()
			args = args[1:]
		default:
			ts.Fatalf("unknown flag %s", args[0])
		}
		args = args[1:]
	}
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: origin [-tcp] [-tls FILE [-clients AUTHORITY]] [-proxy] [-h2] NAME [PORT]")
	}
	port := "0"
	if len(args) == 2 {
		port = args[1]
	}
	ip := fmt.Sprintf("%s.%d", b.net, b.nextOrigin)
	b.nextOrigin++
	ln, err := listen(b.ctx, net.JoinHostPort(ip, port))
	ts.Check(err)
	o := &origin{name: args[0], addr: ln.Addr().String(), release: make(chan struct{}), http2: both}
	if both && config != nil {
		config.NextProtos = []string{"h2", "http/1.1"}
	}
	if proxy {
		ln = proxied{ln}
	}
	if config != nil {
		ln = tls.NewListener(ln, config)
	}
	if tcp {
		o.serveTCP(b, ln)
	} else {
		o.serveHTTP(b, ln)
	}
	b.origins[o.name] = o
	ts.Setenv(o.name, o.addr)
	ts.Setenv(o.name+"_IP", ip)
}

func (o *origin) serveHTTP(b *bed, ln net.Listener) {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if o.http2 && r.Header.Get("Content-Type") == grpcType {
			o.serveCall(w, r)
			return
		}
		o.served.Add(1)
		_, _ = io.WriteString(w, o.name)
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		o.served.Add(1)
		_, _ = io.WriteString(w, echo(r))
	})
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		o.served.Add(1)
		_, _ = io.WriteString(w, o.name+" began")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-o.release:
			_, _ = io.WriteString(w, " and ended")
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("/bulk", serveBulk)
	// The pool of the proxy, not the origin, ends idle connections.
	srv := &http.Server{ //nolint:gosec // no foreign clients
		Handler: mux, ErrorLog: log.New(io.Discard, "", 0),
		BaseContext: func(net.Listener) context.Context { return b.ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
	}
	srv.Protocols = new(http.Protocols)
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetHTTP2(o.http2)
	srv.Protocols.SetUnencryptedHTTP2(o.http2)
	b.wg.Go(func() { _ = srv.Serve(ln) })
	o.close = func() { _ = srv.Close() }
}

// connKey is the key of the connection of a request.
type connKey struct{}

// sourceOf returns what the PROXY header of a connection told.
func sourceOf(c net.Conn) string {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if p, ok := c.(*proxiedConn); ok {
		return p.source
	}
	return ""
}

// echo returns the head of a request, a field a line, sorted, and what the
// origin learned of the connection.
func echo(r *http.Request) string {
	lines := []string{r.Method + " " + r.RequestURI, "Host: " + r.Host}
	if source := sourceOf(r.Context().Value(connKey{}).(net.Conn)); source != "" {
		lines = append(lines, "From: "+source)
	}
	if r.ProtoMajor == 2 {
		lines = append(lines, "Spoken: HTTP/2")
	}
	if r.TLS != nil {
		lines = append(lines, "Server-Name: "+r.TLS.ServerName)
		for _, c := range r.TLS.PeerCertificates {
			lines = append(lines, "Client: "+c.Subject.String())
		}
	}
	for name, values := range r.Header {
		for _, v := range values {
			lines = append(lines, name+": "+v)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n") + "\n"
}

func (o *origin) serveTCP(b *bed, ln net.Listener) {
	o.close = func() { _ = ln.Close() }
	b.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			end := context.AfterFunc(b.ctx, func() { _ = c.Close() })
			b.wg.Go(func() {
				defer end()
				defer c.Close()
				o.talk(c)
			})
		}
	})
}

// talk greets, and does what the first line asks for: after "count" it tells
// how many bytes came before the client's end; after "close" it ends its own
// half first and goes on reading.
func (o *origin) talk(c net.Conn) {
	greeting := o.name
	if p, ok := c.(*proxiedConn); ok {
		if p.once.Do(p.header); p.err != nil {
			return
		}
		greeting += " " + p.source
	}
	if _, err := io.WriteString(c, greeting+"\n"); err != nil {
		return
	}
	r := bufio.NewReader(c)
	line, err := r.ReadString('\n')
	if err != nil {
		return // the client only wanted to be greeted
	}
	if half, ok := c.(interface{ CloseWrite() error }); line == "close\n" && (!ok || half.CloseWrite() != nil) {
		return
	}
	n, err := io.Copy(io.Discard, r)
	if err != nil {
		return
	}
	o.served.Add(n)
	if line == "count\n" {
		_, _ = fmt.Fprintf(c, "%d\n", n)
	}
}

// cmdRelease lets the slow answers of an origin end: release ORIGIN.
func cmdRelease(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: release ORIGIN")
	}
	o := bedOf(ts).origins[args[0]]
	if o == nil || o.released {
		ts.Fatalf("no origin %s that holds answers", args[0])
	}
	o.released = true
	close(o.release)
}

// cmdServed waits until an origin has served so much: served ORIGIN N.
func cmdServed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: served ORIGIN N")
	}
	b := bedOf(ts)
	o := b.origins[args[0]]
	want, err := strconv.ParseInt(args[1], 10, 64)
	if o == nil {
		err = errors.New("no origin " + args[0])
	}
	ts.Check(err)
	ts.Check(b.poll(func(context.Context) error {
		if got := o.served.Load(); got != want {
			return fmt.Errorf("%s has served %d, want %d", o.name, got, want)
		}
		return nil
	}))
}
