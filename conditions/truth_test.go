// SPDX-License-Identifier: Apache-2.0

package conditions_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/conditions"
)

// TestTruthTables builds every tree of up to five tests, with "and" and "or"
// at every joint, with and without "not" at every place, and compares what holds with the tree for all answers to the tests.
func TestTruthTables(t *testing.T) {
	for operands := 1; operands <= 5; operands++ {
		t.Run(fmt.Sprintf("%d tests", operands), func(t *testing.T) {
			n := 0
			for _, tree := range trees(0, operands) {
				checkTable(t, tree, operands)
				n++
			}
			if want := []int{2, 16, 256, 5120, 114688}[operands-1]; n != want {
				t.Errorf("%d trees, want %d", n, want)
			}
		})
	}
}

// Two operands that each exclude the other, and expressions of five and six
// operands, are what a minimiser to a disjunction gets wrong most easily.
func TestTruthTablesOfSpecialTrees(t *testing.T) {
	for _, text := range []string{
		"(A and not B) or (B and not A)",
		"(A or B) and not (A and B)",
		"A and B and C and D and E",
		"A or B or C or D or E",
		"(A and not B and C) or (not A and B and not C) or (D and E)",
		"not (A or not (B and not (C or not (D and not E))))",
		"(A or B) and (C or D) and (E or A) and (B or not C)",
		"((A and not B) or (B and not A)) and not ((C and not D) or (D and not C)) or E",
		"A and (B or C and (D or E and not A))",
		"(A and B) or (C and D) or (E and F)",
	} {
		for i, name := range []string{"A", "B", "C", "D", "E", "F"} {
			text = strings.ReplaceAll(text, name, fmt.Sprintf("has header x-%d", i))
		}
		checkTable(t, readByGrammar(text), 6)
	}
}

// trees returns all trees of the tests from to to-1, in that order.
func trees(from, to int) []*node {
	if from == to-1 {
		n := &node{words: "has header", name: fmt.Sprintf("x-%d", from)}
		return []*node{n, {words: n.words, name: n.name, negated: true}}
	}
	var all []*node
	for mid := from + 1; mid < to; mid++ {
		for _, x := range trees(from, mid) {
			for _, y := range trees(mid, to) {
				for _, op := range []string{"and", "or"} {
					n := &node{op: op, x: x, y: y}
					all = append(all, n, &node{x: n})
				}
			}
		}
	}
	return all
}

// checkTable compares the tree with its compiled form, and with the canonical
// form of that, for all answers to its tests.
func checkTable(t *testing.T, tree *node, operands int) {
	t.Helper()
	c := mustCompile(t, tree.String())
	canonical := mustCompile(t, c.String())
	for answers := range 1 << operands {
		r := maskRequest(answers)
		want := tree.holdsFor(answers)
		if got := c.Holds(r); got != want {
			t.Fatalf("%v holds: %v, want %v, for answers %b", tree, got, want, answers)
		}
		if got := canonical.Holds(r); got != want {
			t.Fatalf("%v holds: %v, want %v, for answers %b", canonical, got, want, answers)
		}
	}
}

// holdsFor evaluates a tree of "has header x-N" where bit N answers the test.
func (n *node) holdsFor(answers int) bool {
	switch {
	case n.x == nil:
		return answers>>(n.name[2]-'0')&1 == 1 != n.negated
	case n.y == nil:
		return !n.x.holdsFor(answers)
	case n.op == "and":
		return n.x.holdsFor(answers) && n.y.holdsFor(answers)
	default:
		return n.x.holdsFor(answers) || n.y.holdsFor(answers)
	}
}

// maskRequest has the header X-N if bit N is set.
type maskRequest int

var noConn conditions.Conn

func (maskRequest) Method() string         { return "" }
func (maskRequest) Host() string           { return "" }
func (maskRequest) Target() string         { return "" }
func (maskRequest) Path() string           { return "" }
func (maskRequest) Query() string          { return "" }
func (maskRequest) Conn() *conditions.Conn { return &noConn }
func (maskRequest) Random() uint32         { return 0 }

func (m maskRequest) Field(name string, from int) (string, int) {
	if from > 0 || m>>(name[2]-'0')&1 == 0 {
		return "", -1
	}
	return "", 1
}
