// SPDX-License-Identifier: Apache-2.0

package conditions_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/conditions"
)

// FuzzParseACL holds the parser against its own formatter, and what holds
// against its trace.
func FuzzParseACL(f *testing.F) {
	header := "Host: Shop.example:80\nX: a, \"b,c\"\nx: -5\nCookie: a=1; b=\"x;y\", $c=3; d=\nX-Forwarded-For: 10.0.0.1:80, ::1"
	for _, file := range []string{"testdata/acl.txt", "testdata/acl_parse.txt"} {
		for _, text := range caseTexts(f, file) {
			f.Add(text, "/a/b?a=1&b=%20;c", header)
		}
	}
	f.Fuzz(func(t *testing.T, text, target, header string) {
		a, err := conditions.ParseACL(text)
		if err != nil {
			var syntax *conditions.SyntaxError
			if !errors.As(err, &syntax) || syntax.Offset < 0 || syntax.Offset > len(text) || syntax.Problem == "" {
				t.Fatalf("ParseACL(%q) error = %#v, want a problem within the text", text, err)
			}
			return
		}
		canonical := a.String()
		again, err := conditions.ParseACL(canonical)
		if err != nil {
			t.Fatalf("ParseACL(%q) = %q, which is refused: %v", text, canonical, err)
		}
		if !again.Equal(a) {
			t.Fatalf("ParseACL(%q) = %q, which is read as %q", text, canonical, again)
		}
		if strings.ContainsAny(canonical, "<>\n") {
			t.Errorf("ParseACL(%q) = %q, which cannot stand between < and > in a line", text, canonical)
		}
		r := newACLRequest("GET "+target, strings.Split(header, "\n")...)
		held := a.Holds(r)
		if again.Holds(r) != held {
			t.Errorf("%q holds: %v, but its canonical form %q does not agree, for %q and %q", text, held, canonical, target, header)
		}
		if traced, saw := a.Trace(r); traced != held || len(saw) > 200 || saw == "" {
			t.Errorf("%q holds: %v, but its trace says %v, %q, for %q and %q", text, held, traced, saw, target, header)
		}
	})
}

// FuzzACLText holds the matching of texts against how one would write it
// without a thought for speed.
func FuzzACLText(f *testing.F) {
	f.Add("/images/PNG/logo.png", "png")
	f.Add("aaaaaaaaab", "aab")
	f.Add("http://a.b:80/c?d", "b:80")
	f.Add("", "a")
	f.Add("a", "a")
	f.Add("xAx\xc4", "ax\xe4")
	f.Fuzz(func(t *testing.T, s, value string) {
		if value == "" || len(value) > 100 || strings.Contains(value, "\x00") || strings.Trim(value, "/?.:") == "" {
			return
		}
		var quoted strings.Builder
		for i := range len(value) {
			fmt.Fprintf(&quoted, `\x%02x`, value[i])
		}
		r := newRequest()
		r.fields = []field{{"X", s}}
		for _, fold := range []bool{false, true} {
			flag, s, v := "", s, value
			if fold {
				flag, s, v = "-i ", lowerASCII(s), lowerASCII(v)
			}
			for method, want := range map[string]bool{
				"str": s == v,
				"beg": strings.HasPrefix(s, v),
				"end": strings.HasSuffix(s, v),
				"sub": strings.Contains(s, v),
				"dir": hasPart(s, v, "/?"),
				"dom": hasPart(s, v, "/?.:"),
			} {
				text := "req.fhdr(x) " + flag + "-m " + method + " -- " + quoted.String()
				if method == "dir" && strings.Trim(value, "/?") == "" {
					continue
				}
				if got := mustParseACL(t, text).Holds(r); got != want {
					t.Errorf("%s (%q) holds: %v of %q, want %v", text, value, got, s, want)
				}
			}
		}
	})
}

func lowerASCII(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c | 0x20
		}
	}
	return string(b)
}

// hasPart looks for value, delimiters around it cut off, between delimiters.
func hasPart(s, value, delimiters string) bool {
	value = strings.Trim(value, delimiters)
	for i := range len(s) {
		rest := s[i:]
		before := i == 0 || strings.ContainsRune(delimiters, rune(s[i-1]))
		if before && strings.HasPrefix(rest, value) {
			if after := rest[len(value):]; after == "" || strings.ContainsRune(delimiters, rune(after[0])) {
				return true
			}
		}
	}
	return false
}
