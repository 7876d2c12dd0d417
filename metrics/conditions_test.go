// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/sluice-mesh/sluice/metrics"
)

var (
	keyA = metrics.ConditionKey{Route: "a", Condition: "User-Agent == Firefox"}
	keyB = metrics.ConditionKey{Route: "b", Condition: "has cookie beta"}
	keyC = metrics.ConditionKey{Route: "c", Condition: "Host == shop"}
)

func TestConditionsCountEveryWalk(t *testing.T) {
	gw := metrics.New(metrics.Options{Shards: 4}).Gateway("shop")
	keys := []metrics.ConditionKey{keyA, keyB, keyC}
	gw.SetConditions(keys)
	want := []metrics.ConditionTotals{{ConditionKey: keyA}, {ConditionKey: keyB}, {ConditionKey: keyC}}
	rng := rand.New(rand.NewPCG(3, 4))
	conditions := gw.Conditions()
	for range 10_000 {
		held, taken := rng.IntN(len(keys)+1), rng.IntN(2) == 0
		conditions.Asked(rng.Uint32(), held, taken && held < len(keys))
		for i := range keys {
			if i <= held {
				want[i].Evaluations++
			}
			if i == held {
				want[i].Matches++
				if taken {
					want[i].Selected++
				}
			}
		}
	}
	if got := gw.ReadConditions(); !slices.Equal(got, want) {
		t.Errorf("conditions = %+v, want %+v", got, want)
	}
}

func TestConditionsOutOfRangeAreNotCounted(t *testing.T) {
	gw := metrics.New(metrics.Options{}).Gateway("shop")
	gw.Conditions().Asked(0, 0, false) // a gateway without conditions
	gw.Conditions().Asked(0, 7, true)
	gw.SetConditions([]metrics.ConditionKey{keyA})
	gw.Conditions().Asked(0, -1, true)
	gw.Conditions().Asked(0, 2, true)
	if got := gw.ReadConditions(); !slices.Equal(got, []metrics.ConditionTotals{{ConditionKey: keyA}}) {
		t.Errorf("conditions = %+v, want no counts", got)
	}
}

func TestConditionsThatStayKeepTheirCounts(t *testing.T) {
	gw := metrics.New(metrics.Options{}).Gateway("shop")
	gw.SetConditions([]metrics.ConditionKey{keyA, keyB})
	old := gw.Conditions()
	old.Asked(0, 1, true) // asked a, took b
	gw.SetConditions([]metrics.ConditionKey{keyA, keyB})
	if gw.Conditions() != old {
		t.Error("the same conditions have another view")
	}
	gw.SetConditions([]metrics.ConditionKey{keyB, keyC})
	if gw.Conditions() == old {
		t.Error("other conditions have the same view")
	}
	old.Asked(0, 1, false)             // decided before the change, counted after it
	gw.Conditions().Asked(0, 0, false) // b held
	want := []metrics.ConditionTotals{
		{ConditionKey: keyB, Evaluations: 3, Matches: 3, Selected: 1},
		{ConditionKey: keyC},
	}
	if got := gw.ReadConditions(); !slices.Equal(got, want) {
		t.Errorf("conditions = %+v, want %+v", got, want)
	}
	runtime.KeepAlive(old)
}

// Counts of views that are replaced again and again while they are used, and
// collected as garbage in between, are never lost or counted twice.
func TestReplacedViewsLoseNothing(t *testing.T) {
	const workers, each = 4, 5000
	gw := metrics.New(metrics.Options{Shards: 4}).Gateway("shop")
	gw.SetConditions([]metrics.ConditionKey{keyA, keyB})
	var counting sync.WaitGroup
	for w := range uint32(workers) {
		counting.Go(func() {
			for range each {
				gw.Conditions().Asked(w, 2, false)
			}
		})
	}
	stop := make(chan struct{})
	var changing sync.WaitGroup
	changing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			keys := []metrics.ConditionKey{keyA, keyB}
			if i%2 == 0 {
				slices.Reverse(keys)
			}
			gw.SetConditions(keys)
			if i%100 == 0 {
				runtime.GC()
			}
			for _, c := range gw.ReadConditions() {
				if c.Evaluations > workers*each {
					t.Errorf("%v was asked %d times", c.ConditionKey, c.Evaluations)
				}
			}
		}
	})
	counting.Wait()
	close(stop)
	changing.Wait()
	runtime.GC()
	for _, c := range gw.ReadConditions() {
		if c.Evaluations != workers*each || c.Matches != 0 {
			t.Errorf("%v = %+v, want %d evaluations", c.ConditionKey, c, workers*each)
		}
	}
}

// Unused views, and gateways that are gone, must not stay in memory.
func TestReplacedViewsAreCollected(*testing.T) {
	r := metrics.New(metrics.Options{Linger: -1})
	collected := make(chan struct{})
	func() {
		gw := r.Gateway("shop")
		gw.SetConditions([]metrics.ConditionKey{keyA})
		runtime.AddCleanup(gw.Conditions(), func(done chan struct{}) { close(done) }, collected)
		r.Retain(nil)
	}()
	for {
		runtime.GC() // cleanups run some time after the collection
		select {
		case <-collected:
			return
		default:
		}
	}
}

func TestLongConditionsAreCut(t *testing.T) {
	gw := metrics.New(metrics.Options{}).Gateway("shop")
	gw.SetConditions([]metrics.ConditionKey{{Route: "a", Condition: strings.Repeat("ä", 1000)}})
	got := gw.ReadConditions()[0].Condition
	if len(got) > 210 || !utf8.ValidString(got) || !strings.HasSuffix(got, "ä…") {
		t.Errorf("label = %q (%d bytes), want at most 200 bytes and a mark", got, len(got))
	}
}
