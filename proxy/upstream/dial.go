// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/sluice-mesh/sluice/proxy/sniff"
	"github.com/sluice-mesh/sluice/routing"
)

// ErrFull reports that an instance has as many connections as it may have.
var ErrFull = errors.New("the instance has all the connections that it may have")

// Dial opens a connection that is ready to carry requests: what it begins with,
// such as a PROXY header of the proxy's own, has been sent. It gives up after
// the time within, or when ctx ends; beyond Options.MaxOpen connections it does
// not try: ErrFull. Of an instance that speaks HTTP/2 it is a conversation
// inside a connection, which is opened if none has room.
func (i *Instance) Dial(ctx context.Context, within time.Duration) (*Conn, error) {
	return i.DialFor(ctx, within, nil)
}

// DialFor is Dial for a client, whom the PROXY header names if the connection
// begins with one; nil is the proxy itself. The header is not used later.
func (i *Instance) DialFor(ctx context.Context, within time.Duration, client *sniff.Header) (*Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if i.way.Value().Protocol.HTTP2() {
		return i.converse(ctx)
	}
	return i.connection(ctx, client)
}

// connection opens a connection and sends what comes before the first request.
func (i *Instance) connection(ctx context.Context, client *sniff.Header) (*Conn, error) {
	if i.open.Add(1) > int64(i.pool.options.MaxOpen) {
		i.open.Add(-1)
		return nil, ErrFull
	}
	c, err := i.connect(ctx)
	if err != nil {
		i.open.Add(-1)
		return nil, err
	}
	if way := i.way.Value(); !way.Secure && way.Proxy == routing.ProxyNone {
		return c, nil
	}
	if err := i.begin(ctx, c, client); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// connect opens a connection of which nothing has been sent.
func (i *Instance) connect(ctx context.Context) (*Conn, error) {
	o := &i.pool.options
	d := net.Dialer{KeepAlive: -1} // the sweep finds dead peers
	ctx, over := i.attempt(ctx)
	defer over()
	nc, err := d.DialContext(ctx, "tcp", i.String())
	if err != nil {
		if errors.Is(context.Cause(ctx), ErrLeft) {
			err = ErrLeft
		}
		return nil, fmt.Errorf("connect: %w", err)
	}
	c, err := o.Sweeper.Open(nc.(*net.TCPConn))
	if err != nil {
		_ = nc.Close()
		return nil, err
	}
	if o.Open != nil {
		o.Open.Add(0, 1)
	}
	u := &Conn{Conn: c, Instance: i}
	i.list(u)
	return u, nil
}

// begin sends what comes before the first request.
func (i *Instance) begin(ctx context.Context, c *Conn, client *sniff.Header) error {
	stop := context.AfterFunc(ctx, c.Expire)
	err := i.introduce(c, client)
	if err == nil && i.way.Value().Secure {
		err = i.secure(ctx, c)
	}
	if !stop() { // it is expired, or will be in a moment
		return fmt.Errorf("connect: %w", ctx.Err())
	}
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	return nil
}

// introduce sends the PROXY header, if there is to be one.
func (i *Instance) introduce(c *Conn, client *sniff.Header) error {
	if !i.Own() {
		return nil
	}
	h := sniff.Header{Local: true}
	if client != nil {
		h = *client
	}
	_, err := c.Write(sniff.AppendHeader(nil, i.way.Value().Proxy, h))
	return err
}
