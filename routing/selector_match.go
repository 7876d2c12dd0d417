// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"crypto/sha1" // it names routes as Vamp does; nothing is secured by it
	"encoding/hex"
	"slices"
	"strings"
	"unicode"
)

// Group is a set of instances that a selector gave the same captures.
type Group struct {
	Name      string      // of the route that it becomes, such as (1.0.3),(eu)
	Instances []*Instance // sorted by address, each address once; at least one
}

// Instances are all instances that selectors may ask for, indexed. They are
// safe for concurrent use as long as nobody replaces any.
type Instances struct {
	all         []*Instance
	byLabel     map[Label][]*Instance
	byName      map[string][]*Instance // by Name and by ID
	byNamespace map[string][]*Instance
	byAddress   map[string][]*Instance // by the nameKey of each of Names
}

// NewInstances indexes a list, which is not changed afterwards.
func NewInstances(list []*Instance) *Instances {
	is := &Instances{
		all: slices.Clone(list), byLabel: make(map[Label][]*Instance),
		byName: make(map[string][]*Instance), byNamespace: make(map[string][]*Instance), byAddress: make(map[string][]*Instance),
	}
	for _, i := range list {
		is.each(i, func(in []*Instance) []*Instance { return append(in, i) })
	}
	return is
}

// Replace takes an instance away and adds another one; either may be nil. The
// one that is taken away must be there. What selectors found before does not
// change.
func (is *Instances) Replace(old, next *Instance) {
	if old != nil {
		without := func(in []*Instance) []*Instance {
			at := slices.Index(in, old)
			last := len(in) - 1
			in[at], in[last] = in[last], nil
			return in[:last]
		}
		is.all = without(is.all)
		is.each(old, without)
	}
	if next != nil {
		is.all = append(is.all, next)
		is.each(next, func(in []*Instance) []*Instance { return append(in, next) })
	}
}

// each changes every list that an instance is in, but that of all.
func (is *Instances) each(i *Instance, change func([]*Instance) []*Instance) {
	set(is.byName, i.Name, change)
	if i.ID != "" && i.ID != i.Name {
		set(is.byName, i.ID, change)
	}
	set(is.byNamespace, i.Namespace, change)
	for _, key := range i.nameKeys() {
		set(is.byAddress, key, change)
	}
	for k, l := range i.Labels {
		if !slices.Contains(i.Labels[:k], l) {
			set(is.byLabel, l, change)
		}
	}
}

// set changes a list, and takes it away if nothing is left in it.
func set[K comparable](m map[K][]*Instance, key K, change func([]*Instance) []*Instance) {
	if list := change(m[key]); len(list) > 0 {
		m[key] = list
	} else {
		delete(m, key)
	}
}

// Groups returns the groups of the instances that the selector matches,
// sorted by name. namespace is what $namespace stands for.
func (s *Selector) Groups(is *Instances, namespace string) []Group {
	byName := make(map[string][]*Instance)
	m := matcher{namespace: namespace}
	for _, i := range s.candidates(is, namespace) {
		m.values = m.values[:0]
		if s.matches(i, &m) {
			name := groupName(m.values)
			byName[name] = append(byName[name], i)
		}
	}
	groups := make([]Group, 0, len(byName))
	for name, list := range byName {
		groups = append(groups, Group{Name: name, Instances: byAddress(list)})
	}
	slices.SortFunc(groups, func(a, b Group) int { return strings.Compare(a.Name, b.Name) })
	return groups
}

// matching returns the instances that the selector matches, whatever their
// groups, sorted by address, each address once.
func (s *Selector) matching(is *Instances, namespace string) []*Instance {
	var list []*Instance
	m := matcher{namespace: namespace}
	for _, i := range s.candidates(is, namespace) {
		if s.matches(i, &m) {
			list = append(list, i)
		}
	}
	return byAddress(list)
}

// byAddress sorts instances by address and leaves one at each: the one that
// was first in the list.
func byAddress(list []*Instance) []*Instance {
	slices.SortStableFunc(list, func(a, b *Instance) int { return a.AddrPort().Compare(b.AddrPort()) })
	return slices.CompactFunc(list, func(a, b *Instance) bool { return a.AddrPort() == b.AddrPort() })
}

// candidates returns instances among which are all that the selector can
// match: the fewest that an index knows.
func (s *Selector) candidates(is *Instances, namespace string) []*Instance {
	switch s.op {
	case selectFalse:
		return nil
	case selectAnd:
		x, y := s.x.candidates(is, namespace), s.y.candidates(is, namespace)
		if len(y) < len(x) {
			return y
		}
		return x
	case selectOr:
		x, y := s.x.candidates(is, namespace), s.y.candidates(is, namespace)
		switch {
		case len(x) == 0:
			return y
		case len(y) == 0:
			return x
		case len(x)+len(y) >= len(is.all):
			return is.all
		}
		return slices.Concat(x, y) // those of both stand twice, which does no harm
	case selectTest:
		return s.test.candidates(is, namespace)
	default:
		return is.all
	}
}

func (t *selectorTest) candidates(is *Instances, namespace string) []*Instance {
	first, second := &t.args[0], &t.args[1]
	switch {
	case t.subject == subjectLabel && first.literal && second.literal:
		return is.byLabel[Label{first.plain, second.plain}]
	case t.subject == subjectName && first.literal:
		return is.byName[first.plain]
	case t.subject == subjectNamespace && first.literal:
		return is.byNamespace[first.plain]
	case t.subject == subjectNamespace && first.own:
		return is.byNamespace[namespace]
	default:
		return is.all
	}
}

// matcher collects what one instance is captured by.
type matcher struct {
	namespace string
	values    []string // of the group
}

// matches reports whether an instance is meant, and adds the values of all
// operands that match to those of m.
func (s *Selector) matches(i *Instance, m *matcher) bool {
	before := len(m.values)
	matched := false
	switch s.op {
	case selectTrue:
		return true
	case selectFalse:
		return false
	case selectNot:
		matched = !s.x.matches(i, m)
		m.values = m.values[:before]
		return matched
	case selectAnd:
		matched = s.x.matches(i, m) && s.y.matches(i, m)
	case selectOr:
		// Both are asked: either may contribute values.
		x := s.x.matches(i, m)
		matched = s.y.matches(i, m) || x
	case selectTest:
		matched = s.test.matches(i, m)
	}
	if !matched {
		m.values = m.values[:before]
	}
	return matched
}

func (t *selectorTest) matches(i *Instance, m *matcher) bool {
	switch t.subject {
	case subjectName:
		return t.matchesText(i.Name, m) || i.ID != "" && t.matchesText(i.ID, m)
	case subjectKind:
		return t.matchesText(i.Kind, m)
	case subjectNamespace:
		if t.args[0].own {
			return i.Namespace == m.namespace
		}
		return t.matchesText(i.Namespace, m)
	case subjectImage:
		return i.Image != "" && t.matchesText(i.Image, m)
	case subjectLabel:
		return t.matchesLabel(i, m)
	case subjectAddress:
		return t.matchesText(i.Address.Unmap().String(), m)
	case subjectPort:
		return i.declared() == t.number
	default:
		return i.Index == t.number
	}
}

func (t *selectorTest) matchesText(text string, m *matcher) bool {
	value, captured, ok := t.args[0].match(text)
	if captured {
		m.values = append(m.values, value)
	}
	return ok
}

// matchesLabel finds the first label of which name and value match.
func (t *selectorTest) matchesLabel(i *Instance, m *matcher) bool {
	for _, l := range i.Labels {
		name, nameCaptured, ok := t.args[0].match(l.Name)
		if !ok {
			continue
		}
		value, valueCaptured, ok := t.args[1].match(l.Value)
		if !ok {
			continue
		}
		switch {
		case nameCaptured && valueCaptured:
			m.values = append(m.values, name+"="+value)
		case nameCaptured:
			m.values = append(m.values, name)
		case valueCaptured:
			m.values = append(m.values, value)
		}
		return true
	}
	return false
}

// match reports whether the pattern matches the whole of text, and what its
// group captured if it has one.
func (p *pattern) match(text string) (value string, captured, ok bool) {
	switch {
	case p.literal:
		return "", false, text == p.plain
	case p.any && !strings.ContainsAny(text, "\n\r\u0085\u2028\u2029"):
		return text, p.text != ".*", true
	case p.re.NumSubexp() == 0:
		return "", false, p.re.MatchString(text)
	}
	at := p.re.FindStringSubmatchIndex(text)
	if at == nil {
		return "", false, false
	}
	if at[2] < 0 {
		return "", false, true // the group took no part
	}
	return text[at[2]:at[3]], true, true
}

// declared returns the number of the port as its owner declared it.
func (i *Instance) declared() int {
	if i.Declared != 0 {
		return i.Declared
	}
	return i.Port
}

// groupName returns the name of the route that a set of values becomes.
func groupName(values []string) string {
	slices.Sort(values)
	values = slices.Compact(values)
	name := "(" + strings.Join(values, "),(") + ")"
	if !strings.ContainsFunc(name, func(c rune) bool { return unicode.IsSpace(c) || strings.ContainsRune("/[]", c) }) {
		return name
	}
	sum := sha1.Sum([]byte(name))
	return strings.TrimLeft(hex.EncodeToString(sum[:]), "0") + "0000"
}
