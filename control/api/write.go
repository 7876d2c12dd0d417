// SPDX-License-Identifier: Apache-2.0

package api

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/sluice-mesh/sluice/control/artifacts"
	"github.com/sluice-mesh/sluice/control/auth"
	"github.com/sluice-mesh/sluice/control/events"
	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/control/stream"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// maxRaces is how often a write is tried again that was made for a version
// which is not the present one any more.
const maxRaces = 10

// The codes of refusals that are found here; they are Vamp's.
const (
	codePortTaken = "UnavailableGatewayPortError"
	codeNoRoute   = "InvalidRouteWeight"
)

// edit is what is to become of one artifact.
type edit struct {
	key    store.Key
	text   string // as it was sent; ignored if remove is set
	remove bool
	// derived says that text was made of what is stored, and makes sense for
	// that alone.
	derived bool
	// exact leaves text as it is, as of a version that was stored before.
	exact bool
	// line is how many lines of the body stand before the text, and unplaced
	// that its places are not those of the body.
	line     int
	unplaced bool
}

// outcome is what a write made of one artifact.
type outcome struct {
	edit
	before store.Artifact // zero if there was none
	after  store.Artifact // the present version; zero if there is none
	result string
}

// The results of writing an artifact.
const (
	resultCreated    = "created"
	resultConfigured = "configured"
	resultUnchanged  = "unchanged"
	resultDeleted    = "deleted"
)

// write makes edits, all of them or none, and returns what came of each. The
// change is 0 if nothing changed, or nothing was to be written.
func (c *call) write(edits []edit, p precondition, dry bool) (done []outcome, change uint64, err error) {
	for range maxRaces {
		done, change, err = c.tryWrite(edits, p, dry)
		if _, raced := errors.AsType[*store.ConflictError](err); !raced {
			return done, change, err
		}
	}
	return nil, 0, unready("others write the same all the time; try again")
}

func (c *call) tryWrite(edits []edit, p precondition, dry bool) ([]outcome, uint64, error) {
	done := make([]outcome, len(edits))
	changes := make([]store.Change, 0, len(edits))
	updates := make([]discovery.Update, 0, len(edits))
	for i, e := range edits {
		before, err := c.present(e.key)
		if err != nil {
			return nil, 0, err
		}
		if !p.holds(before.Revision) {
			return nil, 0, c.outdated(e.key, before)
		}
		o := outcome{edit: e, before: before, after: before}
		if !e.remove && !e.exact {
			if err := c.settle(&o); err != nil {
				return nil, 0, err
			}
		}
		switch {
		case e.remove && before.Revision == 0, !e.remove && before.Revision != 0 && o.text == before.Text:
			o.result = resultUnchanged
			done[i] = o
			continue
		case e.remove:
			o.result, o.after = resultDeleted, store.Artifact{}
			updates = append(updates, artifacts.Removal(e.key))
		default:
			o.result = resultConfigured
			if before.Revision == 0 {
				o.result = resultCreated
			}
			o.after = store.Artifact{Key: e.key, Text: o.text}
			updates = append(updates, artifacts.Update(e.key, o.text))
		}
		ch := store.Change{Key: e.key, Text: o.text, Delete: e.remove, Expect: store.Any}
		if o.derived || p.asked() {
			ch.Expect = expect(before.Revision)
		}
		changes = append(changes, ch)
		done[i] = o
	}
	if err := c.check(done, updates); err != nil {
		return nil, 0, err
	}
	if dry || len(changes) == 0 {
		return done, 0, nil
	}
	commit, err := c.api.o.Store.Apply(c.ctx(), c.author, changes...)
	if err != nil {
		return nil, 0, c.lost(err, p)
	}
	c.made(commit, done)
	return done, commit.Version.Revision, nil
}

// present returns the stored version of an artifact; the zero Artifact if
// there is none.
func (c *call) present(k store.Key) (store.Artifact, error) {
	a, err := c.api.o.Store.Get(c.ctx(), k)
	if errors.Is(err, store.ErrNotFound) {
		return store.Artifact{}, nil
	}
	return a, err
}

// lost sees to a write that another one came before: it is tried again unless
// a version was asked for.
func (c *call) lost(err error, p precondition) error {
	conflict, ok := errors.AsType[*store.ConflictError](err)
	if errors.Is(err, store.ErrNotFound) { // deleted meanwhile
		return &store.ConflictError{}
	}
	if !ok || !p.asked() {
		return err
	}
	if conflict.Artifact.Revision == 0 {
		return c.outdated(store.Key{}, store.Artifact{})
	}
	return c.outdated(conflict.Artifact.Key, conflict.Artifact)
}

// outdated says that another version is there than the client expects.
func (c *call) outdated(k store.Key, present store.Artifact) error {
	e := refuse(http.StatusPreconditionFailed, "there is no such artifact any more; nothing was changed")
	if present.Revision == 0 {
		return e
	}
	e.Revision = present.Revision
	e.Message = fmt.Sprintf("%s is at version %d, not at the one expected; look at what changed and try again: nothing was changed", describe(k), present.Revision)
	v, err := c.api.view(c.ctx(), newLibrary(c.api.o.Store, k.Namespace), present)
	if err != nil {
		return err
	}
	e.Current = v.shape()
	return e
}

// made tells of a commit, and notes the versions that it made.
func (c *call) made(commit store.Commit, done []outcome) {
	by := make(map[store.Key]store.Artifact, len(commit.Changes))
	for _, a := range commit.Changes {
		by[a.Key] = a
	}
	verbs := map[string]string{resultCreated: "create", resultConfigured: "update", resultDeleted: "delete"}
	for i := range done {
		o := &done[i]
		if o.result == resultUnchanged {
			continue
		}
		a := by[o.key]
		if !a.Deleted {
			o.after = a
		}
		c.api.o.Log.InfoContext(c.ctx(), "artifact written", "author", c.author, "namespace", o.key.Namespace,
			"kind", o.key.Kind, "name", o.key.Name, "result", o.result, "change", commit.Version.Revision)
		if c.api.o.Events != nil {
			c.api.o.Events.Tell(events.Archive(o.key, verbs[o.result], c.author, a.Text))
		}
	}
}

// settle decides on the text that is stored: the one sent, or the stored one
// with what the sent one asks for.
func (c *call) settle(o *outcome) error {
	if o.key.Kind != gateways || o.before.Revision == 0 {
		return nil
	}
	ctx := c.ctx()
	lib := newLibrary(c.api.o.Store, o.key.Namespace)
	docs, _ := routing.ReadAs(o.key.Kind, artifacts.Key(o.key), []byte(o.text))
	if len(docs) != 1 {
		return nil
	}
	tree := routing.Tree(docs, docs[0])
	if tree == nil {
		return nil
	}
	now, err := c.api.view(ctx, lib, o.before)
	if err != nil {
		return err
	}
	if !answered(tree, o.key.Name) {
		keepPort(o, tree, now)
		return nil
	}
	if oneWeight(tree) {
		text, err := encodeYAML(quoted(clone(tree)))
		if err != nil {
			return err
		}
		o.text, o.unplaced = string(text), true
	}
	if u := artifacts.Update(o.key, o.text); refusals(u.Faults) > 0 {
		return nil // the check tells what is wrong, by its place in the text
	}
	return c.merge(o, &merge{now: now.shape(), sent: tree, stored: o.before.Text}, now)
}

// merge puts what a document in the form of an answer asks for into the stored
// text.
func (c *call) merge(o *outcome, m *merge, now *view) error {
	o.derived, o.unplaced = true, true
	if m.same() {
		o.text = o.before.Text
		return nil
	}
	if text, ok := m.edited(); ok {
		good, err := c.faithful(o, m, text, now)
		if err != nil {
			return err
		}
		if good {
			o.text = text
			return nil
		}
	}
	assigned := now.own != nil && now.own.Port.Number == 0 && !now.own.Portless
	text, err := encodeYAML(m.bare(assigned))
	if err != nil {
		return err
	}
	o.text = string(text)
	return nil
}

// faithful reports whether a text would be answered as the document that it
// was made for.
func (c *call) faithful(o *outcome, m *merge, text string, now *view) (bool, error) {
	then := store.Artifact{Key: o.key, Text: text}
	v, err := c.api.view(c.ctx(), newLibrary(c.api.o.Store, o.key.Namespace), then)
	if err != nil {
		return false, err
	}
	if v.own == nil {
		return false, nil
	}
	v.current = now.current && !m.routesChanged()
	after := merge{now: v.shape(), sent: m.sent}
	return after.same(), nil
}

// keepPort gives a document that names no port the one that the gateway has:
// an update moves nothing that it does not speak of.
func keepPort(o *outcome, tree *yaml.Node, now *view) {
	if get(tree, "port") != nil || get(tree, "import") != nil || now.own == nil || now.own.Port.Number == 0 {
		return // written as none, or assigned, which is kept by name
	}
	if text, placed := withPort(o.text, now.own.Port.String()); text != "" {
		o.text, o.derived, o.unplaced = text, true, !placed
	}
}

// withPort returns the text of a gateway without a port with one, and all else
// as it is written: comments, too, unless the text ends in a way in which
// nothing can stand behind it, and then places are others. It returns none of a
// text that is no mapping.
func withPort(text, port string) (now string, placed bool) {
	top := mappingOf(text)
	if top == nil {
		return "", false
	}
	var added string
	if top.Style&yaml.FlowStyle != 0 {
		at := offset(text, top.Line, top.Column)
		comma := ", "
		if len(top.Content) == 0 {
			comma = ""
		}
		added = text[:at] + strings.Replace(text[at:], "{", `{"port": `+strconv.Quote(port)+comma, 1)
	} else {
		added = strings.TrimRight(text, "\n") + "\n" + strings.Repeat(" ", max(0, top.Column-1)) + "port: " + strconv.Quote(port) + "\n"
	}
	if now := mappingOf(added); now != nil && len(now.Content) == len(top.Content)+2 && is(get(now, "port"), port) {
		return added, true
	}
	top.Content = append(top.Content, str("port"), quoted(str(port)))
	whole, err := encodeYAML(top)
	if err != nil {
		return "", false
	}
	return string(whole), false
}

// is reports whether a node is there and has a value.
func is(n *yaml.Node, value string) bool { return n != nil && n.Value == value }

// mappingOf returns the top of a text that is one mapping; nil of any other.
func mappingOf(text string) *yaml.Node {
	root := new(yaml.Node)
	if err := unmarshal(text, root); err != nil || len(root.Content) != 1 || root.Content[0].Kind != yaml.MappingNode {
		return nil
	}
	return root.Content[0]
}

// offset returns where a line and column, from 1, begin in a text.
func offset(text string, line, column int) int {
	at := 0
	for ; line > 1; line-- {
		at += strings.IndexByte(text[at:], '\n') + 1
	}
	for range column - 1 { // columns count characters
		_, size := utf8.DecodeRuneInString(text[at:])
		at += size
	}
	return at
}

// check returns what is wrong with updates beside all that is there.
func (c *call) check(done []outcome, updates []discovery.Update) error {
	if len(updates) == 0 {
		return nil
	}
	var faults []*routing.Fault
	for _, u := range updates {
		faults = append(faults, u.Faults...)
	}
	if refusal(faults) == nil {
		// What cannot be read is not looked at beside the rest.
		before, err := c.api.pending(c.ctx(), c.ns)
		if err != nil {
			return err
		}
		faults = append(faults, c.api.o.Plans.Check(c.ns, over(before, updates))...)
	}
	faults = placed(faults, done)
	first := refusal(faults)
	if first == nil {
		c.warn(faults)
		return nil
	}
	e := refuse(http.StatusBadRequest, first.Error())
	if n := refusals(faults); n > 1 {
		e.Message = fmt.Sprintf("%s (and %d more)", e.Message, n-1)
	}
	e.Faults = faults
	return e
}

// placed returns faults, each once, with places in the body that was sent.
func placed(faults []*routing.Fault, done []outcome) []*routing.Fault {
	by := make(map[string]*outcome, len(done))
	for i := range done {
		by[artifacts.Key(done[i].key)] = &done[i]
	}
	seen := make(map[routing.Fault]bool, len(faults))
	out := make([]*routing.Fault, 0, len(faults))
	for _, f := range faults {
		if seen[*f] {
			continue
		}
		seen[*f] = true
		moved := *f
		if o := by[f.At.Source]; o != nil {
			moved.At.Source = ""
			switch {
			case o.remove || o.unplaced:
				moved.At = routing.Position{}
			case moved.At.Line > 0:
				moved.At.Line += o.line
			}
		}
		out = append(out, &moved)
	}
	return out
}

// maxWarnings and maxWarned bound the fields that tell of them, in number and
// bytes: proxies in between take heads of 4 KB, some of them.
const (
	maxWarnings = 20
	maxWarned   = 2500
)

// warn tells in the answer what takes effect, but not as its author may think.
func (c *call) warn(faults []*routing.Fault) {
	n, size, more := 0, 0, 0
	for _, f := range faults {
		if f.Severity != routing.Warning {
			continue
		}
		text := headerText(f.Error())
		if size += len(text); n == maxWarnings || size > maxWarned {
			more++
			continue
		}
		n++
		c.w.Header().Add("Sluice-Warning", text)
	}
	if more > 0 {
		c.w.Header().Add("Sluice-Warning", fmt.Sprintf("and %d more warnings: 'sluice validate' tells all that files alone can tell", more))
	}
}

// headerText makes a text fit for a field of a header.
func headerText(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	if len(s) > 500 {
		s = s[:500] + "..."
	}
	return s
}

// refusal returns the first fault that refuses something.
func refusal(faults []*routing.Fault) *routing.Fault {
	for _, f := range faults {
		if f.Severity == routing.Refused {
			return f
		}
	}
	return nil
}

func refusals(faults []*routing.Fault) (n int) {
	for _, f := range faults {
		if f.Severity == routing.Refused {
			n++
		}
	}
	return n
}

// rankFor returns what writing a kind takes: operators move traffic.
func rankFor(kind string) auth.Rank {
	if kind == gateways || kind == conditions {
		return auth.Operator
	}
	return auth.Admin
}

// await holds the answer back until a change is served, or the time that was
// asked for is over, and says which in its header.
func (c *call) await(change uint64) error {
	wait, err := c.wait()
	if err != nil || wait == 0 || change == 0 {
		return err
	}
	reached, err := c.follow(change, wait)
	if err == nil {
		err = c.ctx().Err()
	}
	if err != nil {
		return err
	}
	c.w.Header().Set("Sluice-Converged", strconv.FormatBool(reached.State == stream.Converged))
	return nil
}

// newest returns the change to wait for: the one that was made, or the last
// one before of what did not change.
func newest(done []outcome, change uint64) uint64 {
	for _, o := range done {
		change = max(change, o.after.Revision)
	}
	return change
}

// answerOne answers a write of one artifact.
func (c *call) answerOne(status int, done []outcome, change uint64, dry bool) error {
	if change > 0 {
		c.w.Header().Set("Sluice-Change", strconv.FormatUint(change, 10))
	}
	if !dry {
		if err := c.await(newest(done, change)); err != nil {
			return err
		}
	}
	o := done[0]
	if o.after.Revision > 0 {
		c.w.Header().Set("ETag", c.api.etag(o.after.Revision))
	}
	if o.after.Name == "" {
		return c.none(status)
	}
	v, err := c.api.view(c.ctx(), newLibrary(c.api.o.Store, o.key.Namespace), o.after)
	if err != nil {
		return err
	}
	return c.answer(status, v.shape())
}

// kindOf reads the kind in a path.
func (c *call) kindOf() (string, error) {
	kind := c.param("kind")
	if !slices.Contains(store.Kinds(), kind) {
		e := refuse(http.StatusBadRequest, fmt.Sprintf("UnexpectedArtifact: there is no kind %.60q; %s are kinds", kind, strings.Join(store.Kinds(), ", ")))
		return "", e
	}
	return kind, nil
}
