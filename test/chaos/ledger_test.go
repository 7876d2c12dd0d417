// SPDX-License-Identifier: Apache-2.0

//go:build linux

package chaos

import (
	"fmt"
	"sync"
)

// ledger is what the clients know of all their requests. It is safe for
// concurrent use.
type ledger struct {
	mu      sync.Mutex // guards what follows
	sent    int
	fates   map[fate]int
	reasons map[string]int  // of what failed
	posts   map[uint64]fate // by id
	kinds   map[kind]int
	faults  []string // the first of what must not be
}

// enough is how many faults end a run: what comes later tells little.
const enough = 10

func newLedger() *ledger {
	return &ledger{
		fates: make(map[fate]int), reasons: make(map[string]int),
		posts: make(map[uint64]fate), kinds: make(map[kind]int),
	}
}

// enter notes how a request ended, and reports whether more are welcome.
func (l *ledger) enter(q request, o outcome, fault string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent++
	l.kinds[q.kind]++
	l.fates[o.fate]++
	if o.fate == failed {
		l.reasons[o.reason]++
	}
	if q.post {
		l.posts[q.id] = o.fate
	}
	if fault != "" {
		l.faults = append(l.faults, fault)
	}
	return len(l.faults) < enough
}

// fault notes what must not be beside requests.
func (l *ledger) fault(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = append(l.faults, fmt.Sprintf(format, args...))
}

// wrong returns how many faults there are.
func (l *ledger) wrong() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.faults)
}

// compare holds what origins acted on against what clients know.
func (l *ledger) compare(acted map[uint64]int) (unanswered int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, times := range acted {
		f, sent := l.posts[id]
		switch {
		case !sent:
			l.faults = append(l.faults, fmt.Sprintf("request %d was acted on and is none of the POSTs", id))
		case times > 1:
			l.faults = append(l.faults, fmt.Sprintf("POST %d, which ended as %s, was acted on %d times", id, f, times))
		case f != good:
			unanswered++
		}
	}
	for id, f := range l.posts {
		if f == good && acted[id] == 0 {
			l.faults = append(l.faults, fmt.Sprintf("POST %d was answered and never acted on", id))
		}
	}
	return unanswered
}

// balance holds the metrics against what clients know: everything that was
// accepted was answered by an origin, failed by the proxy itself, or given up
// by its client.
func (l *ledger) balance(m series) {
	accepted := int(m.sum("sluice_gateway_requests_total"))
	l.mu.Lock()
	defer l.mu.Unlock()
	claim := func(holds bool, format string, args ...any) {
		if !holds {
			l.faults = append(l.faults, "metrics: "+fmt.Sprintf(format, args...))
		}
	}
	ended := l.fates[good] + l.fates[failed] + l.fates[cut] + l.fates[left]
	claim(accepted == ended, "%d exchanges were accepted, the clients know of %d: %v", accepted, ended, l.fates)
	routes := int(m.sum("sluice_requests_total"))
	claim(routes == accepted, "routes had %d exchanges, their gateway %d", routes, accepted)
	seen := map[string]int{"response_aborted": l.fates[cut]}
	for reason, n := range l.reasons {
		seen[reason] += n
	}
	own := 0
	for _, reason := range append(keys(seen), "request_aborted") {
		n := int(m.sum("sluice_gateway_proxy_errors_total", `reason="`+reason+`"`))
		own += n
		claim(n >= seen[reason] && n <= seen[reason]+l.fates[left], "%d failed as %s, the clients saw %d and left %d", n, reason, seen[reason], l.fates[left])
	}
	all := int(m.sum("sluice_gateway_proxy_errors_total"))
	claim(all >= own && all <= own+l.fates[left], "%d failed in all, %d of them for reasons that clients saw", all, own)
	claim(accepted-all >= l.fates[good], "%d exchanges were answered by an origin, %d answers came", accepted-all, l.fates[good])
	claim(m.sum("sluice_panics_total") == 0, "the proxy had a panic")
	missing, shown := m[unaccounted]
	claim(shown && missing == 0, "%v exchanges are unaccounted for, shown: %v", missing, shown)
}

func keys(m map[string]int) (list []string) {
	for k := range m {
		list = append(list, k)
	}
	return list
}
