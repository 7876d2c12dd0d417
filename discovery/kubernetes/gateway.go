// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// Gateways as objects: deploy/kubernetes/sluicegateways.yaml defines them.
const (
	GatewayGroup    = "sluice.dev"
	GatewayVersion  = "v1alpha1"
	GatewayResource = "sluicegateways"
)

// codeObject is the code of the fault of an object that is no gateway as a
// whole.
const codeObject = "UnreadableObject"

// gatewayObjects is what the objects say that are gateways, each under the
// key sluicegateways/NAMESPACE/NAME.
type gatewayObjects struct{ texts texts }

// set takes note of an object as it is now, nil if it is no more, and returns
// what that comes to; false if that is nothing new. A new generation is, even
// if it says the same.
func (g *gatewayObjects) set(n name, o *gatewayState) (discovery.Update, bool) {
	key := GatewayResource + "/" + n.String()
	if o == nil {
		return g.texts.drop(key)
	}
	before := g.texts[key]
	again := before == nil || before.generation != o.generation
	var u discovery.Update
	data, err := gatewayText(n.name, o.spec)
	if err != nil {
		u = g.texts.refuse(key, &routing.Fault{Code: codeObject, At: routing.Position{Source: key}, Problem: err.Error()})
		again = true
	} else {
		var changed bool
		u, changed = g.texts.set(key, string(data))
		again = again || changed
	}
	t := g.texts[key]
	t.generation = o.generation
	if u.Key == "" {
		return t.update(key), again
	}
	u.Generation = o.generation
	return u, again
}

// withhold takes note that the absence of an object is held back, nil that it
// is not any more, and returns what that comes to; false if that is nothing.
func (g *gatewayObjects) withhold(n name, held *discovery.Held) (discovery.Update, bool) {
	return g.texts.hold(GatewayResource+"/"+n.String(), held)
}

// gatewayText writes the spec of an object as an artifact: it is one, but for
// its routes, which are a list with names so that their order counts, and for
// its name, which is the object's unless spec has one that no object could
// bear.
func gatewayText(called string, spec []byte) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(spec, &fields); err != nil {
		return nil, fmt.Errorf("the spec is no map: %w", err)
	}
	if fields == nil {
		fields = make(map[string]json.RawMessage) // the spec is null
	}
	if fields["name"] == nil {
		fields["name"] = quoted(called)
	}
	fields["kind"] = quoted("gateways")
	if routes := fields["routes"]; routes != nil {
		keyed, err := keyedRoutes(routes)
		if err != nil {
			return nil, err
		}
		fields["routes"] = keyed
	}
	text, err := json.MarshalIndent(fields, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the spec: %w", err)
	}
	return text, nil
}

// keyedRoutes makes {NAME: ROUTE} of each ROUTE with a name.
func keyedRoutes(list []byte) (json.RawMessage, error) {
	var routes []map[string]json.RawMessage
	if err := json.Unmarshal(list, &routes); err != nil {
		return nil, fmt.Errorf("the routes are no list of maps: %w", err)
	}
	keyed := make([]map[string]any, len(routes))
	for i, r := range routes {
		var key string
		if err := json.Unmarshal(r["name"], &key); err != nil || key == "" {
			return nil, fmt.Errorf("routes[%d] has no name", i)
		}
		delete(r, "name")
		keyed[i] = map[string]any{key: r}
	}
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(keyed); err != nil {
		return nil, fmt.Errorf("write the routes: %w", err)
	}
	return b.Bytes(), nil
}

// quoted writes a text as JSON.
func quoted(text string) json.RawMessage {
	b, err := json.Marshal(text)
	if err != nil {
		panic(err) // a text can always be written
	}
	return b
}
