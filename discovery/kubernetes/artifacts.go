// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"slices"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// texts is what objects have said that hold artifacts, by key. A text is
// believed as it comes, as the API server hands out no half-written ones.
type texts map[string]*text

// text is what is believed of one text.
type text struct {
	data string
	docs []*routing.Document // of the present text
	kept []*routing.Document // of earlier texts
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
	docs, faults := routing.Read(key, []byte(data))
	if nameless(docs, faults) {
		t.kept = without(append(without(t.kept, t.docs), t.docs...), docs)
	} else {
		t.kept = nil
	}
	t.data, t.docs = data, docs
	return discovery.Update{Key: key, Documents: docs, Kept: t.kept, Faults: faults}, true
}

// refuse takes note that a text cannot be had: what it said before stays.
func (ts texts) refuse(key string, fault *routing.Fault) discovery.Update {
	t := ts[key]
	if t == nil {
		t = &text{}
		ts[key] = t
	}
	t.kept = append(without(t.kept, t.docs), t.docs...)
	t.data, t.docs = "", nil
	return discovery.Update{Key: key, Kept: t.kept, Faults: []*routing.Fault{fault}}
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
