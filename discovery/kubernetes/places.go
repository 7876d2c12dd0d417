// SPDX-License-Identifier: Apache-2.0

package kubernetes

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// LabelEnvironment is the label of Kubernetes namespaces that says whose is
// what stands in them: organisation.environment.
const LabelEnvironment = "sluice.dev/environment"

// codeEnvironment is the code of the fault of a label that names no
// environment.
const codeEnvironment = "UnreadableEnvironment"

// Places is whose the Kubernetes namespaces are, by flags and by labels. It is
// not changed once it was handed on.
type Places struct {
	// Environments tell by Kubernetes namespace whose is what stands in it,
	// organisation/environment. What stands elsewhere is of whoever runs the
	// source.
	Environments map[string]string
	// Homes tell by organisation/environment in which Kubernetes namespace that
	// is made which its gateways need: the one that was named, else the oldest
	// of those with its label, by name where two are of one age.
	Homes map[string]string
}

// places is what is known of Kubernetes namespaces. It does no I/O and is not
// safe for concurrent use.
type places struct {
	own   string            // whose all is that stands nowhere else
	named map[string]string // by Kubernetes namespace; what it says wins
	show  func(Places)      // is called with what is, whenever it is another
	warn  func(*routing.Fault)

	known map[string]*labelled
	gone  map[string]bool // those of known that are no more, in which something stands
	only  map[string]bool // those of known that are remembered, and not seen yet
	wrong map[string]bool // those whose label was told to be wrong

	now   Places
	stale bool   // now may be another
	moves uint64 // grows when now becomes another
	news  waiting
}

// labelled is what counts of a Kubernetes namespace.
type labelled struct {
	value string // of the label
	is    bool   // there is such a label
	born  time.Time

	of string // whose it is: what the label said when it could be read last
}

func newPlaces(own string, named map[string]string, show func(Places)) *places {
	if show == nil {
		show = func(Places) {}
	}
	p := &places{
		own: own, named: named, show: show, warn: func(*routing.Fault) {}, known: make(map[string]*labelled), gone: make(map[string]bool),
		only: make(map[string]bool), wrong: make(map[string]bool), news: make(waiting),
	}
	p.now = p.compute()
	p.show(p.now)
	return p
}

// readNamespace cuts a Kubernetes namespace to what counts.
func readNamespace(m *metav1.PartialObjectMetadata) *labelled {
	value, is := m.Labels[LabelEnvironment]
	return &labelled{value: strings.Clone(value), is: is, born: m.CreationTimestamp.Time}
}

// parseEnvironment reads the value of a label, ORGANISATION.ENVIRONMENT, as
// ORGANISATION/ENVIRONMENT; false if it is none.
func parseEnvironment(value string) (string, bool) {
	organisation, environment, ok := strings.Cut(value, ".")
	if !ok || !isSegment(organisation) || !isSegment(environment) {
		return "", false
	}
	return organisation + "/" + environment, true
}

// isSegment reports whether a text may be the name of an organisation or of an
// environment.
func isSegment(text string) bool {
	return text != "" && len(text) <= 63 &&
		!strings.ContainsFunc(text, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' })
}

// set takes note of a Kubernetes namespace as it is now, nil if it is no more.
// What stood in one that is no more stays whose it was until that is gone, too:
// word of it may come later.
func (p *places) set(n name, l *labelled) {
	place := n.name
	was := p.known[place]
	delete(p.only, place)
	p.stale = true
	if l == nil {
		p.tellFault(place, nil)
		if was != nil && was.of != "" {
			p.gone[place] = true
		} else {
			delete(p.known, place)
		}
		return
	}
	delete(p.gone, place)
	p.known[place] = l
	_, named := p.named[place]
	switch of, ok := parseEnvironment(l.value); {
	case ok:
		l.of = of
		p.tellFault(place, nil)
	case !l.is || named:
		p.tellFault(place, nil)
	default:
		if was != nil {
			l.of = was.of
		}
		p.tellFault(place, environmentFault(place, l))
	}
}

// environmentFault says what is wrong with a label, and whose its namespace is
// all the same.
func environmentFault(place string, l *labelled) *routing.Fault {
	stays := "as if it had none"
	if l.of != "" {
		stays = "and what stands there is of " + l.of + " on"
	}
	return &routing.Fault{
		Code: codeEnvironment, At: routing.Position{Source: namespaceKey(place)},
		Problem: fmt.Sprintf("the label %s of the Kubernetes namespace is %q, which names no environment, %s", LabelEnvironment, l.value, stays),
		Allowed: "ORGANISATION.ENVIRONMENT, each of a-z, 0-9 and -, such as acme.prod",
	}
}

func namespaceKey(place string) string { return "namespaces/" + place }

// tellFault tells what is wrong with a Kubernetes namespace; nil if nothing is.
func (p *places) tellFault(place string, f *routing.Fault) {
	switch {
	case f != nil:
		p.wrong[place] = true
		p.warn(f)
		p.news.add(discovery.Update{Key: namespaceKey(place), Faults: []*routing.Fault{f}})
	case p.wrong[place]:
		delete(p.wrong, place)
		p.news.add(discovery.Update{Key: namespaceKey(place), Gone: true})
	}
}

// listed takes note that all Kubernetes namespaces were listed: what is only
// remembered is not there any more. Of a list of none that is not believed.
func (p *places) listed() {
	if len(p.only) == len(p.known) {
		return
	}
	for place := range p.only {
		p.gone[place] = true
	}
	clear(p.only)
	p.stale = true
}

// left forgets those that are no more and in which nothing stands, and reports
// whether that makes a difference.
func (p *places) left(stands map[string]bool) bool {
	n := len(p.gone)
	for place := range p.gone {
		if !stands[place] {
			delete(p.gone, place)
			delete(p.known, place)
			p.stale = true
		}
	}
	return len(p.gone) != n
}

// refresh works out whose the Kubernetes namespaces are by now.
func (p *places) refresh() {
	if !p.stale {
		return
	}
	p.stale = false
	next := p.compute()
	if maps.Equal(next.Environments, p.now.Environments) && maps.Equal(next.Homes, p.now.Homes) {
		return
	}
	p.now = next
	p.moves++
	p.show(next)
}

// compute returns whose the Kubernetes namespaces are.
func (p *places) compute() Places {
	now := Places{Environments: make(map[string]string), Homes: make(map[string]string)}
	for place, of := range p.named {
		if of != p.own {
			now.Environments[place] = of
		}
		now.Homes[of] = place
	}
	byAge := slices.SortedFunc(maps.Keys(p.known), func(a, b string) int {
		return cmp.Or(p.known[a].born.Compare(p.known[b].born), strings.Compare(a, b))
	})
	for _, place := range byAge {
		of := p.known[place].of
		if _, named := p.named[place]; named || of == "" || of == p.own {
			continue
		}
		now.Environments[place] = of
		if now.Homes[of] == "" && !p.gone[place] {
			now.Homes[of] = place
		}
	}
	return now
}

// of returns whose is what stands in a Kubernetes namespace; empty means that of
// whoever runs the source.
func (p *places) of(place string) string { return p.now.Environments[place] }

// placed is what is remembered of a Kubernetes namespace.
type placed struct {
	Of   string
	Born time.Time
}

// remembered returns what labels say, to be remembered.
func (p *places) remembered() map[string]placed {
	all := make(map[string]placed)
	for place, l := range p.known {
		if l.of != "" && !p.gone[place] {
			all[place] = placed{l.of, l.born}
		}
	}
	return all
}

// recall takes note of what labels said before the start.
func (p *places) recall(before map[string]placed) {
	for place, b := range before {
		p.known[place] = &labelled{born: b.Born, of: b.Of}
		p.only[place] = true
	}
	p.stale = true
	p.refresh()
}
