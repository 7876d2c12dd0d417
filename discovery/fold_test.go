// SPDX-License-Identifier: Apache-2.0

package discovery_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-mesh/sluice/discovery"
)

// passed notes what a Fold passes, as "ms since the start: keys".
type passed struct {
	mu    sync.Mutex
	start time.Time
	lines []string
}

func (p *passed) sink(b discovery.Batch) {
	p.mu.Lock()
	defer p.mu.Unlock()
	line := []string{fmt.Sprintf("%d:", time.Since(p.start).Milliseconds())}
	for _, u := range b.Updates {
		if u.Gone {
			u.Key += "(gone)"
		}
		line = append(line, u.Key)
	}
	if b.Listed {
		line = append(line, "listed")
	}
	p.lines = append(p.lines, strings.Join(line, " "))
}

func (p *passed) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

func batch(keys ...string) discovery.Batch {
	var b discovery.Batch
	for _, key := range keys {
		b.Updates = append(b.Updates, discovery.Update{Key: key})
	}
	return b
}

func urgent(key string) discovery.Batch {
	return discovery.Batch{Updates: []discovery.Update{{Key: key, Urgent: true}}}
}

func gone(key string) discovery.Batch {
	return discovery.Batch{Updates: []discovery.Update{{Key: key, Gone: true}}}
}

func TestFold(t *testing.T) {
	type put struct {
		at    time.Duration
		batch discovery.Batch
	}
	const ms = time.Millisecond
	for _, tt := range []struct {
		name string
		puts []put
		want []string
	}{
		{"the first change after quiet passes at once", []put{{0, batch("a")}, {time.Second, batch("b")}}, []string{
			"0: a", "1000: b",
		}},
		{"changes that keep coming pass once an interval, sorted", []put{
			{0, batch("a")}, {10 * ms, batch("c")}, {20 * ms, batch("b")}, {60 * ms, batch("d")},
		}, []string{"0: a", "50: b c", "100: d"}},
		{"the newest of a key counts", []put{
			{0, batch("a")}, {10 * ms, batch("b")}, {20 * ms, gone("b")},
		}, []string{"0: a", "50: b(gone)"}},
		{"what comes back within an interval is there", []put{
			{0, batch("a")}, {10 * ms, gone("b")}, {20 * ms, batch("b")},
		}, []string{"0: a", "50: b"}},
		{"an urgent update takes along what waits", []put{
			{0, batch("a")}, {10 * ms, batch("c")}, {20 * ms, urgent("b")},
		}, []string{"0: a", "20: b c"}},
		{"an interval begins anew after an urgent update", []put{
			{0, batch("a")}, {20 * ms, urgent("b")}, {60 * ms, batch("c")},
		}, []string{"0: a", "20: b", "70: c"}},
		{"the end of a listing passes without updates", []put{
			{0, discovery.Batch{Listed: true}}, {100 * ms, discovery.Batch{}},
		}, []string{"0: listed"}},
		{"the end of a listing passes with the updates before it", []put{
			{0, batch("a")}, {10 * ms, batch("b")}, {20 * ms, discovery.Batch{Listed: true}},
		}, []string{"0: a", "50: b listed"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := discovery.NewFold(0)
				p := passed{start: time.Now()}
				ctx, cancel := context.WithCancel(t.Context())
				go f.Run(ctx, p.sink)
				for _, put := range tt.puts {
					time.Sleep(put.at - time.Since(p.start))
					f.Put(put.batch)
				}
				time.Sleep(time.Minute)
				cancel()
				synctest.Wait()
				if got, want := p.String(), strings.Join(tt.want, "\n"); got != want {
					t.Errorf("passed\n%s\nwant\n%s", got, want)
				}
			})
		})
	}
}

func TestFoldPassesAtMostOneBatchAnIntervalAndLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := discovery.NewFold(50 * time.Millisecond)
		ctx, cancel := context.WithCancel(t.Context())
		var times []time.Time
		newest := make(map[string]int)
		go f.Run(ctx, func(b discovery.Batch) {
			times = append(times, time.Now())
			for _, u := range b.Updates {
				newest[u.Key] = len(u.Faults)
			}
			time.Sleep(3 * time.Millisecond) // planning takes its time
		})
		for range 4 {
			go func() {
				for range 100 {
					f.Put(batch("noise"))
					time.Sleep(time.Millisecond)
				}
				f.Put(batch("end"))
			}()
		}
		time.Sleep(time.Second)
		cancel()
		synctest.Wait()
		for i := 1; i < len(times); i++ {
			if gap := times[i].Sub(times[i-1]); gap < 50*time.Millisecond {
				t.Errorf("batch %d came %v after the one before", i, gap)
			}
		}
		if len(times) < 3 || len(times) > 4 {
			t.Errorf("%d batches in 100 ms of changes, want 3 or 4", len(times))
		}
		if _, ok := newest["end"]; !ok {
			t.Error("the last update was lost")
		}
	})
}

func TestFoldPassesWhatWaitsWhenItIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := discovery.NewFold(0)
		p := passed{start: time.Now()}
		done := make(chan struct{})
		f.Put(batch("a"))
		go func() {
			defer close(done)
			f.Run(t.Context(), p.sink)
		}()
		synctest.Wait()
		f.Put(batch("b"))
		f.Close()
		<-done
		if got, want := p.String(), "0: a\n0: b"; got != want {
			t.Errorf("passed\n%s\nwant\n%s", got, want)
		}
	})
}

func TestFoldDoesNotBlockWhileItsSinkDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := discovery.NewFold(0)
		release := make(chan struct{})
		var keys []string
		done := make(chan struct{})
		go func() {
			defer close(done)
			f.Run(t.Context(), func(b discovery.Batch) {
				for _, u := range b.Updates {
					keys = append(keys, u.Key)
				}
				<-release
			})
		}()
		for _, key := range []string{"a", "b", "c"} {
			f.Put(batch(key))
			synctest.Wait()
		}
		close(release)
		f.Close()
		<-done
		if want := []string{"a", "b", "c"}; !slices.Equal(keys, want) {
			t.Errorf("passed %q, want %q", keys, want)
		}
	})
}
