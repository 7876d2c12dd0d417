// SPDX-License-Identifier: Apache-2.0

//go:build linux

package marathon

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// pause is what lies between two requests of a client.
const pause = 5 * time.Millisecond

// load is clients that ask the gateway all the time. They try nothing twice: a
// request that is not answered well has failed.
type load struct {
	url  string
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu       sync.Mutex // guards what follows
	by       map[string]int
	failures []string
	failed   int
}

// load starts clients, half of them with connections that they keep.
func (x *mesh) load(t *testing.T) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{url: x.url(), stop: cancel, by: make(map[string]int)}
	t.Cleanup(func() {
		l.stop()
		l.wg.Wait()
	})
	for i := range 4 {
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: i%2 == 0}}
		l.wg.Go(func() {
			defer client.CloseIdleConnections()
			tick := time.NewTicker(pause)
			defer tick.Stop()
			for ctx.Err() == nil {
				l.count(l.ask(context.WithoutCancel(ctx), client)) // to its end
				<-tick.C
			}
		})
	}
	return l
}

func (l *load) ask(ctx context.Context, client *http.Client) (app string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url, http.NoBody)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s %s", resp.Status, resp.Header.Get("Sluice-Reason"), body)
	}
	app, _, _ = strings.Cut(string(body), " ")
	return app, err
}

func (l *load) count(app string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.by[app]++
		return
	}
	if l.failed++; len(l.failures) < 10 {
		l.failures = append(l.failures, time.Now().Format("15:04:05.000 ")+err.Error())
	}
}

// good returns how many requests were answered well.
func (l *load) good() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, of := range l.by {
		n += of
	}
	return n
}

// more waits until n more requests were answered well.
func (l *load) more(t *testing.T, n int) {
	t.Helper()
	before := l.good()
	await(t, "the clients are answered", func() bool { return l.good() >= before+n }, l.report)
}

func (l *load) report() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("answered %v, failed %d: %s", l.by, l.failed, strings.Join(l.failures, "\n"))
}

// end stops the clients. None of their requests may have failed.
func (l *load) end(t *testing.T) {
	t.Helper()
	l.stop()
	l.wg.Wait()
	if l.failed > 0 || l.good() == 0 {
		t.Errorf("requests failed: %s", l.report())
	}
}
