// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// Gateway is what most want to know of a gateway.
type Gateway struct {
	Name         string   `json:"name"`
	Revision     uint64   `json:"-"`    // as of an Artifact
	Port         string   `json:"port"` // such as 8080/http; empty if none is assigned yet
	Sticky       string   `json:"sticky"`
	VirtualHosts []string `json:"virtual_hosts"`
	Selector     string   `json:"selector"`
	Internal     bool     `json:"internal"`
	Deployed     bool     `json:"deployed"`
	Service      Service  `json:"service"`
	Routes       Routes   `json:"routes"`

	Body json.RawMessage `json:"-"` // all of it
}

// Service is where a gateway is reached from outside its proxies. The zero
// Service is unknown.
type Service struct {
	Host string `json:"host"`
	Port string `json:"port"`
}

// Route is a branch of a gateway.
type Route struct {
	Path      string
	Weight    string // such as 50% or 12.5%
	Condition string // its text; empty if there is none
	Strength  string // such as 100%
	Selector  string
	Targets   []string // host:port
}

// Routes are routes in their order.
type Routes []Route

// Gateways returns all gateways, sorted by name.
func (c *Client) Gateways(ctx context.Context) ([]Gateway, error) {
	list, err := c.List(ctx, "gateways")
	if err != nil {
		return nil, err
	}
	all := make([]Gateway, 0, len(list))
	for _, a := range list {
		g, err := a.Gateway()
		if err != nil {
			return nil, err
		}
		all = append(all, g)
	}
	return all, nil
}

// Gateway returns a gateway. If there is none the error is an *Error of status
// 404.
func (c *Client) Gateway(ctx context.Context, name string) (Gateway, error) {
	a, err := c.Get(ctx, "gateways", name)
	if err != nil {
		return Gateway{}, err
	}
	return a.Gateway()
}

// Gateway reads a gateway out of an artifact.
func (a Artifact) Gateway() (Gateway, error) {
	g := Gateway{Name: a.Name}
	if err := json.Unmarshal(a.Body, &g); err != nil {
		return Gateway{}, fmt.Errorf("gateway %q: %w", a.Name, err)
	}
	g.Revision, g.Body = a.Revision, a.Body
	return g, nil
}

// UnmarshalJSON reads the object whose keys are the paths of routes, in its
// order.
func (r *Routes) UnmarshalJSON(b []byte) error {
	*r = nil
	if bytes.Equal(b, []byte("null")) {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errors.New("routes are an object")
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		path, _ := t.(string) // keys are nothing else
		var body routeBody
		if err := d.Decode(&body); err != nil {
			return fmt.Errorf("route %q: %w", path, err)
		}
		*r = append(*r, body.route(path))
	}
	return nil
}

// routeBody is a route in JSON.
type routeBody struct {
	Weight    string `json:"weight"`
	Condition *struct {
		Condition string `json:"condition"`
	} `json:"condition"`
	Strength string   `json:"condition_strength"`
	Selector string   `json:"selector"`
	Targets  []target `json:"targets"`
	Sluice   struct {
		Weight string `json:"weight"` // finer than 1 %
	} `json:"sluice"`
}

// target is one address behind a route: one outside is a URL, others have a
// host and a port.
type target struct {
	URL  string      `json:"url"`
	Host string      `json:"host"`
	Port json.Number `json:"port"`
}

func (b *routeBody) route(path string) Route {
	r := Route{Path: path, Weight: b.Weight, Strength: b.Strength, Selector: b.Selector}
	if b.Sluice.Weight != "" {
		r.Weight = b.Sluice.Weight
	}
	if b.Condition != nil {
		r.Condition = b.Condition.Condition
	}
	for _, t := range b.Targets {
		switch {
		case t.URL != "":
			r.Targets = append(r.Targets, t.URL)
		case t.Port != "":
			r.Targets = append(r.Targets, t.Host+":"+t.Port.String())
		}
	}
	return r
}
