// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/routing"
)

// bodySource names a body of several artifacts in the places of faults.
const bodySource = "body"

// putAll writes all artifacts of a body, or none of them.
func (c *call) putAll() error {
	s, edits, err := c.several()
	if err != nil {
		return err
	}
	return c.finishAll(edits, s)
}

// deleteAll takes all artifacts away that a body names.
func (c *call) deleteAll() error {
	s, edits, err := c.several()
	if err != nil {
		return err
	}
	for i, e := range edits {
		edits[i] = edit{key: e.key, remove: true}
	}
	return c.finishAll(edits, s)
}

// several reads a body of several artifacts: YAML documents, or lists of
// artifacts, each with its kind and name.
func (c *call) several() (sent, []edit, error) {
	s, err := c.begin()
	if err != nil {
		return s, nil, err
	}
	if s.p.asked() {
		return s, nil, refuse(http.StatusBadRequest, "If-Match and If-None-Match are for one artifact: write it by its own path")
	}
	if err := c.api.large.enter(c.ctx()); err != nil {
		return s, nil, err
	}
	defer c.api.large.leave()
	body, err := c.body(maxCollective)
	if err != nil {
		return s, nil, err
	}
	docs, faults := routing.Read(bodySource, body)
	if c.r.Method == http.MethodDelete {
		faults = unreadable(docs, faults) // only the names count
	}
	if err := refuseBody(faults); err != nil {
		return s, nil, err
	}
	if len(docs) == 0 {
		return s, nil, refuse(http.StatusBadRequest, "the body holds no artifacts; send YAML documents, each with kind and name")
	}
	if len(docs) > store.MaxChanges {
		return s, nil, refuse(http.StatusRequestEntityTooLarge, fmt.Sprintf("the body holds %d artifacts, and %d may be written at once; send it in parts", len(docs), store.MaxChanges))
	}
	items, err := c.items(body, docs)
	return s, items, err
}

// unreadable returns the faults that keep documents from having a name.
func unreadable(docs []*routing.Document, faults []*routing.Fault) []*routing.Fault {
	named := make(map[string]bool, len(docs))
	for _, d := range docs {
		named[d.Name] = true
	}
	var out []*routing.Fault
	for _, f := range faults {
		if !named[f.Name] {
			out = append(out, f)
		}
	}
	return out
}

// refuseBody returns an error if a fault refuses something in the body.
func refuseBody(faults []*routing.Fault) error {
	first := refusal(faults)
	if first == nil {
		return nil
	}
	plain := *first
	plain.At.Source = ""
	e := refuse(http.StatusBadRequest, plain.Error())
	if n := refusals(faults); n > 1 {
		e.Message = fmt.Sprintf("%s (and %d more)", e.Message, n-1)
	}
	e.Faults, e.source = faults, bodySource
	return e
}

// items returns the artifacts of a body with their texts.
func (c *call) items(body []byte, docs []*routing.Document) ([]edit, error) {
	pieces := piecesOf(body)
	first := make(map[store.Key]routing.Position, len(docs))
	items := make([]edit, 0, len(docs))
	for _, d := range docs {
		k := store.Key{Namespace: c.ns, Kind: d.Kind, Name: d.Name}
		if err := k.Check(); err != nil {
			return nil, err
		}
		if err := c.person.Allow(c.ns, rankFor(k.Kind)); err != nil {
			return nil, err
		}
		if at, twice := first[k]; twice {
			return nil, refuseBody([]*routing.Fault{{
				Code: "DuplicateArtifactName", At: d.At, Kind: d.Kind, Name: d.Name,
				Problem: fmt.Sprintf("the name stands twice, before at %d:%d", at.Line, at.Column),
				Allowed: "one artifact of a kind has one name",
			}})
		}
		first[k] = d.At
		e, err := textOf(k, d, pieces)
		if err != nil {
			return nil, err
		}
		items = append(items, e)
	}
	return items, nil
}

// textOf returns the text of a document: word by word if it is a YAML
// document of its own, and what it says if it is an item of a list.
func textOf(k store.Key, d *routing.Document, pieces []piece) (edit, error) {
	for _, p := range pieces {
		if d.At.Line <= p.line || d.At.Line > p.line+p.lines {
			continue
		}
		if alone := documentOf(k, p.text); alone != nil && alone.At.Line+p.line == d.At.Line && alone.At.Column == d.At.Column {
			return edit{key: k, text: p.text, line: p.line}, nil
		}
	}
	tree := routing.Written(d)
	if tree == nil {
		return edit{}, refuse(http.StatusBadRequest, describe(k)+" has values that cannot be read")
	}
	text, err := encodeYAML(quoted(tree))
	return edit{key: k, text: string(text), unplaced: true}, err
}

// piece is one YAML document of a stream.
type piece struct {
	text  string
	line  int // lines of the stream before it
	lines int
}

// piecesOf splits a stream at its markers: lines that begin with --- or ...
// stand within no value (YAML 1.2.2 section 9.1.2).
func piecesOf(body []byte) []piece {
	var all []piece
	var text bytes.Buffer
	line, start := 0, 0
	flush := func() {
		if len(bytes.TrimSpace(text.Bytes())) > 0 {
			all = append(all, piece{text: text.String(), line: start, lines: line - start})
		}
		text.Reset()
		start = line
	}
	for l := range bytes.Lines(bytes.TrimPrefix(body, []byte("\uFEFF"))) {
		switch {
		case marks(l, "---"):
			flush()
			if rest := bytes.TrimSpace(l[3:]); len(rest) > 0 && rest[0] != '#' {
				text.WriteString("   ")
				text.Write(l[3:])
			} else {
				start++
			}
		case marks(l, "..."):
			flush()
			start++
		case len(bytes.TrimSpace(text.Bytes())) == 0 && l[0] == '%':
			start++ // a directive; YAML 1.1 is what is read anyway
		default:
			text.Write(l)
		}
		line++
	}
	flush()
	return all
}

// marks reports whether a line is a marker between documents.
func marks(line []byte, marker string) bool {
	return bytes.HasPrefix(line, []byte(marker)) && (len(line) == 3 || bytes.IndexByte([]byte(" \t\r\n"), line[3]) >= 0)
}

// finishAll writes and answers what came of each artifact, in their order.
func (c *call) finishAll(edits []edit, s sent) error {
	done, change, err := c.write(edits, s.p, s.dry)
	if err != nil {
		return err
	}
	if change > 0 {
		c.w.Header().Set("Sluice-Change", strconv.FormatUint(change, 10))
	}
	if !s.dry {
		if err := c.await(newest(done, change)); err != nil {
			return err
		}
	}
	lib := newLibrary(c.api.o.Store, c.ns)
	answer := make([]*yaml.Node, 0, len(done))
	for _, o := range done {
		item := mapping("kind", str(o.key.Kind))
		set(item, "name", str(o.key.Name))
		set(item, "result", str(o.result))
		if o.after.Name != "" {
			set(item, "revision", integer(o.after.Revision))
			v, err := c.api.view(c.ctx(), lib, o.after)
			if err != nil {
				return err
			}
			set(item, "artifact", v.shape())
		}
		answer = append(answer, item)
	}
	return c.answer(http.StatusAccepted, answer)
}
