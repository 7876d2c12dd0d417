// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"sync"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/control/store/storetest"
)

// clock is one that stands still unless it is moved.
type clock struct {
	mu  sync.Mutex
	now time.Time // guarded by mu
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// open opens a store that is closed when the test ends.
func open(tb testing.TB, dir string, o store.Options) store.Store {
	tb.Helper()
	s, err := store.Open(dir, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

func TestContract(t *testing.T) {
	storetest.Test(t, func(t *testing.T) storetest.Bed {
		t.Helper()
		dir, c := t.TempDir(), &clock{now: time.Now()}
		s := open(t, dir, store.Options{Now: c.Now})
		return storetest.Bed{
			Store:   s,
			Advance: c.advance,
			Reopen: func() store.Store {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				return open(t, dir, store.Options{Now: c.Now})
			},
		}
	})
}
