// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/test/wire"
)

var update = flag.Bool("update", false, "write what is generated from the cases anew")

const document = "../../docs/http-conformance.md"

// TestDocument holds that the document says what the cases, the list of those
// that are pending, and the records of the peers say.
func TestDocument(t *testing.T) {
	cases, pending, peers := load(t), loadPending(t), loadRecords(t)
	want := render(cases, pending, peers)
	if *update {
		if err := os.WriteFile(document, []byte(want), 0o644); err != nil { //nolint:gosec // a document
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the cases say: go test ./test/wire -run TestDocument -update", document)
	}
}

// TestDifferencesAreExplained holds that a case says why where Sluice does
// what neither of the others does.
func TestDifferencesAreExplained(t *testing.T) {
	pending, peers := loadPending(t), loadRecords(t)
	for _, c := range load(t) {
		if alone(c, pending, peers) && c.Why == "" {
			t.Errorf("%s: HAProxy and nginx do otherwise; the case does not say why", c.Name)
		}
	}
}

// alone reports whether Sluice passes a case that all peers fail.
func alone(c *wire.Case, pending pendingList, peers []*record) bool {
	if pending.find(c.Name) != nil {
		return false
	}
	for _, p := range peers {
		if fault, played := p.faults[c.Name]; !played || fault == "" {
			return false
		}
	}
	return true
}

// record is how one peer did.
type record struct {
	file, name string
	version    string
	faults     map[string]string // by case that was played; empty if it holds
	atTimes    map[string]bool   // cases that fail in some runs and hold in others
}

// holds stands in a record for no fault.
const holds = "holds"

func newRecords() []*record {
	return []*record{
		{file: "testdata/peers/haproxy.txt", name: "HAProxy"},
		{file: "testdata/peers/nginx.txt", name: "nginx"},
	}
}

func loadRecords(t *testing.T) []*record {
	t.Helper()
	all := newRecords()
	for _, r := range all {
		text, err := os.ReadFile(r.file)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.read(string(text)); err != nil {
			t.Fatalf("%s: %v", r.file, err)
		}
	}
	return all
}

// read reads lines "NAME: FAULT" below the line "# VERSION". A tilde before
// the name marks a case that goes either way.
func (r *record) read(text string) error {
	r.faults, r.atTimes = make(map[string]string), make(map[string]bool)
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if version, ok := strings.CutPrefix(line, "# "); ok {
			r.version = version
			continue
		}
		name, fault, ok := strings.Cut(line, ": ")
		name, r.atTimes[strings.TrimPrefix(name, "~")] = strings.CutPrefix(name, "~")
		if !ok {
			return fmt.Errorf("%q is not NAME: FAULT", line)
		}
		if fault == holds {
			fault = ""
		}
		r.faults[name] = fault
	}
	if r.version == "" {
		return errors.New("no version")
	}
	return nil
}

// levels are the rows of the first table.
var levels = []wire.Level{wire.Must, wire.Should, wire.Ours}

// writer writes the document.
type writer struct {
	strings.Builder

	cases   []*wire.Case
	pending pendingList
	peers   []*record
}

func (w *writer) line(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }

const preface = `# How HTTP/1 is spoken

What Sluice does with HTTP/1 that is unusual, wrong or hostile, next to what HAProxy and nginx do. Written by the test in
` + "`test/wire`" + ` from its cases: each plays raw bytes at a gateway, as client and as origin, and states one requirement. A
requirement names its section: of an RFC, or of none where it is a choice of ours.

    go test ./test/wire                        plays all cases at Sluice
    go test ./test/wire -only chunks/ -v       those of a name
    go test -tags peers ./test/wire            plays them at HAProxy and nginx, too; -update writes how they did

The others run as an operator would set up a reverse proxy: HAProxy with ` + "`mode http`" + `, ` + "`http-reuse always`" + ` and
` + "`option forwardfor`" + `; nginx with ` + "`proxy_http_version 1.1`" + `, ` + "`Connection \"\"`" + `, ` + "`Host $host`" + ` (which leaves a port out), the usual
X-Forwarded fields and kept connections. Both can be told to do some things otherwise. HAProxy passes HTTP/1.0 on as such, so
an origin that answers it with what HTTP/1.0 does not know shares the blame. Where an RFC leaves a choice, or says nothing,
to differ is no fault: those cases count as *ours*.
`

func render(cases []*wire.Case, pending pendingList, peers []*record) string {
	w := &writer{cases: cases, pending: pending, peers: peers}
	w.WriteString(preface)
	w.scores()
	w.departures()
	w.missing()
	w.alone()
	w.differences()
	w.requirements()
	return w.String()
}

// holdsAt reports whether a case holds for the peer of an index, or for
// Sluice if it is negative, and whether it was played there.
func (w *writer) holdsAt(i int, c *wire.Case) (ok, played bool) {
	if i < 0 {
		return w.pending.find(c.Name) == nil, true
	}
	fault, played := w.peers[i].faults[c.Name]
	return played && fault == "", played
}

// isComparable reports whether a case can be played at the peers.
func isComparable(c *wire.Case) bool { return c.Flags == "" && c.Gateway() == "" }

// scores writes two tables of how many cases hold.
func (w *writer) scores() {
	w.line("\n## In numbers\n")
	w.line("Cases that hold, of those that need no settings of Sluice (%s, %s).\n", w.peers[0].version, w.peers[1].version)
	w.line("| | cases | Sluice | HAProxy | nginx |\n|---|---|---|---|---|")
	for _, level := range levels {
		w.score("**"+string(level)+"**", func(c *wire.Case) bool { return c.Level == level })
	}
	w.line("\nWhat is MUST or SHOULD, by topic:\n")
	w.line("| | cases | Sluice | HAProxy | nginx |\n|---|---|---|---|---|")
	var topics []string
	for _, c := range w.cases {
		if !slices.Contains(topics, c.Topic()) {
			topics = append(topics, c.Topic())
		}
	}
	for _, topic := range topics {
		w.score(strings.ReplaceAll(topic, "-", " "), func(c *wire.Case) bool { return c.Topic() == topic && c.Level != wire.Ours })
	}
}

// score writes one row, unless it is of no case.
func (w *writer) score(title string, of func(*wire.Case) bool) {
	n := 0
	var hold [3]int
	for _, c := range w.cases {
		if !isComparable(c) || !of(c) {
			continue
		}
		n++
		for i := range hold {
			if ok, _ := w.holdsAt(i-1, c); ok {
				hold[i]++
			}
		}
	}
	if n > 0 {
		w.line("| %s | %d | %d | %d | %d |", title, n, hold[0], hold[1], hold[2])
	}
}

// departures lists where a section is not followed.
func (w *writer) departures() {
	w.line("\n## Where Sluice does not follow a section\n")
	seen := map[string]bool{}
	for _, c := range w.cases {
		if text := c.Departs + ": " + c.Why; c.Departs != "" && !seen[text] {
			seen[text] = true
			w.line("- %s. What Sluice does: %s. Why: %s. (`%s`)", c.Departs, afterSection(c), c.Why, c.Name)
		}
	}
}

func afterSection(c *wire.Case) string {
	_, what, _ := strings.Cut(c.Requirement, ": ")
	return what
}

// missing lists what fails today.
func (w *writer) missing() {
	if len(w.pending) == 0 {
		return
	}
	w.line("\n## What does not hold yet\n")
	for _, cause := range w.pending {
		about, _, _ := strings.Cut(cause.text, ": ")
		w.line("- %s:", about)
		for _, p := range cause.cases {
			note := ""
			if p.atTimes {
				note = " (at times)"
			}
			w.line("    - `%s`: %s%s", p.name, p.text, note)
		}
	}
}

// alone lists what only Sluice does, by requirement.
func (w *writer) alone() {
	w.line("\n## Where Sluice does what neither does\n")
	w.line("| requirement | level | cases | why |\n|---|---|---|---|")
	type key struct{ requirement, level, why string }
	names := map[key]int{}
	var order []key
	for _, c := range w.cases {
		if alone(c, w.pending, w.peers) {
			k := key{c.Requirement, string(c.Level), c.Why}
			if names[k]++; names[k] == 1 {
				order = append(order, k)
			}
		}
	}
	for _, k := range order {
		w.line("| %s | %s | %d | %s |", cell(k.requirement), k.level, names[k], cell(k.why))
	}
}

// differences lists what the peers do otherwise.
func (w *writer) differences() {
	w.line("\n## What HAProxy and nginx do otherwise\n")
	w.line("The first thing that does not hold; a dash where all does.\n")
	w.line("| case | level | HAProxy | nginx |\n|---|---|---|---|")
	for _, c := range w.cases {
		a, b := w.peers[0].cell(c.Name), w.peers[1].cell(c.Name)
		if a != b || a != "-" {
			w.line("| %s | %s | %s | %s |", c.Name, c.Level, a, b)
		}
	}
}

// requirements lists all of them.
func (w *writer) requirements() {
	type row struct {
		text  string
		level string
		cases int
	}
	var rows []*row
	for _, c := range w.cases {
		i := slices.IndexFunc(rows, func(r *row) bool { return r.text == c.Requirement && r.level == string(c.Level) })
		if i < 0 {
			i = len(rows)
			rows = append(rows, &row{text: c.Requirement, level: string(c.Level)})
		}
		rows[i].cases++
	}
	slices.SortStableFunc(rows, func(a, b *row) int { return cmp.Compare(a.text, b.text) })
	w.line("\n## All requirements\n")
	w.line("| requirement | level | cases |\n|---|---|---|")
	for _, r := range rows {
		w.line("| %s | %s | %d |", cell(r.text), r.level, r.cases)
	}
}

// cell makes a text fit for a cell of a table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`, "_", `\_`).Replace(text)
}

// cell shows the fault of a case, its bytes as they are.
func (r *record) cell(name string) string {
	fault := r.faults[name]
	if fault == "" {
		return "-"
	}
	text := "`" + strings.NewReplacer("|", `\|`, "`", "'").Replace(fault) + "`"
	if r.atTimes[name] {
		text += " in some runs"
	}
	return text
}
