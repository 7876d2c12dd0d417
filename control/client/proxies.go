// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"encoding/json"
	"strings"
	"time"
)

// Proxy is a proxy that is connected, or was not long ago.
type Proxy struct {
	Node       string            `json:"node"`
	Zone       string            `json:"zone"`
	Labels     map[string]string `json:"labels"`
	Namespaces []string          `json:"namespaces"`
	Build      string            `json:"build"`
	Address    string            `json:"address"`
	Identity   string            `json:"identity"` // what proved who it is
	Connected  bool              `json:"connected"`
	Since      time.Time         `json:"since"` // when it connected
	Gone       time.Time         `json:"gone"`  // when it went; zero while it is connected
	Reason     string            `json:"reason"`
	Version    TableVersion      `json:"version"`  // that it serves; empty if none yet
	Gateways   int               `json:"gateways"` // that it serves
	// BehindSince is since when it has not served the newest table; zero if
	// it does.
	BehindSince time.Time `json:"behind_since"`
	Refusals    []Refusal `json:"refusals"`

	Body json.RawMessage `json:"-"` // all of it
}

// Refusal is a gateway that a proxy cannot serve as it is asked for.
type Refusal struct {
	Gateway string    `json:"gateway"` // empty for the whole table
	Since   time.Time `json:"since"`
	Reasons []Reason  `json:"reasons"`
}

// Reason is one thing that is wrong with a gateway.
type Reason struct {
	Path    string `json:"path"`
	Problem string `json:"problem"`
	Allowed string `json:"allowed"`
	Code    string `json:"code"`
}

// String returns gateway and reasons on one line.
func (r Refusal) String() string {
	var problems []string
	for _, reason := range r.Reasons {
		problems = append(problems, reason.Problem)
	}
	return strings.Join(append([]string{r.Gateway}, problems...), ": ")
}

// Proxies returns all proxies of the namespace, by their nodes.
func (c *Client) Proxies(ctx context.Context) ([]Proxy, error) {
	var bodies []json.RawMessage
	if err := c.get(ctx, "/proxies", nil, &bodies); err != nil {
		return nil, err
	}
	all := make([]Proxy, len(bodies))
	for i, body := range bodies {
		if err := json.Unmarshal(body, &all[i]); err != nil {
			return nil, notJSON(body)
		}
		all[i].Body = body
	}
	return all, nil
}
