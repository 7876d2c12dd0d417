// SPDX-License-Identifier: Apache-2.0

package origin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// linger is how long a connection whose request was refused is read from
// before it is closed: what is closed with unread bytes is reset, and a reset
// may overtake the answer.
const linger = time.Second

// Options say where an origin listens.
type Options struct {
	// Addresses are HOST:PORT each, of one instance each; port 0 is a free
	// one. At least one is needed.
	Addresses []string
}

// Serve listens and serves until ctx ends. It returns nil after that, or why
// it could not listen.
func Serve(ctx context.Context, o Options) error {
	s, err := listen(ctx, o)
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

// Server is an origin that listens. Connections wait until Run.
type Server struct {
	listeners []*net.TCPListener
	addresses []string
}

// Listen listens on all addresses, or on none and says why.
func Listen(o Options) (*Server, error) { return listen(context.Background(), o) }

func listen(ctx context.Context, o Options) (*Server, error) {
	if len(o.Addresses) == 0 {
		return nil, errors.New("origin: no address to listen on")
	}
	s := &Server{}
	for _, a := range o.Addresses {
		ln, err := new(net.ListenConfig).Listen(ctx, "tcp", a)
		if err != nil {
			_ = s.Close()
			return nil, fmt.Errorf("origin: %w", err)
		}
		s.listeners = append(s.listeners, ln.(*net.TCPListener))
		s.addresses = append(s.addresses, ln.Addr().String())
	}
	return s, nil
}

// Addresses returns where it listens, as HOST:PORT in the order of the
// options, with ports as they really are.
func (s *Server) Addresses() []string { return s.addresses }

// Run serves until ctx ends, then closes all connections and returns nil. It
// is called once. On Linux all work is done by one thread, which is locked to
// the calling goroutine.
func (s *Server) Run(ctx context.Context) error {
	defer s.Close()
	if err := serve(ctx, s.listeners); err != nil {
		return fmt.Errorf("origin: %w", err)
	}
	return nil
}

// Close stops to listen. It is needed only if Run is never called.
func (s *Server) Close() error {
	var errs []error
	for _, ln := range s.listeners {
		if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
