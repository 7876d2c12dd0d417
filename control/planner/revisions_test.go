// SPDX-License-Identifier: Apache-2.0

package planner_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/control/store"
)

// slowValues are values that are written when they are let.
type slowValues struct {
	*values

	hangs chan struct{} // nil: at once
}

func (v *slowValues) SetValue(ctx context.Context, name string, data []byte, expect store.Expect) (store.Value, error) {
	if v.hangs != nil {
		<-v.hangs
	}
	return v.values.SetValue(ctx, name, data, expect)
}

// Revisions are handed out with everything planned locked, so none may wait for
// a disk that does not answer while there are others.
func TestRevisionsDoNotWaitForTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &slowValues{values: &values{data: map[string][]byte{}}}
		next := planner.StoreRevisions(v)
		last := uint64(0)
		take := func(n int) (took int) {
			t.Helper()
			for range n {
				r, err := next(t.Context())
				if err != nil {
					return took
				}
				if r <= last {
					t.Fatalf("revision %d after %d", r, last)
				}
				last = r
				took++
			}
			return took
		}
		take(1)
		v.hangs = make(chan struct{})
		began := time.Now()
		if n := take(200_000); n < 99_000 || n >= 100_000 || time.Since(began) != 0 {
			t.Errorf("%d revisions in %v, want what is reserved, at once", n, time.Since(began))
		}
		close(v.hangs)
		synctest.Wait()
		if n := take(1000); n != 1000 {
			t.Errorf("%d revisions once the disk answers again, want all", n)
		}
		synctest.Wait()
		after, used := planner.StoreRevisions(v.values), last
		if r, err := after(t.Context()); err != nil || r <= used {
			t.Errorf("the next life hands out %d (%v) after %d", r, err, used)
		}
	})
}
