// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/sluice-mesh/sluice/routing"
)

// Why an answer as a whole says nothing.
var (
	// errTooLarge reports an answer above the bound.
	errTooLarge = errors.New("the answer is larger than the bound")
	// errHTML reports an answer that is a page for people.
	errHTML = errors.New("the answer is a page of HTML: something that is no Marathon answers here")
	// errCut reports an answer whose end is missing.
	errCut = errors.New("the answer is cut short")
)

// The bounds of what an answer may hold, far above any Marathon that works:
// what is read takes a multiple of what is sent.
const (
	maxApps  = 100_000
	maxTasks = 500_000
	// maxField bounds a field of an app or a task in bytes, but for the list of
	// tasks, and that of their readiness.
	maxField = 1 << 20
	// maxElements bounds the labels, ports, checks and addresses of an app or a
	// task.
	maxElements = 1000
	// maxReadFaults is how many faults are told; those that follow are the same
	// fault of whoever wrote the answer.
	maxReadFaults = 1000
)

// readApps reads an answer of GET /v2/apps, at most limit bytes of it, app by
// app. An error means that it says nothing, and cannot be shorter than it was
// meant: it is cut, no JSON, too large, or no list of apps. An app that cannot
// be read is told by a fault of its name, and is nil under its id.
func readApps(r io.Reader, limit int64) (map[string]*app, []*routing.Fault, error) {
	d := newAppReader(r, limit)
	apps, err := d.answer()
	if err != nil {
		return nil, nil, d.in.explain(err)
	}
	return apps, d.faults, nil
}

// readApp reads an answer of GET /v2/apps/ID as readApps does. An app that
// cannot be read is an error, which is a *routing.Fault.
func readApp(r io.Reader, limit int64) (*app, []*routing.Fault, error) {
	d := newAppReader(r, limit)
	a, err := d.answerOne()
	if err != nil {
		return nil, nil, d.in.explain(err)
	}
	if a == nil {
		return nil, nil, d.faults[0]
	}
	return a, d.faults, nil
}

// appReader reads apps from JSON without holding more than one field of one.
type appReader struct {
	in     *bounded
	d      *json.Decoder
	raw    json.RawMessage // room for a field
	tasks  int
	words  words
	faults []*routing.Fault
}

func newAppReader(r io.Reader, limit int64) *appReader {
	in := &bounded{r: r, left: limit, limit: limit}
	return &appReader{in: in, d: json.NewDecoder(in)}
}

// answer reads {"apps": [...]}.
func (d *appReader) answer() (apps map[string]*app, err error) {
	message := ""
	err = d.object(func(key string) error {
		switch {
		case key == "message":
			return d.message(&message)
		case key != "apps":
			return d.skip()
		case apps != nil:
			return errors.New("the answer has two lists of apps")
		}
		apps = make(map[string]*app)
		n := 0
		begun, err := d.list(func() error {
			if n++; n > maxApps {
				return fmt.Errorf("the answer has more than %d apps", maxApps)
			}
			return d.oneOf(apps, n)
		})
		if err == nil && begun != json.Delim('[') {
			err = errors.New("the apps of the answer are no list")
		}
		return err
	})
	if err == nil && apps == nil {
		err = lacking("apps", message)
	}
	if err == nil {
		err = d.end()
	}
	return apps, err
}

// answerOne reads {"app": {...}}.
func (d *appReader) answerOne() (a *app, err error) {
	message, there := "", false
	err = d.object(func(key string) error {
		switch {
		case key == "message":
			return d.message(&message)
		case key != "app":
			return d.skip()
		case there:
			return errors.New("the answer has two apps")
		}
		there = true
		var err error
		_, a, err = d.app(1)
		return err
	})
	if err == nil && !there {
		err = lacking("app", message)
	}
	if err == nil {
		err = d.end()
	}
	return a, err
}

// lacking is the error of an answer without what was asked for.
func lacking(what, message string) error {
	if message == "" {
		return fmt.Errorf("the answer has no %s: something that is no Marathon answers here", what)
	}
	return fmt.Errorf("the answer has no %s, but a message: %.200q", what, message)
}

// message reads the text that stands in answers which tell of errors.
func (d *appReader) message(to *string) error {
	var what any
	if err := d.d.Decode(&what); err != nil {
		return err
	}
	*to, _ = what.(string)
	return nil
}

// oneOf reads the nth app of a list into apps.
func (d *appReader) oneOf(apps map[string]*app, n int) error {
	id, a, err := d.app(n)
	if err != nil || id == "" {
		return err
	}
	if _, twice := apps[id]; twice {
		d.fault(id, "", "the app is there twice in one answer", "the first one counts")
		return nil
	}
	apps[id] = a
	return nil
}

// app reads the nth app: nil, with faults, if it cannot be read, and without
// an id if that cannot be read either.
func (d *appReader) app(n int) (id string, a *app, err error) {
	one := rawApp{words: &d.words}
	known := len(d.faults)
	nameless := fmt.Sprintf("(app %d of the answer)", n)
	begun, err := d.fields(func(key string) error { return d.field(&one, key) })
	if err != nil {
		return "", nil, err
	}
	if path, n := one.most(); n > maxElements {
		one.wrong = true
		d.tooMany(path, n)
	}
	id, ok := idOf(one.ID)
	switch {
	case begun != json.Delim('{'):
		d.fault(nameless, "", "it is no object", "")
	case !ok && len(d.faults) == known:
		d.fault(nameless, "id", fmt.Sprintf("%.100q is no id of an app", one.ID), "an absolute path such as /shop/web is allowed")
	}
	if !ok {
		id = nameless
	}
	for _, f := range d.faults[known:] {
		f.Name, f.At = id, positionOf(id)
	}
	switch {
	case !ok:
		return "", nil, nil
	case len(d.faults) > known || one.wrong:
		return id, nil, nil
	}
	one.ID = id
	a, faults := one.app()
	for _, f := range faults {
		d.add(f)
	}
	return id, a, nil
}

// maxID bounds an id in bytes.
const maxID = 1024

// idOf returns an id as an absolute path; false if it is none.
func idOf(text string) (string, bool) {
	id := "/" + strings.TrimPrefix(text, "/")
	if len(id) > maxID || strings.ContainsFunc(id, func(c rune) bool { return c <= ' ' || c == 0x7f }) {
		return "", false
	}
	for part := range strings.SplitSeq(id[1:], "/") {
		if part == "" || part == "." || part == ".." {
			return "", false
		}
	}
	return id, true
}

// field reads a field of an app.
func (d *appReader) field(one *rawApp, key string) error {
	switch key {
	case "tasks":
		return d.elements(one, key, func() error { return d.task(one) })
	case "readinessCheckResults":
		return d.elements(one, key, func() error {
			var r rawReadiness
			err := d.value(one, key, &r)
			one.ready(r)
			return err
		})
	}
	if to := one.place(key); to != nil {
		return d.value(one, key, to)
	}
	return d.skip()
}

// task reads a task.
func (d *appReader) task(one *rawApp) error {
	if d.tasks++; d.tasks > maxTasks {
		return fmt.Errorf("the answer has more than %d tasks", maxTasks)
	}
	var t rawTask
	if err := d.value(one, "tasks", &t); err != nil || t.ID == "" {
		return err
	}
	if path, n := t.most(); n > maxElements {
		one.wrong = true
		d.tooMany("tasks."+path, n)
		return nil
	}
	one.tasks = append(one.tasks, t.task(&d.words))
	return nil
}

// value reads a value of an app into what to points to, which stays as it is
// if the value is null. One of another form is a fault of the app.
func (d *appReader) value(one *rawApp, path string, to any) error {
	if err := d.d.Decode(&d.raw); err != nil {
		return err
	}
	if len(d.raw) > maxField {
		one.wrong = true
		d.fault("", path, fmt.Sprintf("it has %d bytes", len(d.raw)), fmt.Sprintf("at most %d are allowed", maxField))
		return nil
	}
	err := json.Unmarshal(d.raw, to)
	if err == nil {
		return nil
	}
	one.wrong = true
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if e.Field != "" {
			path += "." + e.Field
		}
		d.fault("", path, formOf(e.Value)+" cannot stand here", "")
		return nil
	}
	d.fault("", path, err.Error(), "")
	return nil
}

// formOf names a form of JSON as package json calls it, which adds the number
// where one is too large.
func formOf(value string) string {
	switch form, _, _ := strings.Cut(value, " "); form {
	case "string":
		return "a text"
	case "array":
		return "a list"
	case "object":
		return "an object"
	case "bool":
		return "true or false"
	}
	return fmt.Sprintf("a %.60s", value)
}

// elements reads a list of an app, element by element. null is an empty one.
func (d *appReader) elements(one *rawApp, path string, each func() error) error {
	begun, err := d.list(each)
	if err == nil && begun != nil && begun != json.Delim('[') {
		one.wrong = true
		d.fault("", path, "it is no list", "")
	}
	return err
}

// object reads the object that is the answer.
func (d *appReader) object(field func(key string) error) error {
	begun, err := d.fields(field)
	if err == nil && begun != json.Delim('{') {
		err = errors.New("the answer is no object")
	}
	return err
}

// fields reads an object, and returns what it begins with: anything but a brace
// says that it was none, and was skipped.
func (d *appReader) fields(field func(key string) error) (begun json.Token, err error) {
	return d.inside('{', func() error { return d.keyed(field) })
}

func (d *appReader) keyed(field func(key string) error) error {
	key, err := d.d.Token()
	if err != nil {
		return err
	}
	name, _ := key.(string)
	return field(name)
}

// list reads a list as fields reads an object.
func (d *appReader) list(element func() error) (begun json.Token, err error) {
	return d.inside('[', element)
}

// inside reads what stands between brackets, of which the first is open.
func (d *appReader) inside(open json.Delim, one func() error) (begun json.Token, err error) {
	begun, err = d.d.Token()
	if err != nil {
		return nil, err
	}
	switch begun {
	case open:
	case json.Delim('['):
		one = d.skip
	case json.Delim('{'):
		one = func() error { return d.keyed(func(string) error { return d.skip() }) }
	default:
		return begun, nil
	}
	for d.d.More() {
		if err := one(); err != nil {
			return nil, err
		}
	}
	_, err = d.d.Token() // the bracket at the end, or there is none
	return begun, err
}

// skip reads a value that does not count.
func (d *appReader) skip() error { return d.d.Decode(&skipped{}) }

// skipped takes any value and keeps nothing of it.
type skipped struct{}

// UnmarshalJSON implements json.Unmarshaler.
func (*skipped) UnmarshalJSON([]byte) error { return nil }

// end makes sure that nothing follows.
func (d *appReader) end() error {
	switch _, err := d.d.Token(); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	}
	return errors.New("something follows the answer")
}

// fault notes what is wrong with an app, whose name may follow later.
func (d *appReader) fault(id, path, problem, allowed string) {
	d.add(wrong(routing.Refused, id, path, problem, allowed))
}

func (d *appReader) tooMany(path string, n int) {
	d.fault("", path, fmt.Sprintf("there are %d of them", n), fmt.Sprintf("at most %d are allowed", maxElements))
}

func (d *appReader) add(f *routing.Fault) {
	if len(d.faults) < maxReadFaults {
		d.faults = append(d.faults, f)
	}
}

// whole returns a number of JSON that is to be a whole one: -1 if it is none,
// or beyond all that is counted here.
func whole(f float64) int {
	if f != math.Trunc(f) || math.Abs(f) > 1e9 {
		return -1
	}
	return int(f)
}

// bounded reads at most so many bytes, and knows what the first is.
type bounded struct {
	r           io.Reader
	left, limit int64
	first       byte // that is no space; 0 if there was none
	err         error
}

// Read implements io.Reader.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		// It is too large if there is one more.
		p = p[:min(len(p), 1)]
	} else if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.r.Read(p)
	for _, c := range p[:n] {
		if b.first != 0 {
			break
		}
		if !strings.ContainsRune(" \t\r\n", rune(c)) {
			b.first = c
		}
	}
	if b.left -= int64(n); b.left < 0 {
		n, err = 0, fmt.Errorf("%w of %d bytes", errTooLarge, b.limit)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

// explain tells what is wrong with an answer that led to err.
func (b *bounded) explain(err error) error {
	switch {
	case b.err != nil:
		return b.err // of the reader, whatever came of it
	case b.first == '<':
		return errHTML
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w after %d bytes", errCut, b.limit-b.left)
	}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("the answer is no JSON: byte %d: %w", e.Offset, e)
	}
	return err
}
