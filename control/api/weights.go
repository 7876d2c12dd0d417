// SPDX-License-Identifier: Apache-2.0

package api

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/routing"
)

// patchWeights gives routes of a gateway other weights and leaves all else
// alone.
func (c *call) patchWeights() error {
	k := store.Key{Namespace: c.ns, Kind: gateways, Name: c.param("name")}
	if err := k.Check(); err != nil {
		return err
	}
	s, err := c.begin()
	if err != nil {
		return err
	}
	text, err := c.text()
	if err != nil {
		return err
	}
	weights, err := readWeights(text)
	if err != nil {
		return err
	}
	for range maxRaces {
		e, err := c.weighed(k, weights)
		if err != nil {
			return err
		}
		if e.key.Name != "" {
			p := s.p
			if !p.asked() {
				p.revisions = []uint64{e.revision}
			}
			err = c.finish(e.edit, sent{p, s.dry})
			if raced, ok := errors.AsType[*Error](err); ok && raced.Status == http.StatusPreconditionFailed && !s.p.asked() && raced.Revision != e.revision {
				continue
			}
			return err
		}
	}
	return unready("others write the same all the time; try again")
}

// weighing is an edit that was made for one revision.
type weighing struct {
	edit
	revision uint64
}

// weighed returns the gateway as it is answered, with other weights: what a
// client would send that asks for it and changes them.
func (c *call) weighed(k store.Key, weights []routeEntry) (weighing, error) {
	a, err := c.present(k)
	if err != nil {
		return weighing{}, err
	}
	if a.Revision == 0 {
		return weighing{}, missing(k.Kind, k.Name)
	}
	v, err := c.api.view(c.ctx(), newLibrary(c.api.o.Store, k.Namespace), a)
	if err != nil {
		return weighing{}, err
	}
	shape := clone(v.shape())
	routes := get(shape, "routes")
	for _, w := range weights {
		r := get(routes, w.key)
		if r == nil {
			return weighing{}, unknownRoute(k, routes, w.key)
		}
		weigh(r, w.value.Value)
	}
	text, err := encodeYAML(shape)
	if err != nil {
		return weighing{}, err
	}
	return weighing{edit{key: k, text: string(text), unplaced: true}, a.Revision}, nil
}

// weigh writes a weight where it belongs: a whole percentage as Vamp's, a
// finer one as ours.
func weigh(r *yaml.Node, text string) {
	own := get(r, "sluice")
	text, fine := fineWeight(text)
	if fine {
		drop(r, "weight")
		if own == nil {
			own = emptyMap()
			set(r, "sluice", own)
		}
		set(own, "weight", str(text))
		return
	}
	drop(own, "weight")
	if own != nil && len(own.Content) == 0 {
		drop(r, "sluice")
	}
	set(r, "weight", str(text))
}

// fineWeight reports whether a weight has decimals, and returns it without
// those that say nothing.
func fineWeight(text string) (string, bool) {
	number, ok := strings.CutSuffix(strings.TrimSpace(text), "%")
	whole, fraction, decimals := strings.Cut(strings.TrimSpace(number), ".")
	if ok && decimals && fraction != "" && strings.Trim(fraction, "0") == "" {
		return whole + "%", false
	}
	if !ok || !decimals {
		return text, false
	}
	return whole + "." + strings.TrimRight(fraction, "0") + "%", true
}

// unknownRoute says that a gateway has no such route.
func unknownRoute(k store.Key, routes *yaml.Node, path string) *Error {
	var have []string
	for _, e := range routeEntries(routes) {
		have = append(have, e.key)
	}
	allowed := "it has none"
	if len(have) > 0 {
		if len(have) > 10 {
			have = append(have[:10], "...")
		}
		allowed = "it has " + strings.Join(have, ", ")
	}
	e := refuse(http.StatusBadRequest, fmt.Sprintf("%s has no route %.100q; %s", describe(k), path, allowed))
	e.Faults = []*routing.Fault{{
		Code: codeNoRoute, Kind: gateways, Name: k.Name, Path: "routes." + shown(path),
		Problem: "there is no such route", Allowed: allowed,
	}}
	return e
}

// readWeights reads {"routes": {"PATH": "50%"}}.
func readWeights(text string) ([]routeEntry, error) {
	const allowed = `such as {"routes": {"blue": "90%", "green": "10%"}} is allowed`
	n := new(yaml.Node)
	if err := unmarshal(text, n); err != nil {
		return nil, refuse(http.StatusBadRequest, "YamlParsingError: the body cannot be read; "+allowed)
	}
	if len(n.Content) != 1 || n.Content[0].Kind != yaml.MappingNode {
		return nil, refuse(http.StatusBadRequest, "the body is no map; "+allowed)
	}
	top := n.Content[0]
	for i := 0; i+1 < len(top.Content); i += 2 {
		if key := top.Content[i].Value; key != "routes" {
			return nil, refuse(http.StatusBadRequest, fmt.Sprintf("UnexpectedElement: the key %.60q is unknown; %s", key, allowed))
		}
	}
	routes := get(top, "routes")
	if routes == nil || routes.Kind != yaml.MappingNode || len(routes.Content) == 0 {
		return nil, refuse(http.StatusBadRequest, "the body names no routes; "+allowed)
	}
	out := routeEntries(routes)
	for i := range out {
		key, v := routes.Content[2*i], out[i].value
		if key.Kind == yaml.SequenceNode && len(key.Content) == 1 {
			out[i].key = "[" + key.Content[0].Value + "]" // an address without quotes
		}
		if v.Kind != yaml.ScalarNode {
			return nil, refuse(http.StatusBadRequest, fmt.Sprintf("the weight of route %.60q is no percentage; %s", out[i].key, allowed))
		}
	}
	return out, nil
}
