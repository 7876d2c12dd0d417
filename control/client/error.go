// SPDX-License-Identifier: Apache-2.0

package client

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/sluice-mesh/sluice/routing"
)

// UnreachableError reports that a control plane was asked and did not answer,
// or broke off.
type UnreachableError struct {
	Server string // as it was given
	Err    error  // what happened
	// Written reports that something was to be written, and may have been: the
	// request was on its way when this happened.
	Written bool
}

func (e *UnreachableError) Error() string {
	if e.Written {
		return fmt.Sprintf("the control plane at %s broke off, and may have written it or not: %v", e.Server, e.Err)
	}
	return fmt.Sprintf("cannot reach the control plane at %s: %v", e.Server, e.Err)
}

// Unwrap returns what happened.
func (e *UnreachableError) Unwrap() error { return e.Err }

// Error is an answer that says no.
type Error struct {
	Status  int    // of HTTP, from 300
	Message string // what the control plane said, never empty
	// Faults are what is wrong in the texts that were sent. Their places are
	// lines and columns of the whole body.
	Faults []*routing.Fault
	// Revision is the present one of an artifact that was to be written on
	// condition that it is another (status 412); 0 if there is none.
	Revision uint64
	// Current is the present version then, in JSON; nil if there is none.
	Current json.RawMessage

	wrong *routing.ExplainError // of a request that was to be explained
}

// Error returns the faults, each on a line of its own, or the message if there
// are none: it tells the first of them.
func (e *Error) Error() string {
	if len(e.Faults) == 0 {
		return e.Message
	}
	lines := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// errorBody is the body of an answer that says no.
type errorBody struct {
	Message  string          `json:"message"`
	Faults   []faultBody     `json:"faults"`
	Revision uint64          `json:"revision"`
	Current  json.RawMessage `json:"current"`
	Error    json.RawMessage `json:"error"`
}

// faultBody is a fault in JSON.
type faultBody struct {
	Source   string `json:"source"`
	Line     int    `json:"line"`
	Column   int    `json:"column"`
	Severity string `json:"severity"`
	Code     string `json:"code"`
	Path     string `json:"path"`
	Problem  string `json:"problem"`
	Allowed  string `json:"allowed"`
}

func (f faultBody) fault() *routing.Fault {
	severity := routing.Refused
	if f.Severity == "warning" {
		severity = routing.Warning
	}
	return &routing.Fault{
		Code: f.Code, Path: f.Path, Problem: f.Problem, Allowed: f.Allowed, Severity: severity,
		At: routing.Position{Source: f.Source, Line: f.Line, Column: f.Column},
	}
}

// readError makes an *Error of an answer.
func readError(method, target string, resp *http.Response, text []byte) *Error {
	e := &Error{Status: resp.StatusCode}
	var body errorBody
	if json.Unmarshal(text, &body) == nil && body.Message != "" {
		e.Message, e.Current, e.Revision = body.Message, body.Current, body.Revision
		for _, f := range body.Faults {
			e.Faults = append(e.Faults, f.fault())
		}
		if wrong := new(routing.ExplainError); json.Unmarshal(body.Error, wrong) == nil && wrong.Field != "" {
			e.wrong = wrong
		}
	} else {
		e.Message = fmt.Sprintf("%s %s is answered %d %s, as no control plane answers", method, target, resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	if resp.StatusCode == http.StatusPreconditionFailed {
		e.Revision = cmp.Or(revisionOf(resp.Header.Get("ETag")), e.Revision)
	}
	return e
}

// revisionOf reads the revision in an ETag; 0 if there is none.
func revisionOf(tag string) uint64 {
	version := strings.Trim(strings.TrimPrefix(tag, "W/"), `"`)
	n, err := strconv.ParseUint(version[strings.LastIndexByte(version, '.')+1:], 10, 64)
	if err != nil {
		return 0
	}
	return n
}
