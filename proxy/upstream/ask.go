// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"syscall"

	"github.com/sluice-mesh/sluice/proxy/sniff"
	"github.com/sluice-mesh/sluice/routing"
)

// requestOf returns the request of a check by HTTP or gRPC; nil of other checks.
func requestOf(at netip.AddrPort, way *Way, h *routing.Health) []byte {
	switch h.Kind {
	case routing.HealthHTTP:
	case routing.HealthGRPC:
		return callOf(at, way, h)
	default:
		return nil
	}
	return fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: sluice-health\r\nConnection: close\r\n%s\r\n",
		h.Method, h.Path, authority(at, way, h), h.Fields)
}

// authority returns whom a check asks.
func authority(at netip.AddrPort, way *Way, h *routing.Health) string {
	return cmp.Or(h.Host, way.TLS.Name, at.String())
}

// ask makes one check, in the way in which requests come: nil is a success.
func (p *Pool) ask(ctx context.Context, k *check) error {
	d := net.Dialer{KeepAlive: -1}
	nc, err := d.DialContext(ctx, "tcp", k.key.at.String())
	if err != nil {
		return err
	}
	defer nc.Close()
	if due, ok := ctx.Deadline(); ok {
		_ = nc.SetDeadline(due)
	}
	defer context.AfterFunc(ctx, func() { _ = nc.Close() })()
	// The proxy speaks for itself here: LOCAL, or UNKNOWN.
	if header := sniff.AppendHeader(nil, k.key.way.Proxy, sniff.Header{}); len(header) > 0 {
		if _, err := nc.Write(header); err != nil {
			return err
		}
	}
	if k.key.way.Protocol.HTTP2() && k.key.ask.Kind != routing.HealthTCP {
		return p.askHTTP2(ctx, nc.(*net.TCPConn), k)
	}
	stream, err := p.spoken(ctx, nc, k)
	if err != nil {
		return err
	}
	if k.key.ask.Kind == routing.HealthTCP {
		// A reset leaves no socket behind that waits for its time to pass: there
		// would be thousands of them.
		_ = nc.(*net.TCPConn).SetLinger(0)
		return nil
	}
	if _, err := stream.Write(k.request); err != nil {
		return err
	}
	return judge(stream, &k.key.ask)
}

// spoken returns what a check is spoken through: TLS, if it is to be, with a
// handshake of its own each time, since the certificate is part of what is to be
// looked at.
func (p *Pool) spoken(ctx context.Context, nc net.Conn, k *check) (net.Conn, error) {
	way := &k.key.way
	if !way.Secure {
		return nc, nil
	}
	base, err := p.configOf(way)
	if err != nil {
		return nil, err
	}
	c := tls.Client(nc, way.config(base))
	err = c.HandshakeContext(ctx)
	if err == nil {
		err = way.agreed(c.ConnectionState().NegotiatedProtocol)
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &TLSError{Instance: k.key.at.String(), Way: *way, Err: err}
	}
	return c, nil
}

const (
	// checkHead bounds the head of an answer to a check, checkBody how much of
	// its content is looked at.
	checkHead = 64 << 10
	checkBody = 64 << 10
	// checkInterim bounds the answers 1xx before it.
	checkInterim = 20
)

// judge reads the answer to a check and says what is wrong with it.
func judge(from io.Reader, h *routing.Health) error {
	head := &io.LimitedReader{R: from, N: checkHead}
	r := bufio.NewReaderSize(head, 4<<10)
	asked := &http.Request{Method: cmp.Or(h.Method, http.MethodPost)}
	for range checkInterim {
		answer, err := http.ReadResponse(r, asked) //nolint:bodyclose // the connection is closed
		switch {
		case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
			return errors.New("the connection ended before the answer")
		case err != nil:
			return err
		case answer.StatusCode >= 200:
			head.N += checkBody
			return accepts(answer, h)
		}
	}
	return errors.New("no answer but such that announce one")
}

// accepts says what is wrong with a final answer.
func accepts(answer *http.Response, h *routing.Health) error {
	if h.Kind == routing.HealthGRPC {
		return serving(answer, h)
	}
	if !h.Status.Has(answer.StatusCode) {
		return fmt.Errorf("it answers %d", answer.StatusCode)
	}
	if h.Body == "" {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, checkBody))
	switch {
	case bytes.Contains(body, []byte(h.Body)):
		return nil // whatever became of the rest
	case err != nil:
		return err
	default:
		return errors.New("the text is not in its answer")
	}
}

// innermost says what went wrong, without the address, which is known.
func innermost(err error) string {
	if e, ok := errors.AsType[*TLSError](err); ok {
		return e.Why()
	}
	if e, ok := errors.AsType[*ProtocolError](err); ok {
		return e.Why()
	}
	if n, ok := errors.AsType[syscall.Errno](err); ok {
		return n.Error()
	}
	return err.Error()
}
