// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
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
	Identity   string            `json:"identity"`
	Connected  bool              `json:"connected"`
	Since      time.Time         `json:"since"` // connected, or gone, since then
	Version    string            `json:"version"`
	Gateways   int               `json:"gateways"` // that it serves
	// BehindSince is since when it has not served the newest table; zero if
	// it does.
	BehindSince time.Time `json:"behind_since"`
	Refusals    []Refusal `json:"refusals"`
}

// Refusal is a gateway that a proxy cannot serve as it is asked for.
type Refusal struct {
	Gateway string `json:"gateway"`
	Reason  string `json:"reason"`
}

// Proxies returns all proxies of the namespace, by their nodes.
func (c *Client) Proxies(ctx context.Context) ([]Proxy, error) {
	var all []Proxy
	err := c.get(ctx, "/proxies", nil, &all)
	return all, err
}
