// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"cmp"
	"context"
	"io"
	"net"

	"github.com/sluice-mesh/sluice/proxy/http2"
	"github.com/sluice-mesh/sluice/proxy/socket"
)

// askHTTP2 makes a check over a connection by HTTP/2. Its request and its
// answer are those of HTTP/1, as they are of exchanges.
func (p *Pool) askHTTP2(ctx context.Context, nc *net.TCPConn, k *check) error {
	c, err := p.options.Sweeper.Open(nc)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, c.Expire)()
	if err := p.secured(ctx, c, k); err != nil {
		return err
	}
	mux, pre, err := greet(c, &p.options)
	if err != nil {
		return k.misfits(err)
	}
	var why error
	done := make(chan struct{})
	go func() {
		defer close(done)
		why = p.run(mux, pre)
	}()
	select {
	case <-mux.Ready():
		err = k.call(mux)
		mux.Drain()
		<-done
		return err
	case <-done:
		return k.misfits(cmp.Or(why, io.ErrUnexpectedEOF))
	}
}

// secured has the connection of a check speak TLS, if it is to.
func (p *Pool) secured(ctx context.Context, c *socket.Conn, k *check) error {
	way := &k.key.way
	if !way.Secure {
		return nil
	}
	base, err := p.configOf(way)
	if err != nil {
		return err
	}
	c.ClientTLS(way.config(base))
	err = c.Handshake(ctx)
	if err == nil {
		err = way.agreed(c.TLSState().NegotiatedProtocol)
	}
	if err != nil && ctx.Err() == nil {
		return &TLSError{Instance: k.key.at.String(), Way: *way, Err: err}
	}
	return cmp.Or(ctx.Err(), err)
}

// misfits returns why a check could not speak HTTP/2.
func (k *check) misfits(err error) error {
	if misfit(err) {
		return &ProtocolError{Instance: k.key.at.String(), Way: k.key.way, Err: err}
	}
	return err
}

// call makes the request of a check and judges the answer.
func (k *check) call(mux *http2.Conn) error {
	c, ok := mux.Lane()
	if !ok {
		return ErrNoStreams
	}
	defer c.Close()
	if _, err := c.Write(k.request); err != nil {
		return err
	}
	return judge(c, &k.key.ask)
}
