// SPDX-License-Identifier: Apache-2.0

package conditions_test

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/conditions"
)

// FuzzParse holds the parser against the grammar, with our additions and
// without, against raw ACLs and against its own formatter.
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
		canonical := got.String()
		again, err := conditions.Parse(canonical)
		if err != nil {
			t.Fatalf("Parse(%q) = %q, which is refused: %v", text, canonical, err)
		}
		if !again.Equal(got) || again.String() != canonical {
			t.Errorf("Parse(%q) = %q, which is read as %q", text, canonical, again)
		}
		acceptedRightly(t, text, got)
	})
}

// acceptedRightly checks what a text was read as: what Vamp's grammar says, or
// else what the grammar with our additions says, or else a raw ACL.
func acceptedRightly(t *testing.T, text string, got *conditions.Expr) {
	t.Helper()
	vamps, tree := readByGrammar(text), readWithAdditions(text)
	if vamps != nil && (tree == nil || tree.String() != vamps.String()) {
		t.Fatalf("additions change %q from %q to %v", text, vamps, tree)
	}
	acl, isACL := conditions.ReadACL(text)
	if tree == nil {
		if raw, ok := conditions.RawACL(got); !isACL || !ok || raw != acl {
			t.Errorf("Parse(%q) = %q, but the grammar does not have it, and as an ACL it is %q", text, got, acl)
		}
		return
	}
	if vamps == nil && isACL && !comparison.MatchString(text) {
		t.Errorf("Parse(%q) = %q takes away an ACL", text, got)
	}
	if whole, err := conditions.Parse(tree.String()); err == nil && !whole.Equal(got) {
		t.Errorf("Parse(%q) = %q, but the grammar reads it as %q", text, got, tree)
	}
}

// comparison is how texts begin that are ours although they could be ACLs: the
// name of a fetch with a comparison for its first value.
var comparison = regexp.MustCompile(`(?i)^[ \t\r\n\f]*(method|path|query[ \t\r\n\f].+)[ \t\r\n\f]*` +
	`(=|!|[ \t\r\n\f](is|not|has|contains|misses|starts|ends|matches)[ \t\r\n\f])`)

// refusedRightly checks an error, and that only a text which is too big, or
// that the grammar does not have, is refused.
func refusedRightly(t *testing.T, text string, err error) {
	t.Helper()
	refusal(t, text, err)
	var syntax *conditions.SyntaxError
	if errors.As(err, &syntax) && strings.Contains(syntax.Problem, " too ") {
		return
	}
	if tree := readWithAdditions(text); tree != nil {
		t.Errorf("Parse(%q) error = %v, but the grammar reads it as %q", text, err, tree)
	}
	if acl, ok := conditions.ReadACL(text); ok {
		t.Errorf("Parse(%q) error = %v, but it is the ACL %q", text, err, acl)
	}
}

// FuzzHolds holds the compiled condition against the tree that the grammar
// gives, walked naively, and Explain against both.
func FuzzHolds(f *testing.F) {
	request := "POST /a/b.jpg?a=1&b=x+%41&c\nclient 10.1.2.3\nHost: Shop.example\nCookie: a=1; b=; A=\"x;y\"\n" +
		"X-Stage: canary\nx-stage: blue\nUser-Agent: Version/17 Safari/605\n" +
		"tls eu.shop.example h2\ncertificate CN=cart,O=Example\nsan cart.internal\nsan spiffe://shop.example/cart"
	for _, file := range []string{"testdata/holds.txt", "testdata/parse.txt"} {
		for _, text := range caseTexts(f, file) {
			f.Add(text, request)
		}
	}
	f.Fuzz(func(t *testing.T, text, request string) {
		c, err := conditions.Compile(text)
		if err != nil {
			return
		}
		r := newRequest(strings.Split(request, "\n")...)
		got := c.Holds(r)
		if tree := readWithAdditions(text); tree != nil && got != tree.holds(r) {
			t.Errorf("%q holds: %v, want %v, for %q", text, got, !got, request)
		}
		canonical := mustCompile(t, c.String())
		if canonical.Holds(r) != got {
			t.Errorf("%q holds: %v, but not its canonical form %q, for %q", text, got, c, request)
		}
		explainedRightly(t, c, r, got)
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
