// SPDX-License-Identifier: Apache-2.0

package api

import (
	_ "embed"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/sluice-mesh/sluice/control/auth"
)

// systemRoutes are those that are about the control plane itself.
func (a *API) systemRoutes() []route {
	const get, post = http.MethodGet, http.MethodPost
	routes := []route{
		{method: get, path: "/livez", root: true, open: true, serve: (*call).live},
		{method: get, path: "/readyz", root: true, open: true, serve: (*call).ready},
		{method: get, path: "/openapi.json", need: auth.Viewer, serve: (*call).openapi},
		{method: get, path: "/info", need: auth.Viewer, serve: (*call).info},
		{method: get, path: "/backup", need: auth.Admin, everywhere: true, serve: (*call).backup},
		{method: get, path: "/proxies", need: auth.Viewer, serve: (*call).proxies},
		{method: get, path: "/status", need: auth.Viewer, serve: (*call).status},
		{method: post, path: "/explain", need: auth.Viewer, serve: (*call).explain},
	}
	if a.o.Metrics != nil {
		routes = append(routes, route{method: get, path: "/metrics", root: true, need: auth.Viewer, serve: func(c *call) error {
			patience(c.w)
			a.o.Metrics.ServeHTTP(c.w, c.r)
			return nil
		}})
	}
	if a.o.Confirm != nil {
		routes = append(routes, route{method: post, path: "/confirm", need: auth.Admin, everywhere: true, serve: (*call).confirm})
	}
	return routes
}

// live answers whether the process should be left running.
func (c *call) live() error {
	text(c.w, http.StatusOK, "ok\n")
	return nil
}

// ready answers whether the control plane knows everything that it is to.
func (c *call) ready() error {
	status := http.StatusOK
	var b strings.Builder
	for _, r := range c.api.readiness() {
		mark := "[+] "
		if !r.OK {
			mark, status = "[-] ", http.StatusServiceUnavailable
		}
		b.WriteString(strings.TrimSuffix(mark+r.Name+": "+r.Detail, ": ") + "\n")
	}
	if status == http.StatusOK {
		b.WriteString("ok\n")
	} else {
		b.WriteString("not ready\n")
	}
	text(c.w, status, b.String())
	return nil
}

//go:embed openapi.json
var openapi []byte

// openapi answers the description of all that can be asked.
func (c *call) openapi() error {
	c.send(http.StatusOK, typeJSON, openapi)
	return nil
}

// info is what the control plane says of itself, as far as Vamp's clients look
// at it.
type info struct {
	Message      string `json:"message"`
	Version      string `json:"version"`
	UUID         string `json:"uuid"`
	RunningSince string `json:"running_since"`
	Namespace    string `json:"namespace"`
	Revision     uint64 `json:"revision"` // newest of the store
	Author       string `json:"author"`   // whoever asks
	Rank         string `json:"rank"`     // what they may do here
}

func (c *call) info() error {
	at, err := c.api.o.Store.Version(c.ctx())
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, info{
		Message: "This is Sluice.", Version: c.api.o.Build, UUID: c.api.o.Node,
		RunningSince: c.api.started.UTC().Format(time.RFC3339), Namespace: c.ns,
		Revision: at.Revision, Author: c.author, Rank: c.person.Rank(c.ns).String(),
	})
}

// backup answers a copy of the whole store. One that breaks off ends the
// connection, so that nobody takes a part for the whole.
func (c *call) backup() error {
	name := "sluice-" + c.api.o.Clock().UTC().Format("20060102T150405Z") + ".backup"
	c.api.o.Log.InfoContext(c.ctx(), "backup asked for", "author", c.author)
	w := &lateHeader{w: c.w, set: func(h http.Header) {
		h.Set("Content-Type", "application/octet-stream")
		h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", name))
	}}
	err := c.api.o.Store.Backup(c.ctx(), w)
	if err != nil && w.begun {
		c.api.o.Log.WarnContext(c.ctx(), "backup broke off", "author", c.author, "error", err)
		panic(http.ErrAbortHandler)
	}
	return err
}

// lateHeader sets headers with the first byte, so that an error before it can
// be answered as one.
type lateHeader struct {
	w     http.ResponseWriter
	set   func(http.Header)
	begun bool
}

var _ io.Writer = (*lateHeader)(nil)

func (l *lateHeader) Write(b []byte) (int, error) {
	if !l.begun {
		l.begun = true
		l.set(l.w.Header())
	}
	patience(l.w)
	return l.w.Write(b)
}

// confirm believes what was held back.
func (c *call) confirm() error {
	n := c.api.o.Confirm()
	c.api.o.Log.InfoContext(c.ctx(), "absences confirmed", "author", c.author, "objects", n)
	return c.answer(http.StatusOK, map[string]int{"confirmed": n})
}

// serves reports whether a proxy serves a namespace.
func serves(namespaces []string, ns string) bool { return slices.Contains(namespaces, ns) }
