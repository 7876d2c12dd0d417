// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-mesh/sluice/proxy/upstream"
	"github.com/sluice-mesh/sluice/routing"
)

// Checks are counted once each, and stay counted when instances go, when what
// is asked changes, and when nobody asks any more.
func TestChecksAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := watched(t, nil)
		w.says("127.0.0.1:81", errDown)
		w.says("127.0.0.1:84", errDown)
		check := func(when string, target *upstream.Target) (passed, failed uint64) {
			t.Helper()
			n, _ := target.Counts()
			asked81, asked82 := uint64(w.count("127.0.0.1:81")), uint64(w.count("127.0.0.1:82"))
			if !n.Checked || n.ChecksFailed != asked81 || n.ChecksPassed != asked82 {
				t.Errorf("%s: %d passed, %d failed, of %d and %d that were made; shown: %v",
					when, n.ChecksPassed, n.ChecksFailed, asked82, asked81, n.Checked)
			}
			return n.ChecksPassed, n.ChecksFailed
		}
		target := lead(p, fixed("81", "82"), watch(), nil)
		if n, _ := target.Counts(); !n.Checked || n.ChecksPassed+n.ChecksFailed != 0 {
			t.Errorf("at first: %+v", n)
		}
		pass(time.Minute)
		if passed, failed := check("after a minute", target); passed < 25 || failed < 25 {
			t.Errorf("%d checks passed and %d failed in a minute, want 25 each", passed, failed)
		}
		target = lead(p, fixed("82"), watch(), target)
		pass(time.Minute)
		check("without the one that fails", target)
		slower := watch()
		slower.Health.Every = 10 * time.Second
		target = lead(p, fixed("82"), slower, target)
		pass(time.Minute)
		check("asked less often", target)
		none := watch()
		none.Health.Every = 0
		target = lead(p, fixed("82"), none, target)
		pass(time.Minute)
		check("asked no more", target)
	})
}

// Of a check that routes share, each knows what was found since it came.
func TestSharedChecksCountForEachRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, w := watched(t, nil)
		first := lead(p, fixed("81"), watch(), nil)
		pass(time.Minute)
		before := uint64(w.count("127.0.0.1:81"))
		second := p.Balanced(p.Fixed(fixed("81"), nil), upstream.Choosing{Watch: routing.PartOf(watch())})
		p.Retain([]*upstream.Target{first, second})
		pass(time.Minute)
		all := uint64(w.count("127.0.0.1:81"))
		a, _ := first.Counts()
		b, _ := second.Counts()
		if a.ChecksPassed != all || b.ChecksPassed != all-before || b.ChecksPassed == 0 {
			t.Errorf("routes count %d and %d checks, want %d and %d", a.ChecksPassed, b.ChecksPassed, all, all-before)
		}
	})
}
