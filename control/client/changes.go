// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Change is what became of a write so far.
type Change struct {
	ID      uint64       `json:"id"`
	State   string       `json:"state"`   // one of the States below
	Version TableVersion `json:"version"` // of the table that holds it; empty if there is none yet
	Proxies int          `json:"proxies"` // that are connected and have the namespace
	Served  int          `json:"served"`  // of them, those that serve it
	// Laggards are those that do not, with what is known of why.
	Laggards []Laggard `json:"laggards"`
	// TookSeconds is the time from the write to when the last proxy served
	// it; 0 until then.
	TookSeconds float64 `json:"took_seconds"`

	Body json.RawMessage `json:"-"` // all of it
}

// Laggard is a proxy that does not serve a change yet.
type Laggard struct {
	Node   string    `json:"node"`
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
}

// The states of a change.
const (
	StatePending   = "pending"    // it is stored, and in no table yet
	StatePlanned   = "planned"    // it is in a table, on its way to proxies
	StateConverged = "converged"  // all connected proxies serve it
	StateRefused   = "refused"    // all have it, and some do not take it
	StateNoProxies = "no_proxies" // it is in a table, and no proxy is connected
)

// Settled reports that nothing is left to wait for: all connected proxies
// serve the change, or said that they do not take it, or there are none.
func (c Change) Settled() bool {
	return c.State == StateConverged || c.State == StateRefused || c.State == StateNoProxies
}

// Change returns what became of a change, as soon as it is settled or wait has
// passed. If it is not known any more the error is an *Error of status 404.
func (c *Client) Change(ctx context.Context, id uint64, wait time.Duration) (Change, error) {
	query := url.Values{}
	if wait > 0 {
		query.Set("wait", wait.String())
	}
	a, err := c.do(ctx, call{method: http.MethodGet, path: "/changes/" + strconv.FormatUint(id, 10), query: query, waits: wait})
	if err != nil {
		return Change{}, err
	}
	var change Change
	err = a.decode(&change)
	change.Body = a.body
	return change, err
}

// Commit is a change as the store has it: who wrote what.
type Commit struct {
	ID        uint64    `json:"id"` // that of the Change
	Time      time.Time `json:"time"`
	Author    string    `json:"author"`
	Artifacts []string  `json:"artifacts"` // written, as kind/name
	Deleted   []string  `json:"deleted"`   // taken away, in the same form
	State     string    `json:"state"`     // as of the Change; empty if it is not known any more

	Body json.RawMessage `json:"-"` // all of it
}

// Changes returns the newest changes of the namespace, the newest first: a
// page of them.
func (c *Client) Changes(ctx context.Context) ([]Commit, error) {
	var bodies []json.RawMessage
	if err := c.get(ctx, "/changes", nil, &bodies); err != nil {
		return nil, err
	}
	all := make([]Commit, len(bodies))
	for i, body := range bodies {
		if err := json.Unmarshal(body, &all[i]); err != nil {
			return nil, notJSON(body)
		}
		all[i].Body = body
	}
	return all, nil
}

// awaitStep is how often Await hears how far a change has come, and awaitPause
// what it leaves between two questions.
const (
	awaitStep  = time.Second
	awaitPause = 50 * time.Millisecond
)

// Await waits until a change is settled, and hands on each state that differs
// from the one before. It returns the last one, with the error of ctx if that
// ended first.
func (c *Client) Await(ctx context.Context, id uint64, each func(Change)) (Change, error) {
	var last Change
	for {
		now, err := c.Change(ctx, id, awaitStep)
		if err != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return last, err
		}
		if each != nil && !now.same(last) {
			each(now)
		}
		if last = now; last.Settled() {
			return last, nil
		}
		if err := pause(ctx, awaitPause); err != nil {
			return last, err
		}
	}
}

// same reports whether two states tell people the same.
func (c Change) same(d Change) bool {
	if c.State != d.State || c.Proxies != d.Proxies || c.Served != d.Served || len(c.Laggards) != len(d.Laggards) {
		return false
	}
	for i, l := range c.Laggards {
		if l.Node != d.Laggards[i].Node || l.Reason != d.Laggards[i].Reason {
			return false
		}
	}
	return true
}
