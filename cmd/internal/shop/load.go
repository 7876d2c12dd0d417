// SPDX-License-Identifier: Apache-2.0

package shop

import (
	"context"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	loadWorkers  = 8
	betaEach     = 10 // one customer in so many carries the beta cookie
	loadTimeout  = 30 * time.Second
	maxLoadDelay = time.Hour
)

// LoadOptions shape a Load.
type LoadOptions struct {
	// URL is where the customers go, such as http://127.0.0.1:9050.
	URL string
	// Rate is how many requests a second they make. Zero or less means none.
	Rate float64
	// Transport carries the requests. Nil means one with connections of its
	// own, which are kept alive.
	Transport http.RoundTripper
}

// Load is a gentle, even stream of customers, one in ten of them a beta
// guest. While all of its few workers wait for answers it sends nothing, so
// that a slow shop is not buried.
type Load struct {
	o LoadOptions

	sent, failed atomic.Int64
	served       map[string]*atomic.Int64 // by version; not changed after NewLoad
}

// NewLoad returns a load that stands still until Run.
func NewLoad(o LoadOptions) *Load {
	l := &Load{o: o, served: make(map[string]*atomic.Int64)}
	for _, v := range Versions() {
		l.served[v] = new(atomic.Int64)
	}
	return l
}

// Sales is what a load has seen so far.
type Sales struct {
	Sent   int64            // answered or failed
	Failed int64            // no answer, or a status of 500 and above
	Served map[string]int64 // answers below 500 by version
}

// Sales returns the counts. It is safe to call while Run runs.
func (l *Load) Sales() Sales {
	s := Sales{Sent: l.sent.Load(), Failed: l.failed.Load(), Served: make(map[string]int64)}
	for v, n := range l.served {
		s.Served[v] = n.Load()
	}
	return s
}

// Run sends until ctx ends and returns when no request is left.
func (l *Load) Run(ctx context.Context) error {
	if l.o.Rate <= 0 {
		return nil
	}
	transport := l.o.Transport
	if transport == nil {
		own := &http.Transport{MaxIdleConnsPerHost: loadWorkers, IdleConnTimeout: time.Minute, DisableCompression: true}
		defer own.CloseIdleConnections()
		transport = own
	}
	client := &http.Client{Transport: transport, Timeout: loadTimeout}

	customers := make(chan int)
	var workers sync.WaitGroup
	for range loadWorkers {
		workers.Go(func() {
			for n := range customers {
				l.visit(ctx, client, n)
			}
		})
	}
	l.pace(ctx, customers)
	close(customers)
	workers.Wait()
	return nil
}

// pace hands out the numbers of customers at the asked rate. One that no
// worker is free for does not come.
func (l *Load) pace(ctx context.Context, customers chan<- int) {
	delay := min(max(time.Duration(float64(time.Second)/l.o.Rate), time.Microsecond), maxLoadDelay)
	tick := time.NewTicker(delay)
	defer tick.Stop()
	for n := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		select {
		case customers <- n:
			n++
		default:
		}
	}
}

var (
	visited = [...]string{"/", "/api", "/version"}
	agents  = [...]string{
		"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15",
		"curl/8.5.0",
	}
)

func (l *Load) visit(ctx context.Context, client *http.Client, n int) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, l.o.URL+visited[n%len(visited)], http.NoBody)
	if err != nil {
		l.count("", http.StatusInternalServerError)
		return
	}
	r.Header.Set("User-Agent", agents[n%len(agents)])
	if n%betaEach == betaEach-1 {
		r.AddCookie(&http.Cookie{Name: "beta", Value: "yes"})
	}
	resp, err := client.Do(r)
	if err != nil {
		if ctx.Err() == nil { // what the end cut off is nobody's failure
			l.count("", http.StatusBadGateway)
		}
		return
	}
	defer func() { _ = resp.Body.Close() }()
	// Read to the end: only then is the connection free for the next one.
	if _, err := io.Copy(io.Discard, resp.Body); err != nil && ctx.Err() == nil {
		l.count("", http.StatusBadGateway)
		return
	}
	l.count(resp.Header.Get("Shop-Version"), resp.StatusCode)
}

func (l *Load) count(version string, status int) {
	l.sent.Add(1)
	if status >= http.StatusInternalServerError {
		l.failed.Add(1)
		return
	}
	if n := l.served[version]; n != nil {
		n.Add(1)
	}
}
