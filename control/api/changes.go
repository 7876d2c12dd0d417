// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/sluice-mesh/sluice/control/auth"
	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/control/stream"
	"github.com/sluice-mesh/sluice/routing"
)

// changeRoutes tell what became of changes.
func (a *API) changeRoutes() []route {
	return []route{
		{method: http.MethodGet, path: "/changes", need: auth.Viewer, serve: (*call).changes},
		{method: http.MethodGet, path: "/changes/{id}", need: auth.Viewer, serve: (*call).change},
	}
}

// change answers how far a change has come.
func (c *call) change() error {
	id, err := strconv.ParseUint(c.param("id"), 10, 64)
	if err != nil || id == 0 {
		return refuse(http.StatusNotFound, "a change is a number, as writes answer in Sluice-Change")
	}
	wait, err := c.wait()
	if err != nil {
		return err
	}
	at, err := c.api.o.Store.Version(c.ctx())
	if err != nil {
		return err
	}
	if id > at.Revision {
		return refuse(http.StatusNotFound, "change "+strconv.FormatUint(id, 10)+" was not made yet")
	}
	known, err := c.follow(id, wait)
	if err != nil {
		return err
	}
	if known.Namespace != "" && known.Namespace != c.ns {
		return refuse(http.StatusNotFound, "change "+strconv.FormatUint(id, 10)+" is of another namespace")
	}
	return c.answer(http.StatusOK, viewOf(known))
}

// follow returns how far a change has come, at the latest when wait is over.
func (c *call) follow(id uint64, wait time.Duration) (stream.Convergence, error) {
	known, ok := c.api.o.Proxies.Convergence(id)
	if !ok && id <= c.api.reached.first {
		return c.long(id, wait) // by a process before this one
	}
	if !ok || wait > 0 {
		waiting, end := c.waiting()
		defer end()
		ctx, cancel := context.WithTimeout(waiting, wait)
		defer cancel()
		var err error
		known, err = c.api.o.Proxies.Wait(ctx, id)
		if errors.Is(err, stream.ErrForgotten) {
			return c.long(id, wait)
		}
		if err != nil && ctx.Err() == nil {
			return known, err
		}
	}
	if known.State == "" {
		known = stream.Convergence{Change: id, State: stream.Pending}
	}
	return known, nil
}

// look is how often proxies are looked at again that do not serve the newest
// table.
const look = 100 * time.Millisecond

// long returns how far a change has come that was made too long ago to be
// known by itself: it is in the newest table, so whoever serves that serves
// it.
func (c *call) long(id uint64, wait time.Duration) (stream.Convergence, error) {
	waiting, end := c.waiting()
	defer end()
	ctx, cancel := context.WithTimeout(waiting, wait)
	defer cancel()
	again := time.NewTicker(look)
	defer again.Stop()
	for {
		known := c.newest(id)
		if known.State != stream.Planned {
			return known, nil
		}
		select {
		case <-ctx.Done():
			return known, c.ctx().Err()
		case <-again.C:
		}
	}
}

// maxLaggards bounds those that are named.
const maxLaggards = 100

// newest returns how far the newest table has come, as what is known of a
// change in it.
func (c *call) newest(id uint64) stream.Convergence {
	known := stream.Convergence{Change: id, State: stream.Pending, Namespace: c.ns}
	plan, ok := c.api.o.Plans.Last(c.ns)
	if !ok {
		return known
	}
	known.Version = plan.Table.Version
	for _, p := range c.api.o.Proxies.Proxies() {
		switch {
		case !p.Connected || !serves(p.Namespaces, c.ns):
			continue
		case p.Version != (routing.Version{}) && p.Behind.IsZero():
			known.Served++
		case len(known.Laggards) < maxLaggards:
			since := p.Behind
			if since.IsZero() {
				since = p.Since
			}
			known.Laggards = append(known.Laggards, stream.Laggard{Node: p.Node, Since: since, Reason: "it does not serve the newest table yet"})
		}
		known.Proxies++
	}
	switch {
	case known.Proxies == 0:
		known.State = stream.NoProxies
	case known.Served == known.Proxies:
		known.State = stream.Converged
	default:
		known.State = stream.Planned
	}
	return known
}

// convergenceView is a change as it is answered.
type convergenceView struct {
	stream.Convergence
	Version  string           `json:"version"` // of the first table that it is in
	Laggards []stream.Laggard `json:"laggards"`
}

func viewOf(c stream.Convergence) convergenceView {
	v := convergenceView{Convergence: c, Laggards: c.Laggards}
	if c.Version != (routing.Version{}) {
		v.Version = c.Version.String()
	}
	if v.Laggards == nil {
		v.Laggards = []stream.Laggard{}
	}
	return v
}

// maxCommits bounds how far back a list of changes looks.
const maxCommits = 200

// changeView is a change in the list of them.
type changeView struct {
	ID        uint64    `json:"id"`
	Time      time.Time `json:"time"`
	Author    string    `json:"author"`
	Artifacts []string  `json:"artifacts"`         // KIND/NAME of what was written
	Deleted   []string  `json:"deleted,omitempty"` // and of what was deleted
	State     string    `json:"state,omitempty"`   // empty if it is not known any more
}

// changes answers the newest changes of the namespace, as far as the last
// commits of the store reach.
func (c *call) changes() error {
	at, err := c.api.o.Store.Version(c.ctx())
	if err != nil {
		return err
	}
	all := []changeView{}
	from := routing.Version{Epoch: at.Epoch, Revision: at.Revision - min(at.Revision, maxCommits)}
	if at.Revision == 0 {
		return c.answer(http.StatusOK, all)
	}
	for commit, err := range c.api.o.Store.Watch(c.ctx(), "", from) {
		if errors.Is(err, store.ErrCompacted) { // the log is kept by size, too
			break
		}
		if err != nil {
			return err
		}
		if v := c.changed(commit); len(v.Artifacts)+len(v.Deleted) > 0 {
			all = append(all, v)
		}
		if commit.Version.Revision >= at.Revision {
			break
		}
	}
	slices.Reverse(all)
	first, last := c.page(len(all))
	return c.answer(http.StatusOK, all[first:last])
}

// changed returns what a commit did to the namespace.
func (c *call) changed(commit store.Commit) changeView {
	v := changeView{ID: commit.Version.Revision, Time: commit.Time, Author: commit.Author, Artifacts: []string{}}
	for _, a := range commit.Changes {
		switch {
		case a.Namespace != c.ns:
		case a.Deleted:
			v.Deleted = append(v.Deleted, a.Kind+"/"+a.Name)
		default:
			v.Artifacts = append(v.Artifacts, a.Kind+"/"+a.Name)
		}
	}
	if known, ok := c.api.o.Proxies.Convergence(v.ID); ok {
		v.State = string(known.State)
	}
	return v
}
