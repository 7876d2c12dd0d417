// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"net/netip"

	"github.com/sluice-mesh/sluice/proxy/sniff"
	"github.com/sluice-mesh/sluice/proxy/upstream"
)

// maxOwn bounds the connections to instances that rest with a client: more
// than so many instances take turns for it at the price of connecting anew.
const maxOwn = 4

// own holds the connections to instances that belong to this client, since
// they began with a PROXY header that names it.
type own struct {
	conns [maxOwn]ownConn
	turn  uint32 // which of them makes room
	told  sniff.Header
}

// ownConn is one of them, and whom its header named: over one connection of a
// proxy that is trusted come many clients.
type ownConn struct {
	*upstream.Conn

	source, destination netip.AddrPort
}

// kept returns a connection to the instance that has served before, nil if
// there is none.
func (c *conn) kept(i *upstream.Instance) *upstream.Conn {
	if i.Own() {
		return c.resume(i)
	}
	return i.Get(c.shard, c.w.now, !c.w.plan.safe)
}

// resume returns a connection that rests with the client.
func (c *conn) resume(i *upstream.Instance) *upstream.Conn {
	if c.own == nil {
		return nil
	}
	for k := range c.own.conns {
		o := &c.own.conns[k]
		if o.Conn == nil || o.Instance != i || o.source != c.facts.Client || o.destination != c.facts.Local {
			continue
		}
		u := o.Conn
		*o = ownConn{}
		if u.Resume(c.w.now, !c.w.plan.safe) {
			return u
		}
	}
	return nil
}

// rest keeps a connection for this client.
func (c *conn) rest(u *upstream.Conn) {
	o := c.ownOf()
	at := -1
	for k := range o.conns {
		if o.conns[k].Conn == nil {
			at = k
		}
	}
	if at < 0 {
		at = int(o.turn % maxOwn)
		o.turn++
		o.conns[at].Leave()
	}
	o.conns[at] = ownConn{u, c.facts.Client, c.facts.Local}
	u.Instance.Rest(u, c.w.now, c.w.bounds.UpstreamKeepAlive)
}

func (c *conn) ownOf() *own {
	if c.own == nil {
		c.own = new(own)
	}
	return c.own
}

// dial connects to the instance.
func (c *conn) dial(i *upstream.Instance) (*upstream.Conn, error) {
	if i.Own() {
		return i.DialFor(c.ctx, c.w.reachWithin(), c.introduce())
	}
	return i.Dial(c.ctx, c.w.reachWithin())
}

// introduce returns what the PROXY header of a connection says: who the
// client is, as conditions see it, with what a balancer said of it besides.
func (c *conn) introduce() *sniff.Header {
	o := c.ownOf()
	o.told = sniff.Header{Source: c.facts.Client, Destination: c.facts.Local}
	if c.facts.Client == c.origin.peer {
		o.told.TLVs = c.origin.tlvs
	}
	return &o.told
}

// disown closes what rests with the client, which is gone.
func (c *conn) disown() {
	if c.own == nil {
		return
	}
	for _, o := range c.own.conns {
		if o.Conn != nil {
			o.Leave()
		}
	}
	c.own = nil
}
