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

func serve(ctx context.Context, ln net.Listener, h http.Handler) error {
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	stopped := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(stopped)
		_ = srv.Close()
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
