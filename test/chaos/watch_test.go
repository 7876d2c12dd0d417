// SPDX-License-Identifier: Apache-2.0

//go:build linux

package chaos

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"
)

// The metrics are looked at so often, and progress is told.
const (
	sampled = time.Second
	told    = time.Minute
)

// watch looks at the metrics of a proxy while it works.
type watch struct {
	samples int
	missing string // the first sample with exchanges unaccounted for; empty if there is none
}

// take judges one sample.
func (w *watch) take(m series, after time.Duration) {
	w.samples++
	n, shown := m[unaccounted]
	switch {
	case w.missing != "":
	case !shown:
		w.missing = fmt.Sprintf("after %v the metrics lack %s", after, unaccounted)
	case n != 0:
		w.missing = fmt.Sprintf("after %v, %v exchanges were unaccounted for", after, n)
	}
}

// unaccounted is the metric that is always 0.
const unaccounted = "sluice_exchanges_unaccounted"

// startWatch watches until the function that it returns is called, which
// returns what was seen.
func (s *scene) startWatch(t *testing.T, p *proxy) (stop func() *watch) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w, began := new(watch), time.Now()
	done := make(chan struct{})
	go func() {
		defer close(done)
		sample, tell := time.NewTicker(sampled), time.NewTicker(told)
		defer sample.Stop()
		defer tell.Stop()
		var m series
		for {
			select {
			case <-ctx.Done():
				return
			case <-sample.C:
				next, err := p.scrape(ctx)
				if err != nil {
					if ctx.Err() == nil {
						s.ledger.fault("%v", err)
					}
					continue
				}
				m = next
				w.take(m, time.Since(began))
			case <-tell.C:
				t.Logf("%v: %s", time.Since(began).Round(time.Second), s.progress(m))
			}
		}
	}()
	stop = sync.OnceValue(func() *watch {
		cancel()
		<-done
		return w
	})
	t.Cleanup(func() { stop() })
	return stop
}

// progress tells a person how far a run is.
func (s *scene) progress(m series) string {
	faults := s.ledger.wrong()
	return fmt.Sprintf("%d requests sent, %.0f accepted, %.0f failures of the proxy's own, %.0f in flight, %.0f unaccounted for; %d tables, %.0f MB, %d faults",
		s.ids.Load(), m.sum("sluice_gateway_requests_total"), m.sum("sluice_gateway_proxy_errors_total"),
		m.sum("sluice_gateway_requests_in_flight"), m.sum(unaccounted),
		s.splits.changes(), m.sum("process_resident_memory_bytes")/(1<<20), faults)
}

// invariants returns what holds of a whole run, one a line: the proxy's books
// on the left, those of clients and origins on the right.
func (l *ledger) invariants(m series, acted map[uint64]int, w *watch) (lines []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	accepted, own := m.sum("sluice_gateway_requests_total"), m.sum("sluice_gateway_proxy_errors_total")
	aborted := m.sum("sluice_gateway_proxy_errors_total", `reason="request_aborted"`)
	add("accepted %.0f = answered %d + failed by the proxy %d + cut short %d + left by their clients %d",
		accepted, l.fates[good], l.fates[failed], l.fates[cut], l.fates[left])
	add("accepted %.0f = answered by an origin %.0f + own failures %.0f + aborted by clients %.0f", accepted, accepted-own, own-aborted, aborted)
	add("accepted %.0f = ended on routes %.0f", accepted, m.sum("sluice_requests_total"))
	once, answered := 0, 0
	for id, times := range acted {
		if times == 1 {
			once++
		}
		if l.posts[id] == good {
			answered++
		}
	}
	add("POSTs acted on %d = acted on once %d = answered %d + not answered %d", len(acted), once, answered, len(acted)-answered)
	add("in flight %.0f = 0, connections open %.0f = 0", m.sum("sluice_gateway_requests_in_flight"), m.sum("sluice_connections_open"))
	missing := "0 throughout"
	if w.missing != "" {
		missing = w.missing
	}
	add("unaccounted for: %s (%d samples), %.0f = 0 in the end", missing, w.samples, m.sum(unaccounted))
	add("panics %.0f = 0", m.sum("sluice_panics_total"))
	return lines
}
