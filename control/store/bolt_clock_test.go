// SPDX-License-Identifier: Apache-2.0

package store_test

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/control/store"
)

// A clock that jumps, forth and back, changes the times that are told and when
// leases expire, and nothing else: revisions and the numbers of events give
// the order, and nobody gets a lease that another one still has.
func TestAClockThatJumps(t *testing.T) {
	dir, c := t.TempDir(), &clock{now: time.Now()}
	o := store.Options{Now: c.Now}
	s := open(t, dir, o)
	var term uint64
	for i, jump := range []time.Duration{0, 10 * 24 * time.Hour, -20 * 24 * time.Hour, -10 * 365 * 24 * time.Hour, 11 * 365 * 24 * time.Hour} {
		c.advance(jump)
		a := put(t, s, "a", strconv.Itoa(i))
		if a.Revision != uint64(i)+1 || !a.Time.Equal(c.Now()) {
			t.Errorf("after a jump of %v: revision %d at %v, want %d at %v", jump, a.Revision, a.Time, i+1, c.Now())
		}
		events, err := s.AppendEvents(t.Context(), store.Event{Namespace: store.DefaultNamespace, Type: "change"})
		if err != nil || events[0].ID != uint64(i)+1 {
			t.Errorf("after a jump of %v: event %+v, %v, want %d", jump, events, err, i+1)
		}
		lease, err := s.Lease(t.Context(), "leader", "ada", time.Minute)
		if err != nil || lease.Term < term || !lease.Expires.Equal(c.Now().Add(time.Minute)) {
			t.Errorf("after a jump of %v: lease %+v, %v, want one of term %d or above that lasts a minute", jump, lease, err, term)
		}
		term = lease.Term
		c.advance(-time.Hour) // somebody's clock is behind: the lease lasts longer, not shorter
		var held *store.HeldError
		if _, err := s.Lease(t.Context(), "leader", "bob", time.Minute); !errors.As(err, &held) {
			t.Errorf("after a jump of %v: a lease for bob: error %v, want that ada has it", jump, err)
		}
		c.advance(time.Hour)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, o)
	commits, err := told(t, s, 0)
	if err != nil || len(commits) != 5 {
		t.Fatalf("Watch tells %d commits, %v, want 5", len(commits), err)
	}
	for i, commit := range commits {
		if commit.Version.Revision != uint64(i)+1 || commit.Changes[0].Text != strconv.Itoa(i) {
			t.Errorf("commit %d is %v of %q", i+1, commit.Version, commit.Changes[0].Text)
		}
	}
	history, err := s.History(t.Context(), gateway("a"))
	if err != nil || len(history) != 5 || history[0].Text != "4" || history[4].Text != "0" {
		t.Errorf("History = %+v, %v, want the newest revision first", history, err)
	}
}
