// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sluice-mesh/sluice/control/store"
)

// Bounds of the server.
const (
	headTimeout = 10 * time.Second
	bodyTimeout = time.Minute
	// answerTimeout is for each part that is written at once.
	answerTimeout = time.Minute
	// maxConnections are served at a time; others wait to be accepted.
	maxConnections = 4096
	idleTimeout    = 65 * time.Second
	maxHeadBytes   = 32 << 10
	// closeTimeout is how long answers may still take once the end was asked
	// for.
	closeTimeout = 5 * time.Second
)

// API answers requests about artifacts and proxies. It is made by New and safe
// for concurrent use.
type API struct {
	o         Options
	table     []route
	patterns  [][]string // of the table
	guard     *guard
	incidents atomic.Uint64
	streams   atomic.Int64 // of events, that are open
	started   time.Time
	large     turnstile // bodies of several artifacts that are read
	names     names
	reached   reached
	epoch     uint64 // of the store
}

// New returns an API. The errors are those of Options that cannot be.
func New(o Options) (*API, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	a := &API{o: o.withDefaults()}
	a.started, a.large = a.o.Clock(), make(turnstile, maxLarge)
	// What is stored now is in the first plan, which makes no changes.
	if at, err := o.Store.Version(context.Background()); err == nil {
		a.reached.first, a.epoch = at.Revision, at.Epoch
	}
	a.guard = newGuard(a.o)
	a.table = a.routes()
	for i := range a.table {
		segments, err := segmentsOf(a.table[i].path)
		if err != nil {
			return nil, err
		}
		a.patterns = append(a.patterns, segments)
	}
	return a, nil
}

// Handler returns what answers requests. Who asks is told by the connection:
// see Options.Tokens. A server of one's own has to bound heads and times.
func (a *API) Handler() http.Handler { return http.HandlerFunc(a.serve) }

// Serve answers the requests that come to a listener until ctx ends or the
// listener fails, and then gives those under way 5 s; those that only wait are
// answered at once. It closes the listener. It refuses an address that Check
// does.
func (a *API) Serve(ctx context.Context, ln net.Listener) error {
	if err := a.Check(ln.Addr()); err != nil {
		return errors.Join(err, ln.Close())
	}
	ending, end := context.WithCancel(ctx)
	defer end()
	work, giveUp := context.WithCancel(context.WithValue(context.WithoutCancel(ctx), endingKey{}, ending))
	defer giveUp()
	server := http.Server{
		Handler:           a.Handler(),
		TLSConfig:         a.o.TLS.Clone(),
		ReadHeaderTimeout: headTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeadBytes,
		ErrorLog:          slog.NewLogLogger(a.o.Log.Handler(), slog.LevelWarn),
		BaseContext:       func(net.Listener) context.Context { return work },
	}
	ended := make(chan error, 1)
	go func() {
		if a.o.TLS != nil {
			ended <- server.ServeTLS(limit(ln, maxConnections), "", "")
			return
		}
		ended <- server.Serve(limit(ln, maxConnections))
	}()
	select {
	case err := <-ended:
		end()
		return errors.Join(fmt.Errorf("api %s: %w", ln.Addr(), err), stop(ctx, &server))
	case <-ctx.Done():
	}
	err := stop(ctx, &server)
	if ended := <-ended; !errors.Is(ended, http.ErrServerClosed) {
		err = errors.Join(err, ended)
	}
	return err
}

// endingKey is the key of the context that ends when the server is asked to
// end, in that of requests, which then still have some time.
type endingKey struct{}

// stop ends a server: orderly, or by force if that takes too long.
func stop(ctx context.Context, server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	if err := server.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
		return server.Close()
	}
	return nil
}

// serve answers one request.
func (a *API) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Vary", "Accept")
	c := &call{api: a, w: w, r: r, query: r.URL.Query()}
	defer c.recover() //nolint:contextcheck // the request of the call has it
	c.deadlines()
	if err := c.serve(); err != nil { //nolint:contextcheck // the request of the call has it
		c.fail(err) //nolint:contextcheck // the request of the call has it
	}
}

// deadlines bounds how long the body may take, and takes the bound of the
// answer before on the same connection away. A request without a body may wait
// as long as it takes.
func (c *call) deadlines() {
	control := http.NewResponseController(c.w)
	var body time.Time
	if c.r.ContentLength != 0 {
		body = time.Now().Add(bodyTimeout)
	}
	_ = control.SetReadDeadline(body) // a recorder in a test has none
	_ = control.SetWriteDeadline(time.Time{})
}

// patience bounds how long a part of an answer may take to be taken.
func patience(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTimeout))
}

func (c *call) serve() error {
	a := c.api
	f := a.find(c.r)
	c.ns, c.params, c.route = f.ns, f.params, f.route
	if f.route == nil || !f.route.open { // probes ask by any name
		if err := a.guard.origin(c.r); err != nil {
			return err
		}
	}
	if err := a.guard.admit(c); err != nil {
		return err
	}
	switch {
	case f.route == nil && len(f.allow) > 0:
		c.w.Header().Set("Allow", strings.Join(f.allow, ", "))
		return refuse(http.StatusMethodNotAllowed, c.r.Method+" is not for this path; allowed are "+strings.Join(f.allow, ", "))
	case f.route == nil:
		return a.noSuchPath(f)
	}
	if !f.route.root {
		if err := store.CheckNamespace(c.ns); err != nil {
			return refuse(http.StatusBadRequest, err.Error())
		}
	}
	if f.route.changes {
		if err := a.unready(); err != nil {
			return err
		}
	}
	return f.route.serve(c)
}

// noSuchPath answers a path that nothing is at.
func (a *API) noSuchPath(f found) error {
	if f.ns == "" {
		return refuse(http.StatusNotFound, "there is nothing here: the API is at "+base+", and at /ORGANISATION/ENVIRONMENT"+base)
	}
	return refuse(http.StatusNotFound, "there is nothing here: "+base+"/openapi.json lists what there is")
}

// unready returns an error while the control plane does not know everything
// yet, so that nothing is checked against half of it.
func (a *API) unready() error {
	for _, r := range a.readiness() {
		if !r.OK {
			return unready(strings.TrimSuffix("not ready: "+r.Name+": "+r.Detail, ": ") + "; try again soon")
		}
	}
	return nil
}

func (a *API) readiness() []Readiness {
	if a.o.Ready == nil {
		return nil
	}
	return a.o.Ready()
}

// incident returns a name under which the log tells of a fault of ours.
func (a *API) incident() string {
	return "incident " + strconv.FormatUint(uint64(a.o.Clock().Unix()), 36) + "-" + strconv.FormatUint(a.incidents.Add(1), 10)
}

// recover answers a panic, which is a fault of ours, and lets the process go
// on.
func (c *call) recover() {
	p := recover()
	if p == nil {
		return
	}
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(p)
	}
	id := c.api.incident()
	c.api.o.Log.ErrorContext(c.ctx(), "request panicked", "incident", id, "method", c.r.Method, "path", c.r.URL.Path,
		"panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	c.fail(refuse(http.StatusInternalServerError, "Internal server error; the log of the control plane tells more under "+id+"."))
}
