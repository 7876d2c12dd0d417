// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/sluice-mesh/sluice/control/auth"
)

// Bounds of bodies.
const (
	maxBody       = 1 << 20
	maxCollective = 16 << 20
)

// call is one request that was let in, with the answer to it. It is used by
// one goroutine.
type call struct {
	api    *API
	w      http.ResponseWriter
	r      *http.Request
	ns     string // organisation/environment; empty of routes at the root
	params map[string]string
	query  url.Values
	route  *route
	// person is who asks; author is the name under which changes stand.
	person auth.Person
	author string
}

func (c *call) ctx() context.Context { return c.r.Context() }

// waiting returns the context of what a call merely waits for. It ends with the
// request, and as soon as the server is asked to end.
func (c *call) waiting() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(c.ctx())
	ending, ok := ctx.Value(endingKey{}).(context.Context)
	if !ok {
		return ctx, cancel
	}
	stop := context.AfterFunc(ending, cancel)
	return ctx, func() { stop(); cancel() }
}

// param returns a part of the path, unescaped.
func (c *call) param(name string) string { return c.params[name] }

// flag reports whether a parameter of the query is true.
func (c *call) flag(name string) bool {
	on, err := strconv.ParseBool(c.query.Get(name))
	return err == nil && on
}

// number reads a whole number of the query from 1 on; whatever is none counts
// as absent.
func (c *call) number(name string, absent int) int {
	n, err := strconv.Atoi(c.query.Get(name))
	if err != nil || n < 1 {
		return absent
	}
	return n
}

// wait reads how long the answer may be held back: a duration such as 10s, or
// seconds; 0 without. It is cut to Options.MaxWait.
func (c *call) wait() (time.Duration, error) {
	text := c.query.Get("wait")
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		var seconds float64
		if seconds, err = strconv.ParseFloat(text, 64); err == nil {
			d = time.Duration(min(max(seconds, -1), 1e9) * float64(time.Second))
		}
	}
	if err != nil || d < 0 {
		return 0, refuse(http.StatusBadRequest, fmt.Sprintf("wait=%.40q is no time; such as wait=10s is allowed", text))
	}
	return min(d, c.api.o.MaxWait), nil
}

// body reads the whole body, at most limit bytes.
func (c *call) body(limit int64) ([]byte, error) {
	b, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, limit))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		return nil, refuse(http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes", limit))
	}
	if err != nil {
		return nil, refuse(http.StatusBadRequest, "the body could not be read to its end: "+err.Error())
	}
	// What comes now is waiting, which has bounds of its own.
	_ = http.NewResponseController(c.w).SetReadDeadline(time.Time{})
	return b, nil
}
