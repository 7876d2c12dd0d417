// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/sluice-mesh/sluice/routing"
)

// Status is how the gateways of a namespace stand.
type Status struct {
	Namespace string          `json:"namespace"`
	Version   TableVersion    `json:"version"` // of the newest table
	Gateways  []GatewayStatus `json:"gateways"`

	Body json.RawMessage `json:"-"` // all of it
}

// GatewayStatus is how one gateway stands, whether it is stored or comes from
// another source, such as files.
type GatewayStatus struct {
	Name    string        `json:"name"`
	State   string        `json:"state"` // in the table: good, last good form, held back or refused
	At      string        `json:"at"`    // where it is written
	Port    string        `json:"port"`  // as of a Gateway
	Sticky  string        `json:"sticky"`
	Routes  []RouteStatus `json:"routes"`
	Served  int           `json:"served"`  // proxies that serve it as it is asked for
	Proxies int           `json:"proxies"` // that are connected and have the namespace
	Refused []Refusal     `json:"refused"` // by proxies that do not take it
	Fault   string        `json:"fault"`   // why it cannot be sent to any; empty if it can
}

// RouteStatus is a route as it is served now.
type RouteStatus struct {
	Path      string `json:"path"`
	Weight    string `json:"weight"` // what it has now, which selectors may have changed
	Condition string `json:"condition"`
	Strength  string `json:"condition_strength"`
}

// Status returns how the gateways of the namespace stand.
func (c *Client) Status(ctx context.Context) (Status, error) {
	a, err := c.do(ctx, call{method: http.MethodGet, path: "/status"})
	if err != nil {
		return Status{}, err
	}
	s := Status{Body: a.body}
	err = a.decode(&s)
	return s, err
}

// Explain says which route takes a request as it is described, and why. If the
// description is wrong the error is a *routing.ExplainError.
func (c *Client) Explain(ctx context.Context, asked routing.ExplainRequest) (*routing.Explanation, error) {
	body, err := json.Marshal(asked)
	if err != nil {
		return nil, err
	}
	header := http.Header{"Content-Type": {"application/json"}}
	a, err := c.do(ctx, call{method: http.MethodPost, path: "/explain", header: header, body: body})
	if e, ok := errors.AsType[*Error](err); ok && e.wrong != nil {
		return nil, e.wrong
	}
	if err != nil {
		return nil, err
	}
	e := new(routing.Explanation)
	if err := a.decode(e); err != nil {
		return nil, err
	}
	return e, nil
}

// Backup writes a copy of the whole store of the control plane, all
// namespaces, to w, and returns its length in bytes. A copy that broke off is
// an error; what was written then is of no use.
func (c *Client) Backup(ctx context.Context, w io.Writer) (int64, error) {
	resp, err := c.send(ctx, call{method: http.MethodGet, path: "/backup", accept: "application/octet-stream"})
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	n, err := io.Copy(w, resp.Body)
	if err != nil && errors.Is(err, io.ErrUnexpectedEOF) {
		err = &UnreachableError{Server: c.o.Server, Err: err}
	}
	return n, err
}

// Confirm has the control plane believe what it holds back, such as the
// absence of files that only seem to be gone.
func (c *Client) Confirm(ctx context.Context) error {
	_, err := c.do(ctx, call{method: http.MethodPost, path: "/confirm"})
	return err
}
