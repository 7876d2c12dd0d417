// SPDX-License-Identifier: Apache-2.0

package test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
)

// Clients that speak HTTP/2, and calls of gRPC, made and answered by hand.

const grpcType = "application/grpc"

// spoken says which version of HTTP a client speaks.
type spoken struct {
	http2 bool
	call  bool // of gRPC, with an empty message
}

// apply has a request sent as the flags say.
func (s spoken) apply(q *ask) {
	q.spoken = s
	if s.http2 && q.secure != nil && q.secure.tls != nil {
		q.secure.tls.NextProtos = []string{"h2"}
	}
}

// sendHTTP2 sends a request in a stream of the connection, which no other
// stream shares, and returns the head of the answer. Nothing is tried again.
func (c *client) sendHTTP2(ctx context.Context, q *ask) (*http.Response, error) {
	if c.h2 != nil && c.h2.Available() == 0 {
		c.close() // the server said so
	}
	if c.h2 == nil {
		if err := c.openHTTP2(ctx, q); err != nil {
			return nil, err
		}
	}
	c.finish()
	ctx, c.cancel = context.WithTimeout(ctx, patience) // until the answer was read
	req, err := q.request(ctx)
	if err != nil {
		return nil, err
	}
	return c.h2.RoundTrip(req)
}

// openHTTP2 makes a connection of HTTP/2.
func (c *client) openHTTP2(ctx context.Context, q *ask) error {
	if err := c.open(ctx, q); err != nil {
		return err
	}
	opened := func(context.Context, string, string) (net.Conn, error) { return c.conn, nil }
	t := &http.Transport{DialContext: opened, DialTLSContext: opened, Protocols: new(http.Protocols)}
	t.Protocols.SetHTTP2(true)
	t.Protocols.SetUnencryptedHTTP2(true)
	scheme, _, _ := strings.Cut(q.url, ":")
	cc, err := t.NewClientConn(ctx, scheme, q.addr)
	if err != nil {
		c.close()
		return err
	}
	c.h2 = cc
	return nil
}

// request returns the request as net/http has it.
func (q *ask) request(ctx context.Context) (*http.Request, error) {
	var body io.Reader = http.NoBody
	method := q.method
	if q.spoken.call {
		method, body = http.MethodPost, bytes.NewReader(message(nil))
	}
	req, err := http.NewRequestWithContext(ctx, method, q.url, body)
	if err != nil {
		return nil, err
	}
	req.Host = q.host
	for _, f := range q.fields {
		name, value, _ := strings.Cut(f, ":")
		if !strings.EqualFold(name, "host") {
			req.Header.Add(name, strings.TrimSpace(value))
		}
	}
	if q.spoken.call {
		req.Header.Set("Content-Type", grpcType)
		req.Header.Set("Te", "trailers")
	}
	return req, nil
}

// finish lets go of the request before.
func (c *client) finish() {
	if c.cancel != nil {
		c.cancel()
		c.cancel = nil
	}
}

// message frames a message of gRPC.
func message(b []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(b))), b...)
}

// callLabel names the answer to a call: the content of its message if it went
// well, or grpc-STATUS and the reason.
func (a *answer) callLabel() (string, error) {
	status := a.trailer.Get("Grpc-Status")
	if status == "" {
		status = a.header.Get("Grpc-Status") // there are trailers only
	}
	switch {
	case status == "":
		return "", errors.New("an answer to a call without grpc-status")
	case status != "0":
		label := "grpc-" + status
		if reason := a.header.Get("Sluice-Reason"); reason != "" {
			label += ":" + reason
		}
		return label, nil
	case len(a.body) < 5:
		return "", errors.New("an answer to a call without a message")
	}
	return a.body[5:], nil
}

// serveCall answers a call of gRPC with the origin's name. /…/Fail fails with
// status 9 and trailers alone, and health is always SERVING.
func (o *origin) serveCall(w http.ResponseWriter, r *http.Request) {
	o.served.Add(1)
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", grpcType)
	if strings.HasSuffix(r.URL.Path, "/Fail") {
		w.Header().Set("Grpc-Status", "9")
		return
	}
	content := []byte(o.name)
	if r.URL.Path == "/grpc.health.v1.Health/Check" {
		o.served.Add(-1)       // nobody asked for it
		content = []byte{8, 1} // status: SERVING
	}
	_, _ = w.Write(message(content))
	w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
}
