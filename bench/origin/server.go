// SPDX-License-Identifier: Apache-2.0

package origin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// Options say where an origin listens.
type Options struct {
	// Addresses are HOST:PORT each, of one instance each; port 0 is a free
	// one. At least one is needed.
	Addresses []string
}

// Serve listens and serves until ctx ends. It returns nil after that, or why
// it could not listen.
func Serve(ctx context.Context, o Options) error {
	s, err := Listen(o)
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

// Server is an origin that listens. Connections wait until Run.
type Server struct {
	listeners []net.Listener
}

// Listen listens on all addresses, or on none and says why.
func Listen(o Options) (*Server, error) {
	if len(o.Addresses) == 0 {
		return nil, errors.New("origin: no address to listen on")
	}
	s := &Server{}
	for _, a := range o.Addresses {
		ln, err := new(net.ListenConfig).Listen(context.Background(), "tcp", a)
		if err != nil {
			for _, ln := range s.listeners {
				_ = ln.Close()
			}
			return nil, fmt.Errorf("origin: %w", err)
		}
		s.listeners = append(s.listeners, ln)
	}
	return s, nil
}

// Addresses returns where it listens, as HOST:PORT in the order of the
// options, with ports as they really are.
func (s *Server) Addresses() []string {
	all := make([]string, len(s.listeners))
	for i, ln := range s.listeners {
		all[i] = ln.Addr().String()
	}
	return all
}

// Run serves until ctx ends, then closes all connections and returns nil. It
// is called once.
func (s *Server) Run(ctx context.Context) error {
	srv := &http.Server{
		ReadHeaderTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(strings.Repeat("x", 128)))
		}),
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, ln := range s.listeners {
		g.Go(func() error {
			if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
	g.Go(func() error {
		<-ctx.Done()
		return srv.Close()
	})
	return g.Wait()
}
