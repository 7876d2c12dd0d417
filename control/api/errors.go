// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-mesh/sluice/control/auth"
	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/control/stream"
	"github.com/sluice-mesh/sluice/routing"
)

// Error is an answer that says no.
type Error struct {
	Status  int    // of HTTP, from 400
	Message string // what is wrong and what to do
	// Faults are what is wrong with what was sent, by places in it.
	Faults []*routing.Fault
	// Revision is the present one where another was expected; 0 if there is
	// nothing.
	Revision uint64
	// Current is what is there then; nil if nothing is.
	Current *yaml.Node
	// RetryAfter is in how many seconds it may be asked again; 0 is not said.
	RetryAfter int

	source  string                // the name of the sent text in the places of faults
	explain *routing.ExplainError // what is wrong with a request to explain
}

func (e *Error) Error() string { return e.Message }

// refuse returns an error that is answered.
func refuse(status int, message string) *Error { return &Error{Status: status, Message: message} }

// missing says that there is nothing of a kind and name.
func missing(kind, name string) *Error {
	return refuse(http.StatusNotFound, fmt.Sprintf("%s/%s does not exist", kind, shown(name)))
}

// shown cuts a name for a message.
func shown(name string) string {
	if len(name) > 300 {
		return fmt.Sprintf("%.300s...", name)
	}
	return name
}

// asError makes an answer of any error. What is not known is our own fault,
// and its text stays in the log.
func asError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*store.InvalidError](err); ok {
		return refuse(http.StatusBadRequest, e.Error())
	}
	if e, ok := errors.AsType[*auth.DeniedError](err); ok {
		return refuse(http.StatusForbidden, e.Error())
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return refuse(http.StatusNotFound, "it does not exist")
	case errors.Is(err, store.ErrTooLarge):
		return refuse(http.StatusRequestEntityTooLarge, err.Error())
	case errors.Is(err, store.ErrFull):
		return refuse(http.StatusInsufficientStorage,
			"no room left in the store: nothing was changed, and what was there goes on; make room on the disk of the control plane, then try again")
	case errors.Is(err, store.ErrReadOnly):
		return refuse(http.StatusServiceUnavailable, "the disk of the control plane failed, so nothing can be changed: what was there goes on; restart the control plane")
	case errors.Is(err, store.ErrClosed):
		return unready("the control plane is ending")
	case errors.Is(err, stream.ErrForgotten):
		return refuse(http.StatusNotFound, err.Error())
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return unready("the request was given up")
	}
	return nil
}

// unready says that it may be asked again soon.
func unready(message string) *Error {
	return &Error{Status: http.StatusServiceUnavailable, Message: message, RetryAfter: 1}
}

// fault is a fault in an answer.
type fault struct {
	Source   string `json:"source,omitempty"` // empty for what was sent
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"`
	At       string `json:"at,omitempty"` // the same as a text
	Severity string `json:"severity"`     // refused or warning
	Code     string `json:"code"`
	Path     string `json:"path,omitempty"`
	Problem  string `json:"problem"`
	Allowed  string `json:"allowed,omitempty"`
}

// faultsOf shows faults; those in the text of a source are of what was sent.
func faultsOf(list []*routing.Fault, source string) []fault {
	out := make([]fault, 0, len(list))
	for _, f := range list {
		at := f.At
		if at.Source == source {
			at.Source = ""
		}
		severity := "refused"
		if f.Severity == routing.Warning {
			severity = "warning"
		}
		out = append(out, fault{
			Source: at.Source, Line: at.Line, Column: at.Column, At: at.String(), Severity: severity,
			Code: f.Code, Path: f.FullPath(), Problem: f.Problem, Allowed: f.Allowed,
		})
	}
	return out
}

// fail answers an error.
func (c *call) fail(err error) {
	e := asError(err)
	if e == nil {
		id := c.api.incident()
		c.api.o.Log.ErrorContext(c.ctx(), "request failed", "incident", id, "method", c.r.Method, "path", c.r.URL.Path, "error", err)
		e = refuse(http.StatusInternalServerError, "Internal server error; the log of the control plane tells more under "+id+".")
	}
	body := mapping("message", str(e.Message))
	if e.Faults != nil {
		list := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, f := range faultsOf(e.Faults, e.source) {
			list.Content = append(list.Content, nodeOf(f))
		}
		set(body, "faults", list)
	}
	if e.Status == http.StatusPreconditionFailed {
		set(body, "revision", integer(e.Revision))
		if e.Revision > 0 {
			c.w.Header().Set("ETag", c.api.etag(e.Revision))
		}
		if e.Current != nil {
			set(body, "current", e.Current)
		}
	}
	if e.explain != nil { // as proxies answer it
		set(body, "error", nodeOf(e.explain))
	}
	if e.RetryAfter > 0 {
		c.w.Header().Set("Retry-After", strconv.Itoa(e.RetryAfter))
	}
	if err := c.answer(e.Status, body); err != nil {
		c.api.o.Log.ErrorContext(c.ctx(), "answer not encoded", "error", err)
	}
}

// etag names a version of an artifact: epoch and revision, since a store that
// was put back gives revisions of its former life again.
func (a *API) etag(revision uint64) string {
	return strconv.Quote(routing.Version{Epoch: a.epoch, Revision: revision}.String())
}
