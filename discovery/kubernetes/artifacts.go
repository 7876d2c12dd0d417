// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"slices"
	"strings"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// texts is what objects have said that hold artifacts, by key. A text is
// believed as it comes, as the API server hands out no half-written ones.
type texts map[string]*text

// text is what is believed of one text.
type text struct {
	data   string
	docs   []*routing.Document // of the present text
	kept   []*routing.Document // of earlier texts
	faults []*routing.Fault
	held   *discovery.Held // while its absence is held back

	generation int64 // 0 if it has none
}

// readText reads the text of a key. What stands in an object may name Secrets of
// its namespace alone; what Ingresses ask for was put together here.
func readText(key, data string) ([]*routing.Document, []*routing.Fault) {
	of, rest, _ := strings.Cut(key, "/")
	if of == "ingresses" {
		return routing.Read(key, []byte(data))
	}
	place, _, _ := strings.Cut(rest, "/")
	return routing.ReadWithin(place, key, []byte(data))
}

// data returns a text; empty if there is none.
func (ts texts) data(key string) string {
	if t := ts[key]; t != nil {
		return t.data
	}
	return ""
}

// set takes note of a text, and returns what that comes to; false if it says
// what it said before. What is refused without a name that could be read may
// be anything that was there before, so that stays.
func (ts texts) set(key, data string) (discovery.Update, bool) {
	t := ts[key]
	switch {
	case t == nil:
		t = &text{}
		ts[key] = t
	case t.data == data:
		return discovery.Update{}, false
	}
	docs, faults := readText(key, data)
	if nameless(docs, faults) {
		t.kept = without(append(without(t.kept, t.docs), t.docs...), docs)
	} else {
		t.kept = nil
	}
	t.data, t.docs, t.faults = data, docs, faults
	return t.update(key), true
}

// refuse takes note that a text cannot be had: what it said before stays.
func (ts texts) refuse(key string, fault *routing.Fault) discovery.Update {
	t := ts[key]
	if t == nil {
		t = &text{}
		ts[key] = t
	}
	t.kept = append(without(t.kept, t.docs), t.docs...)
	t.data, t.docs, t.faults = "", nil, []*routing.Fault{fault}
	return t.update(key)
}

// hold takes note that the absence of a text is held back, nil that it is not
// any more, and returns what that comes to; false if that is nothing.
func (ts texts) hold(key string, held *discovery.Held) (discovery.Update, bool) {
	t := ts[key]
	if t == nil || t.held == held || len(t.docs)+len(t.kept) == 0 {
		return discovery.Update{}, false
	}
	t.held = held
	return t.update(key), true
}

// update tells of a text as it is.
func (t *text) update(key string) discovery.Update {
	if t.held != nil {
		return discovery.Update{Key: key, Kept: append(without(t.kept, t.docs), t.docs...), Held: t.held, Generation: t.generation}
	}
	return discovery.Update{Key: key, Documents: t.docs, Kept: t.kept, Faults: t.faults, Generation: t.generation}
}

// drop takes note that a text is no more; false if there was none.
func (ts texts) drop(key string) (discovery.Update, bool) {
	_, known := ts[key]
	delete(ts, key)
	return discovery.Update{Key: key, Gone: true}, known
}

// nameless reports whether something is refused of which not even a broken
// document is left.
func nameless(docs []*routing.Document, faults []*routing.Fault) bool {
	return slices.ContainsFunc(faults, func(f *routing.Fault) bool {
		return f.Severity == routing.Refused && !named(docs, f.Kind, f.Name)
	})
}

// without returns the documents that others do not name.
func without(docs, others []*routing.Document) []*routing.Document {
	var left []*routing.Document
	for _, d := range docs {
		if !named(others, d.Kind, d.Name) {
			left = append(left, d)
		}
	}
	return left
}

func named(docs []*routing.Document, kind, called string) bool {
	return slices.ContainsFunc(docs, func(d *routing.Document) bool { return d.Kind == kind && d.Name == called })
}
