// SPDX-License-Identifier: Apache-2.0

package conditions_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/conditions"
)

// FuzzParse holds the parser against the grammar and against its own
// formatter.
func FuzzParse(f *testing.F) {
	for _, text := range caseTexts(f, "testdata/parse.txt") {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := conditions.Parse(text)
		if err != nil {
			refusedRightly(t, text, err)
			return
		}
		tree := readByGrammar(text)
		if tree == nil {
			t.Fatalf("Parse(%q) = %q, but the grammar does not have it", text, got)
		}
		canonical := got.String()
		again, err := conditions.Parse(canonical)
		if err != nil {
			t.Fatalf("Parse(%q) = %q, which is refused: %v", text, canonical, err)
		}
		if !again.Equal(got) || again.String() != canonical {
			t.Errorf("Parse(%q) = %q, which is read as %q", text, canonical, again)
		}
		if whole, err := conditions.Parse(tree.String()); err == nil && !whole.Equal(got) {
			t.Errorf("Parse(%q) = %q, but the grammar reads it as %q", text, canonical, tree)
		}
	})
}

// refusedRightly checks an error, and that only a text which is too big, or
// that the grammar does not have, is refused.
func refusedRightly(t *testing.T, text string, err error) {
	t.Helper()
	refusal(t, text, err)
	var syntax *conditions.SyntaxError
	bounded := errors.As(err, &syntax) && strings.Contains(syntax.Problem, " too ")
	if tree := readIfShort(text); tree != nil && !bounded {
		t.Errorf("Parse(%q) error = %v, but the grammar reads it as %q", text, err, tree)
	}
}

// readIfShort spares the second reading, which is not built for speed, texts
// that are refused for their length.
func readIfShort(text string) *node {
	if len(text) > conditions.MaxTextBytes {
		return nil
	}
	return readByGrammar(text)
}

// FuzzHolds holds the compiled condition against the tree that the grammar
// gives, walked naively.
func FuzzHolds(f *testing.F) {
	header := "Host: Shop.example\nCookie: a=1; b=; A=\"x;y\"\nX-Stage: canary\nx-stage: blue\nUser-Agent: Version/17 Safari/605"
	for _, text := range caseTexts(f, "testdata/holds.txt") {
		f.Add(text, header)
	}
	f.Fuzz(func(t *testing.T, text, header string) {
		c, err := conditions.Compile(text)
		if err != nil {
			return
		}
		r := newRequest(strings.Split(header, "\n")...)
		if got, want := c.Holds(r), readByGrammar(text).holds(r); got != want {
			t.Errorf("%q holds: %v, want %v, for %q", text, got, want, header)
		}
		canonical := mustCompile(t, c.String())
		if got, want := canonical.Holds(r), c.Holds(r); got != want {
			t.Errorf("%q holds: %v, but its canonical form %q: %v, for %q", text, want, c, got, header)
		}
	})
}

// caseTexts returns the texts of a file that runCases reads.
func caseTexts(f *testing.F, file string) []string {
	f.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		f.Fatal(err)
	}
	var texts []string
	for line := range strings.Lines(string(data)) {
		if line != "\n" && !strings.ContainsAny(line[:1], "#>\t") {
			texts = append(texts, unescape.Replace(strings.TrimSuffix(line, "\n")))
		}
	}
	return texts
}
