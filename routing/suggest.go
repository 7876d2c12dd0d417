// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxShown bounds how much of a user's text a message repeats.
const maxShown = 60

// shorten makes a text fit to be shown: on one line, and not too long.
func shorten(s string) string {
	if strings.ContainsFunc(s[:min(len(s), 4*maxShown)], unicode.IsControl) {
		s = strings.Map(func(c rune) rune {
			if unicode.IsControl(c) {
				return unicode.ReplacementChar
			}
			return c
		}, s[:min(len(s), 4*maxShown)])
	}
	if utf8.RuneCountInString(s) <= maxShown {
		return s
	}
	return string([]rune(s[:min(len(s), 4*maxShown)])[:maxShown-3]) + "..."
}

// quote shows a user's text in a message.
func quote(s string) string {
	if len(s) <= maxShown {
		return strconv.Quote(s)
	}
	return strconv.Quote(shorten(s))
}

// choices names what is allowed: a, b or c.
func choices(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// suggest returns the known word that a user may have meant, or "". Words
// that differ only in letter case or separators come first, then those that
// are at most one edit in three letters away.
func suggest(word string, known []string) string {
	if len(word) == 0 || len(word) > maxShown {
		return ""
	}
	folded := fold(word)
	best, nearest := "", len(folded)/3+1
	for _, k := range known {
		f := fold(k)
		if f == folded {
			return k
		}
		if d := distance(folded, f); d < nearest {
			best, nearest = k, d
		}
	}
	return best
}

// fold removes what people vary without noticing.
func fold(s string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "", " ", "", ".", "").Replace(s))
}

// distance counts the insertions, deletions, replacements and swaps of
// neighbours that make b of a (optimal string alignment).
func distance(a, b string) int {
	before, above := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replaced := above[j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			row[j] = min(replaced, above[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above = above, row
	}
	return above[len(b)]
}
