// SPDX-License-Identifier: Apache-2.0

package tlsconf_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-mesh/sluice/proxy/tlsconf"
	"github.com/sluice-mesh/sluice/test/certs"
)

// run runs the store of a bed with a period until the returned function is
// called.
func (b *bed) run(t *testing.T, every time.Duration) (stop func()) {
	t.Helper()
	b.Store = tlsconf.New(tlsconf.Options{Dir: b.dir, Every: every, Log: slog.New(slog.NewTextHandler(b.log, nil))})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.Run(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// A certificate that ends while it is served is told of once, and served.
func TestExpiresWhileServed(t *testing.T) {
	b := newBed(t)
	synctest.Test(t, func(t *testing.T) {
		stop := b.run(t, time.Minute)
		defer stop()
		ends := time.Now().Add(time.Hour)
		s := b.server(listen(b.write("shop", b.ca.With(certs.Valid(time.Now().Add(-time.Hour), ends)).Issue(t, "shop.example"))))
		const told = "certificate has expired and is served"
		time.Sleep(time.Hour - time.Second)
		synctest.Wait()
		if n := b.log.count(told); n != 0 {
			t.Errorf("it is told %d times before the end:\n%s", n, b.log)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := b.log.count(told); n != 1 {
			t.Errorf("it is told %d times after the end, want once:\n%s", n, b.log)
		}
		if st := b.ServerStatus(s); len(st) != 1 || !st[0].Expired || !st[0].NotAfter.Equal(ends.Truncate(time.Second)) {
			t.Errorf("ServerStatus() = %+v, want one that ended at %v", st, ends)
		}
	})
}

// The keys of tickets are made anew every 12 hours, and not before.
func TestTicketKeysAreMadeAnew(t *testing.T) {
	b := newBed(t)
	synctest.Test(t, func(t *testing.T) {
		stop := b.run(t, time.Hour)
		defer stop()
		s := b.server(listen(b.write("shop", b.ca.Issue(t, "shop.example"))))
		time.Sleep(30 * time.Minute) // from here on, keys are made in the middle of the hour
		for life := range 4 {
			was := s.Config()
			time.Sleep(11 * time.Hour)
			synctest.Wait()
			if s.Config() != was {
				t.Errorf("life %d: the keys changed early", life)
			}
			time.Sleep(time.Hour)
			synctest.Wait()
			if s.Config() == was {
				t.Errorf("life %d: the keys did not change", life)
			}
		}
	})
}

// What a route has not used for a while is read no more.
func TestForgetsClients(t *testing.T) {
	b := newBed(t)
	synctest.Test(t, func(t *testing.T) {
		stop := b.run(t, time.Minute)
		defer stop()
		b.ca.WriteFile(b.dir, "ca.crt")
		asks := trusting()
		if _, err := b.Client(&asks, "shop.internal"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(9 * time.Minute)
		synctest.Wait()
		if n := len(b.Status()); n != 1 {
			t.Errorf("%d files are known after 9 minutes, want 1", n)
		}
		time.Sleep(15 * time.Minute)
		synctest.Wait()
		if st := b.Status(); len(st) != 0 {
			t.Errorf("Status() = %+v, want nothing", st)
		}
		if _, err := b.Client(&asks, "shop.internal"); err != nil {
			t.Errorf("Client() = %v once it is asked for again", err)
		}
	})
}
