// SPDX-License-Identifier: Apache-2.0

package marathontest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// labelSelector chooses apps by their labels; the zero one chooses all.
type labelSelector []labelTerm

// labelTerm holds of an app whose label has one of the values, or any value at
// all if there are none; or of all others if it is negated.
type labelTerm struct {
	name    string
	values  []string
	negated bool
}

var (
	labelList  = regexp.MustCompile(`^([^\s=!,()]+)\s+(in|notin)\s*\(([^()]*)\)$`)
	labelEqual = regexp.MustCompile(`^([^\s=!,()]+)\s*(==|!=)\s*([^\s=!,()]+)$`)
	labelAny   = regexp.MustCompile(`^(!?)\s*([^\s=!,()]+)$`)
)

// parseLabels reads a, a==b, a!=b, a in (x,y) and a notin (x,y), with commas
// between terms that must all hold.
func parseLabels(text string) (labelSelector, error) {
	var s labelSelector
	for term := range terms(text) {
		if m := labelList.FindStringSubmatch(term); m != nil {
			var values []string
			for v := range strings.SplitSeq(m[3], ",") {
				values = append(values, strings.TrimSpace(v))
			}
			s = append(s, labelTerm{m[1], values, m[2] == "notin"})
		} else if m := labelEqual.FindStringSubmatch(term); m != nil {
			s = append(s, labelTerm{m[1], []string{m[3]}, m[2] == "!="})
		} else if m := labelAny.FindStringSubmatch(term); m != nil {
			s = append(s, labelTerm{m[2], nil, m[1] != ""})
		} else {
			return nil, fmt.Errorf("label selector: %q is no term", term)
		}
	}
	return s, nil
}

// terms yields what stands between commas outside of brackets.
func terms(text string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		if strings.TrimSpace(text) == "" {
			return
		}
		depth, start := 0, 0
		for i := range len(text) {
			switch text[i] {
			case '(':
				depth++
			case ')':
				depth--
			case ',':
				if depth == 0 {
					if !yield(strings.TrimSpace(text[start:i])) {
						return
					}
					start = i + 1
				}
			}
		}
		yield(strings.TrimSpace(text[start:]))
	}
}

func (s labelSelector) holds(labels map[string]string) bool {
	for _, term := range s {
		value, has := labels[term.name]
		if (has && (term.values == nil || slices.Contains(term.values, value))) == term.negated {
			return false
		}
	}
	return true
}
