// SPDX-License-Identifier: Apache-2.0

package api

import (
	"bytes"
	"fmt"
	"iter"
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
	docs, faults := readPieces(body)
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
		return s, nil, refuse(http.StatusRequestEntityTooLarge, fmt.Sprintf("the body holds more than the %d artifacts that may be written at once; send it in parts", store.MaxChanges))
	}
	items, err := c.items(docs)
	return s, items, err
}

// member is one document of several, with the piece of the body that it
// stands in.
type member struct {
	*routing.Document
	piece *piece
	alone bool // nothing else stands there
}

// at returns where it stands in the body.
func (d *member) at() routing.Position { return d.piece.at(d.At) }

// readPieces reads a body, up to more artifacts than may be written at once or
// as many faults; places are those in the body.
func readPieces(body []byte) (all []member, faults []*routing.Fault) {
	for p := range pieces(body) {
		docs, wrong := routing.Read(bodySource, []byte(p.text))
		for _, d := range docs {
			all = append(all, member{d, &p, len(docs) == 1})
		}
		for _, f := range wrong {
			f.At = p.at(f.At)
		}
		faults = append(faults, wrong...)
		if len(all) > store.MaxChanges || len(faults) > store.MaxChanges {
			break
		}
	}
	return all, faults
}

// unreadable returns the faults that keep documents from having a name.
func unreadable(docs []member, faults []*routing.Fault) []*routing.Fault {
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
func (c *call) items(docs []member) ([]edit, error) {
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
				Code: "DuplicateArtifactName", At: d.at(), Kind: d.Kind, Name: d.Name,
				Problem: fmt.Sprintf("the name stands twice, before at %d:%d", at.Line, at.Column),
				Allowed: "one artifact of a kind has one name",
			}})
		}
		first[k] = d.at()
		e, err := textOf(k, d)
		if err != nil {
			return nil, err
		}
		items = append(items, e)
	}
	return items, nil
}

// textOf returns the text of a document: word by word if it is a YAML
// document of its own, and what it says if it is an item of a list.
func textOf(k store.Key, d member) (edit, error) {
	if d.alone && documentOf(k, d.piece.text) != nil {
		return edit{key: k, text: d.piece.text, line: d.piece.line}, nil
	}
	tree := routing.Written(d.Document)
	if tree == nil {
		return edit{}, refuse(http.StatusBadRequest, describe(k)+" has values that cannot be read")
	}
	text, err := encodeYAML(quoted(tree))
	return edit{key: k, text: string(text), unplaced: true}, err
}

// piece is one YAML document of a stream.
type piece struct {
	text string
	line int // lines of the stream before it
}

// at moves a place in the piece to where it stands in the stream.
func (p *piece) at(in routing.Position) routing.Position {
	if in.Line > 0 {
		in.Line += p.line
	}
	return in
}

// pieces splits a stream at its markers: lines that begin with --- or ...
// stand within no value (YAML 1.2.2 section 9.1.2).
func pieces(body []byte) iter.Seq[piece] {
	return func(yield func(piece) bool) {
		var text bytes.Buffer
		line, start, blank := 0, 0, true
		flush := func() bool {
			more := blank || yield(piece{text: text.String(), line: start})
			text.Reset()
			start, blank = line, true
			return more
		}
		for l := range bytes.Lines(bytes.TrimPrefix(body, []byte("\uFEFF"))) {
			switch {
			case marks(l, "---"):
				if !flush() {
					return
				}
				if rest := bytes.TrimSpace(l[3:]); len(rest) > 0 && rest[0] != '#' {
					text.WriteString("   ")
					text.Write(l[3:])
					blank = false
				} else {
					start++
				}
			case marks(l, "..."):
				if !flush() {
					return
				}
				start++
			case l[0] == '%' && blank:
				text.WriteByte('\n') // a directive; YAML 1.1 is what is read anyway
			default:
				text.Write(l)
				l = bytes.TrimSpace(l)
				blank = blank && (len(l) == 0 || l[0] == '#')
			}
			line++
		}
		flush()
	}
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
