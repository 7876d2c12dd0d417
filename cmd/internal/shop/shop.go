// SPDX-License-Identifier: Apache-2.0

package shop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

// instancesEach is how many instances each version has.
const instancesEach = 2

// Versions returns the versions of the shop, the older one first.
func Versions() []string { return []string{"1.0.0", "1.1.0"} }

// Options shape a Shop. The zero Options are ready to use.
type Options struct {
	// Control is the address of the knobs of all instances. Empty means a
	// free port of 127.0.0.1.
	Control string
}

// Shop is all instances of all versions with their knobs.
type Shop struct {
	instances []*Instance
	control   net.Listener
}

// Open binds every instance to a free port of 127.0.0.1 and the knobs to
// their address. What it opened is closed by Run, or by Close if Run is not
// called.
func Open(ctx context.Context, o Options) (*Shop, error) {
	var lc net.ListenConfig
	s := &Shop{}
	for _, version := range Versions() {
		for i := range instancesEach {
			ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
			if err != nil {
				s.Close()
				return nil, fmt.Errorf("open an instance of the shop: %w", err)
			}
			s.instances = append(s.instances, newInstance(version, string(rune('a'+i)), ln))
		}
	}
	if o.Control == "" {
		o.Control = "127.0.0.1:0"
	}
	ln, err := lc.Listen(ctx, "tcp", o.Control)
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("open the knobs of the shop: %w", err)
	}
	s.control = ln
	return s, nil
}

// Instances returns the instances, those of the older version first.
func (s *Shop) Instances() []*Instance { return s.instances }

// Control returns the address of the knobs, host:port.
func (s *Shop) Control() string { return s.control.Addr().String() }

// Close closes what Open opened.
func (s *Shop) Close() {
	for _, in := range s.instances {
		_ = in.listener.Close()
	}
	if s.control != nil {
		_ = s.control.Close()
	}
}

// Run serves until ctx ends, then closes every connection at once. It returns
// when nothing of it is left, nil after an end by ctx.
func (s *Shop) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, in := range s.instances {
		g.Go(func() error { return serve(ctx, in.listener, in) })
	}
	g.Go(func() error { return serve(ctx, s.control, s.knobs()) })
	return g.Wait()
}

// serve serves until ctx ends, then closes every connection at once.
func serve(ctx context.Context, ln net.Listener, h http.Handler) error {
	return serveUntil(ctx, ctx, ln, h, (*http.Server).Close)
}

// outTime is how long serveOut waits for requests in flight.
const outTime = 10 * time.Second

// serveOut serves until ctx ends, then lets requests in flight end.
func serveOut(ctx context.Context, ln net.Listener, h http.Handler) error {
	requests := context.WithoutCancel(ctx)
	return serveUntil(ctx, requests, ln, h, func(srv *http.Server) error {
		ctx, cancel := context.WithTimeout(requests, outTime)
		defer cancel()
		err := srv.Shutdown(ctx)
		_ = srv.Close()
		return err
	})
}

// serveUntil serves until ctx ends and end has returned. The contexts of requests
// are made of base.
func serveUntil(ctx, base context.Context, ln net.Listener, h http.Handler, end func(*http.Server) error) error {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		BaseContext:       func(net.Listener) context.Context { return base },
	}
	stopped := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(stopped)
		_ = end(srv)
	})
	err := srv.Serve(ln)
	if !cancel() {
		<-stopped
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
