// SPDX-License-Identifier: Apache-2.0

package http2_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-mesh/sluice/proxy/http2"
)

// Both roles over TLS: a server of ours with a client of Go's own, and the
// reverse, with content that fills every buffer.
func TestBothRolesOverTLS(t *testing.T) {
	origin := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	origin.EnableHTTP2 = true
	origin.StartTLS()
	t.Cleanup(origin.Close)
	roots := x509.NewCertPool()
	roots.AddCert(origin.Certificate())

	ln, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	sweeper := sweep(t)
	m := &messages{handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })}
	var wg sync.WaitGroup
	wg.Go(func() {
		nc, err := ln.Accept()
		if err != nil {
			t.Error(err)
			return
		}
		sc, err := sweeper.Open(nc.(*net.TCPConn))
		if err != nil {
			t.Error(err)
			return
		}
		sc.ServerTLS(&tls.Config{Certificates: origin.TLS.Certificates, NextProtos: []string{"h2"}})
		if err := sc.Handshake(context.Background()); err != nil {
			t.Error(err)
			return
		}
		_ = http2.New(sc, sweeper, nil, m.accept).Run(nil)
	})
	t.Cleanup(func() {
		_ = ln.Close()
		wg.Wait()
		m.wg.Wait()
	})
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	t.Cleanup(tr.CloseIdleConnections)
	body := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	a, err := post(t, &http.Client{Transport: tr, Timeout: patience}, "https://"+ln.Addr().String(), bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(a.Body)
	_ = a.Body.Close()
	if err != nil || a.ProtoMajor != 2 || !bytes.Equal(got, body) {
		t.Errorf("our server answers %d bytes by %s, %v, want %d", len(got), a.Proto, err, len(body))
	}

	nc, err := new(net.Dialer).DialContext(t.Context(), "tcp", origin.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	sc, err := sweeper.Open(nc.(*net.TCPConn))
	if err != nil {
		t.Fatal(err)
	}
	sc.ClientTLS(&tls.Config{RootCAs: roots, ServerName: "example.com", NextProtos: []string{"h2"}})
	if err := sc.Handshake(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, err := http2.Dial(sc, sweeper, nil)
	if err != nil {
		t.Fatal(err)
	}
	wg.Go(func() { _ = c.Run(nil) })
	t.Cleanup(c.Abort)
	for range 3 {
		l := lane(t, c)
		wait := send(l, chunkedPost(len(body), ""))
		_, text, err := ask(l, "")
		wait()
		if err != nil || text != strings.Repeat("x", len(body)) {
			t.Errorf("an instance answers %d bytes, %v, want %d", len(text), err, len(body))
		}
		if !l.TLS() || l.TLSState() == nil || l.TLSState().NegotiatedProtocol != "h2" {
			t.Error("a conversation does not say that it is inside TLS")
		}
		l.Close()
	}
}
