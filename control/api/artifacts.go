// SPDX-License-Identifier: Apache-2.0

package api

import (
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-mesh/sluice/control/artifacts"
	"github.com/sluice-mesh/sluice/control/auth"
	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// artifactRoutes are those of stored documents.
func (a *API) artifactRoutes() []route {
	const get, put, post, del = http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete
	return []route{
		{method: put, path: "/", need: auth.Operator, changes: true, serve: (*call).putAll},
		{method: post, path: "/", need: auth.Operator, changes: true, serve: (*call).putAll},
		{method: del, path: "/", need: auth.Operator, changes: true, serve: (*call).deleteAll},
		{method: http.MethodPatch, path: "/gateways/{name...}/weights", need: auth.Operator, changes: true, serve: (*call).patchWeights},
		{method: get, path: "/{kind}/{name...}/history", need: auth.Viewer, serve: (*call).history},
		{method: post, path: "/{kind}/{name...}/rollback", need: auth.Operator, changes: true, serve: (*call).rollback},
		{method: get, path: "/{kind}", need: auth.Viewer, serve: (*call).list},
		{method: post, path: "/{kind}", need: auth.Operator, changes: true, serve: (*call).post},
		{method: get, path: "/{kind}/{name...}", need: auth.Viewer, serve: (*call).get},
		{method: put, path: "/{kind}/{name...}", need: auth.Operator, changes: true, serve: (*call).put},
		{method: del, path: "/{kind}/{name...}", need: auth.Operator, changes: true, serve: (*call).delete},
	}
}

// maxPage is how many artifacts a page has at most, and if nothing is asked
// for.
const maxPage = 30

// page says which part of a list is asked for, from and to, and tells in the
// header of the answer which others there are.
func (c *call) page(total int) (from, to int) {
	size := min(c.number("per_page", maxPage), maxPage)
	page := c.number("page", 1)
	last := max(1, (total+size-1)/size)
	h := c.w.Header()
	h.Set("X-Total-Count", strconv.Itoa(total))
	link := func(rel string, n int) string {
		query := maps.Clone(c.query)
		query.Set("page", strconv.Itoa(n))
		query.Set("per_page", strconv.Itoa(size))
		return fmt.Sprintf("<%s?%s>; rel=%q", c.r.URL.EscapedPath(), query.Encode(), rel)
	}
	h.Set("Link", strings.Join([]string{
		link("first", 1), link("prev", min(max(1, page-1), last)), link("next", min(page, last-1)+1), link("last", last),
	}, ", "))
	if page > last {
		return total, total
	}
	from = (page - 1) * size
	return from, min(from+size, total)
}

// list answers a page of the artifacts of a kind, by name.
func (c *call) list() error {
	kind, err := c.kindOf()
	if err != nil {
		return err
	}
	all, err := c.api.names.of(c.ctx(), c.api.o.Store, c.ns, kind)
	if err != nil {
		return err
	}
	from, to := c.page(len(all))
	lib := newLibrary(c.api.o.Store, c.ns)
	shapes := make([]*yaml.Node, 0, to-from)
	for _, name := range all[from:to] {
		a, err := c.present(store.Key{Namespace: c.ns, Kind: kind, Name: name})
		if err != nil {
			return err
		}
		if a.Revision == 0 {
			continue // deleted meanwhile
		}
		v, err := c.api.view(c.ctx(), lib, a)
		if err != nil {
			return err
		}
		shapes = append(shapes, v.shape())
	}
	return c.answer(http.StatusOK, shapes)
}

// key returns what a path names.
func (c *call) key() (store.Key, error) {
	kind, err := c.kindOf()
	if err != nil {
		return store.Key{}, err
	}
	k := store.Key{Namespace: c.ns, Kind: kind, Name: c.param("name")}
	return k, k.Check()
}

// get answers one artifact.
func (c *call) get() error {
	k, err := c.key()
	if err != nil {
		return err
	}
	a, err := c.present(k)
	if err != nil {
		return err
	}
	if a.Revision == 0 {
		return missing(k.Kind, k.Name)
	}
	c.w.Header().Set("ETag", c.api.etag(a.Revision))
	p, err := c.precondition()
	if err != nil {
		return err
	}
	if !p.holds(a.Revision) {
		if p.not != nil || p.absent {
			return c.none(http.StatusNotModified)
		}
		return c.outdated(k, a)
	}
	v, err := c.api.view(c.ctx(), newLibrary(c.api.o.Store, c.ns), a)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, v.shape())
}

// contentType refuses bodies that are said to be something else than YAML or
// JSON. Both are read as YAML, and a body may leave open what it is.
func (c *call) contentType() error {
	sent := c.r.Header.Get("Content-Type")
	if sent == "" {
		return nil
	}
	t, _, err := mime.ParseMediaType(sent)
	switch t {
	case typeJSON, typeYAML, "application/yaml", "text/yaml", "text/x-yaml":
		if err == nil {
			return nil
		}
	}
	return refuse(http.StatusBadRequest, fmt.Sprintf("the Content-Type %.60q is not taken: send %s or %s", sent, typeYAML, typeJSON))
}

// sent is how a write was asked for.
type sent struct {
	p   precondition
	dry bool
}

// begin reads what all writes may say.
func (c *call) begin() (s sent, err error) {
	if err := c.contentType(); err != nil {
		return s, err
	}
	if _, err := c.wait(); err != nil {
		return s, err
	}
	s.dry = c.flag("validate_only")
	s.p, err = c.precondition()
	return s, err
}

// text reads a body that is one artifact.
func (c *call) text() (string, error) {
	b, err := c.body(maxBody)
	return string(b), err
}

// post writes the artifact that the body names.
func (c *call) post() error {
	kind, err := c.kindOf()
	if err != nil {
		return err
	}
	if err := c.person.Allow(c.ns, rankFor(kind)); err != nil {
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
	source := store.Key{Namespace: c.ns, Kind: kind}
	docs, faults := routing.ReadAs(kind, artifacts.Key(source), []byte(text))
	if len(docs) != 1 || docs[0].Name == "" {
		return c.unnamed(source, docs, faults)
	}
	k := store.Key{Namespace: c.ns, Kind: kind, Name: docs[0].Name}
	if err := k.Check(); err != nil {
		return err
	}
	if err := c.portOfItself(k, text); err != nil {
		return err
	}
	done, change, err := c.write([]edit{{key: k, text: text}}, s.p, s.dry)
	if err != nil {
		return err
	}
	status := http.StatusCreated
	if kind == gateways {
		status = http.StatusAccepted
	}
	return c.answerOne(status, done, change, s.dry)
}

// unnamed says why a body is not one artifact.
func (c *call) unnamed(k store.Key, docs []*routing.Document, faults []*routing.Fault) error {
	if len(docs) > 1 {
		return refuse(http.StatusBadRequest, fmt.Sprintf("UnexpectedTypeError: the body holds %d artifacts and may hold one; send several to %s/", len(docs), base))
	}
	if refusal(faults) == nil {
		return refuse(http.StatusBadRequest, "the body is empty; an artifact is a map that starts with its name, such as 'name: shop'")
	}
	return c.check([]outcome{{edit: edit{key: k}}}, []discovery.Update{{Faults: faults}})
}

// portOfItself refuses to make a gateway that is there with the port that it
// has, as Vamp does: POST makes, PUT changes.
func (c *call) portOfItself(k store.Key, text string) error {
	if k.Kind != gateways {
		return nil
	}
	a, err := c.present(k)
	if err != nil || a.Revision == 0 {
		return err
	}
	v, err := c.api.view(c.ctx(), newLibrary(c.api.o.Store, k.Namespace), a)
	if err != nil || v.own == nil || v.own.Port.Number == 0 {
		return err
	}
	then, err := c.api.view(c.ctx(), newLibrary(c.api.o.Store, k.Namespace), store.Artifact{Key: k, Text: text})
	if err != nil {
		return err
	}
	if then.own != nil && then.own.Port.Number == v.own.Port.Number {
		return refuse(http.StatusBadRequest, fmt.Sprintf("%s: port %d is used by this gateway, which is there already; use PUT to change it", codePortTaken, v.own.Port.Number))
	}
	return nil
}

// put writes the artifact that the path names.
func (c *call) put() error {
	k, err := c.key()
	if err != nil {
		return err
	}
	if err := c.person.Allow(c.ns, rankFor(k.Kind)); err != nil {
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
	return c.finish(edit{key: k, text: text}, s)
}

// finish writes one artifact and answers as PUT.
func (c *call) finish(e edit, s sent) error {
	done, change, err := c.write([]edit{e}, s.p, s.dry)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if e.key.Kind == gateways {
		status = http.StatusAccepted
	}
	return c.answerOne(status, done, change, s.dry)
}

// delete takes the artifact away that the path names. It is no error if there
// is none.
func (c *call) delete() error {
	k, err := c.key()
	if err != nil {
		return err
	}
	if err := c.person.Allow(c.ns, rankFor(k.Kind)); err != nil {
		return err
	}
	if _, err := c.wait(); err != nil {
		return err
	}
	p, err := c.precondition()
	if err != nil {
		return err
	}
	dry := c.flag("validate_only")
	done, change, err := c.write([]edit{{key: k, remove: true}}, p, dry)
	if err != nil {
		return err
	}
	status := http.StatusNoContent
	if k.Kind == gateways {
		status = http.StatusAccepted
	}
	return c.answerOne(status, done, change, dry)
}

// version is a version in a history.
type version struct {
	store.Artifact
	Namespace string `json:"namespace,omitempty"` // said by the path
	Kind      string `json:"kind"`
	Name      string `json:"name"`
}

// history answers the versions of an artifact, the newest first.
func (c *call) history() error {
	k, err := c.key()
	if err != nil {
		return err
	}
	all, err := c.api.o.Store.History(c.ctx(), k)
	if errors.Is(err, store.ErrNotFound) {
		return missing(k.Kind, k.Name)
	}
	if err != nil {
		return err
	}
	out := make([]version, len(all))
	for i, a := range all {
		out[i] = version{Artifact: a, Kind: a.Kind, Name: a.Name}
	}
	return c.answer(http.StatusOK, out)
}

// rollback writes a former version of an artifact again, word by word.
func (c *call) rollback() error {
	k, err := c.key()
	if err != nil {
		return err
	}
	if err := c.person.Allow(c.ns, rankFor(k.Kind)); err != nil {
		return err
	}
	s, err := c.begin()
	if err != nil {
		return err
	}
	all, err := c.api.o.Store.History(c.ctx(), k)
	if errors.Is(err, store.ErrNotFound) {
		return missing(k.Kind, k.Name)
	}
	if err != nil {
		return err
	}
	former, err := c.former(k, all)
	if err != nil {
		return err
	}
	return c.finish(edit{key: k, text: former.Text, exact: true}, s)
}

// former finds the version to go back to: the one that is asked for, or the
// one before the present one.
func (c *call) former(k store.Key, all []store.Artifact) (store.Artifact, error) {
	text := c.query.Get("to")
	if text == "" {
		for _, a := range all[1:] {
			if !a.Deleted {
				return a, nil
			}
		}
		return store.Artifact{}, refuse(http.StatusBadRequest, describe(k)+" has no version before the present one")
	}
	to, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return store.Artifact{}, refuse(http.StatusBadRequest, fmt.Sprintf("to=%.40q is no version: its history lists them", text))
	}
	for _, a := range all {
		if a.Revision != to {
			continue
		}
		if a.Deleted {
			return store.Artifact{}, refuse(http.StatusBadRequest, fmt.Sprintf("%s was deleted by version %d: delete it instead", describe(k), to))
		}
		return a, nil
	}
	return store.Artifact{}, refuse(http.StatusNotFound, fmt.Sprintf("%s has no version %d that is kept: its history lists them", describe(k), to))
}
