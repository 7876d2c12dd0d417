// SPDX-License-Identifier: Apache-2.0

package routingtest

import "github.com/sluice-mesh/sluice/routing"

// Table returns a table of epoch 1.
func Table(revision uint64, gateways ...*routing.Gateway) *routing.Table {
	return &routing.Table{
		Version:  routing.Version{Epoch: 1, Revision: revision},
		Gateways: gateways,
	}
}

// Gateway returns an http gateway that asks for a port; 0 asks for an
// assigned one.
func Gateway(name string, port int, routes ...*routing.Route) *routing.Gateway {
	return &routing.Gateway{Name: name, Port: routing.Port{Number: port}, Routes: routes}
}

// Route returns a route with a weight, in hundredths of a percent.
func Route(path string, weight routing.Weight) *routing.Route {
	return &routing.Route{Path: path, Weight: weight}
}

// Conditional returns a route with a condition. Weight and strength are in
// hundredths of a percent.
func Conditional(path string, weight routing.Weight, condition string, strength routing.Weight) *routing.Route {
	return &routing.Route{Path: path, Weight: weight, Condition: condition, Strength: strength}
}
