// SPDX-License-Identifier: Apache-2.0

package tlsconf

import (
	"crypto/tls"
	"sync/atomic"
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

// Client is how a route speaks TLS to its instances. Its methods may be called
// from any goroutine.
type Client struct {
	asks      routing.DialTLS
	name      string
	authority *source // nil for those of the system
	pair      *source // nil if none is shown
	sources   []*source
	serials   [2]uint64 // of the sources that current was made of
	used      atomic.Int64
	current   atomic.Pointer[tls.Config] // nil if the files cannot be used
	failed    atomic.Pointer[error]      // why
}

// clientKey is what Clients are told apart by.
type clientKey struct {
	asks routing.DialTLS
	host string
}

// sessions is how many sessions are remembered of each name.
const sessions = 64

// Client returns what a route speaks TLS with to host that asks for this, the
// same one whenever it is asked for. Files that cannot be used are an error
// that names them; they are looked at again from time to time. It neither
// waits nor allocates once it is known.
func (s *Store) Client(asks *routing.DialTLS, host string) (*Client, error) {
	key := clientKey{*asks, host}
	if c, ok := s.clients.Load(key); ok {
		return c.(*Client).checked()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.clients.Load(key); ok {
		return c.(*Client).checked()
	}
	c := &Client{asks: *asks, name: asks.Name}
	if c.name == "" {
		c.name = host
	}
	if asks.CA != "" {
		c.authority = s.source(routing.KeyPair{Certificate: asks.CA})
		c.sources = append(c.sources, c.authority)
	}
	if asks.KeyPair != (routing.KeyPair{}) {
		c.pair = s.source(asks.KeyPair)
		c.sources = append(c.sources, c.pair)
	}
	c.refresh()
	s.clients.Store(key, c)
	return c.checked()
}

// checked notes that the client is in use, and returns why it cannot be.
func (c *Client) checked() (*Client, error) {
	c.used.Store(time.Now().UnixNano())
	if c.current.Load() == nil {
		return nil, *c.failed.Load()
	}
	return c, nil
}

// Config returns what handshakes begin with at present: another one only once
// the files have changed. Sessions are remembered in it. It is not to be
// changed.
func (c *Client) Config() *tls.Config { return c.current.Load() }

// refresh makes a configuration of what the sources hold, unless it is there.
// The store is locked.
func (c *Client) refresh() {
	if err := unusable(c.sources); err != nil {
		c.failed.Store(&err)
		return
	}
	var serials [2]uint64
	for i, src := range c.sources {
		serials[i] = src.serial
	}
	if c.current.Load() != nil && serials == c.serials {
		return
	}
	config := recordsAsLarge(&tls.Config{
		ServerName:         c.name,
		MinVersion:         c.asks.MinVersion,
		InsecureSkipVerify: c.asks.SkipVerify,
		ClientSessionCache: tls.NewLRUClientSessionCache(sessions),
	})
	if c.authority != nil {
		config.RootCAs = c.authority.authorities
	}
	if c.pair != nil {
		config.Certificates = []tls.Certificate{*c.pair.certificate}
	}
	c.serials = serials
	c.current.Store(config)
}
