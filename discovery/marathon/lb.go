// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// The codes of faults of labels.
const (
	codeLabel      = "UnsupportedLabel"
	codeWrongLabel = "InvalidLabel"
	codeAppID      = "UnsupportedAppID"
	codePortTaken  = "PortTakenByAnother"
	codeNoPort     = "NoAvailablePort"
	codeShadowed   = "PathTakenByAnother"
	codeColours    = "DeploymentGroupOfMany"
)

// allGroups is the group of those who serve all apps, also those of no group.
const allGroups = "*"

// Service ports that are made up for ports which have none.
const (
	firstInvented = 10050
	lastInvented  = 10100
)

// labelOptions say what is made of labels.
type labelOptions struct {
	// groups are those whose apps become gateways; none means that labels make
	// none. Which tasks of deployment groups rest is found all the same.
	groups []string
	// idle has apps without tasks keep their routes where others have tasks.
	idle bool
	// certificates are files with certificate and key that all hosts show.
	certificates []string
	// space says whose an app is, organisation/environment; nil means that all
	// are of whoever runs the source.
	space func(id string) string
}

// labels is what is known of the labels of all apps, and which gateways were
// told. It does no I/O and is not safe for concurrent use.
type labels struct {
	o labelOptions

	apps    map[string]*app
	read    map[string]*lbApp          // of apps that say anything
	members map[nameIn]map[string]bool // ids of the apps of a deployment group
	atRest  map[string]map[string]bool // ids of tasks, by that of their app
	linked  map[nameIn][]*offer        // what an app or a deployment group offers
	hosts   map[nameIn]map[*offer]bool // by host
	ports   map[nameIn]map[*offer]bool // by number
	made    map[portOf]int             // service ports that were made up

	unplaced  map[nameIn]bool // apps with a port for which none was left
	freed     bool            // a port has become free that one of them could have
	unsettled map[nameIn]bool // deployment groups of which something has changed
	stale     map[nameIn]bool // apps and deployment groups whose offers may have changed
	touched   map[nameIn]bool // gateways that may have changed
	told      map[string]toldText
	faults    map[string][]*routing.Fault // by key
	news      map[string]discovery.Update
}

// nameIn is a name within a namespace: of an app, a deployment group, a host or
// a port.
type nameIn struct{ space, name string }

func (p nameIn) compare(o nameIn) int {
	return cmp.Or(strings.Compare(p.space, o.space), strings.Compare(p.name, o.name))
}

// portOf is a port of an app.
type portOf struct {
	id    string
	index int
}

// toldText is what was told of a gateway.
type toldText struct {
	sum    [sha256.Size]byte
	docs   []*routing.Document
	faults []*routing.Fault
}

// newLabels returns what knows of no app yet.
func newLabels(o labelOptions) *labels {
	if o.space == nil {
		o.space = func(string) string { return "" }
	}
	return &labels{
		o: o, apps: make(map[string]*app), read: make(map[string]*lbApp), members: make(map[nameIn]map[string]bool),
		atRest: make(map[string]map[string]bool), linked: make(map[nameIn][]*offer), hosts: make(map[nameIn]map[*offer]bool),
		ports: make(map[nameIn]map[*offer]bool), made: make(map[portOf]int), unplaced: make(map[nameIn]bool), unsettled: make(map[nameIn]bool),
		stale: make(map[nameIn]bool), touched: make(map[nameIn]bool), told: make(map[string]toldText),
		faults: make(map[string][]*routing.Fault), news: make(map[string]discovery.Update),
	}
}

// put takes note of an app as it is now.
func (l *labels) put(a *app) {
	was := l.apps[a.id]
	l.apps[a.id] = a
	if was == nil || !sameOffers(was, a) {
		l.leave(a.id)
		l.read[a.id] = l.kept(a)
		if group := l.group(a.id); group != (nameIn{}) {
			enter(l.members, group, a.id)
		}
		l.stale[l.owner(a.id)] = true
		l.tellApp(a.id)
	} else if (len(was.tasks) > 0) != (len(a.tasks) > 0) {
		l.stale[l.owner(a.id)] = true
	}
	if group := l.group(a.id); group != (nameIn{}) {
		l.unsettled[group] = true
	}
}

// kept returns what counts of what the labels of an app say, nil if nothing
// does: most apps of a cluster are of other groups.
func (l *labels) kept(a *app) *lbApp {
	if _, coloured := a.label(lbDeploymentGroup); len(l.o.groups) == 0 && !coloured {
		return nil
	}
	read := readLabels(a)
	if read.colour.group == "" && !slices.ContainsFunc(read.offers, func(o *offer) bool { return l.meets(o.groups) }) {
		return nil
	}
	read.notes = slices.DeleteFunc(read.notes, func(n labelNote) bool { return n.result != NotSupported && n.result != Wrong })
	return read
}

// remove takes note that an app is no more.
func (l *labels) remove(id string) {
	if l.apps[id] == nil {
		return
	}
	l.leave(id)
	delete(l.apps, id)
	delete(l.read, id)
	delete(l.atRest, id)
	maps.DeleteFunc(l.made, func(p portOf, _ int) bool { return p.id == id })
	l.tellApp(id)
}

// leave takes an app out of what it was a part of.
func (l *labels) leave(id string) {
	l.stale[l.owner(id)] = true
	if group := l.group(id); group != (nameIn{}) {
		l.unsettled[group] = true
		strike(l.members, group, id)
	}
}

// sameOffers reports whether two forms of an app are the same as far as labels
// go: but for their tasks.
func sameOffers(a, b *app) bool {
	return a.spec == b.spec || slices.Equal(a.labels, b.labels) &&
		slices.EqualFunc(a.ports, b.ports, func(p, q port) bool { return p.service == q.service && p.tcp == q.tcp }) &&
		slices.EqualFunc(a.checks, b.checks, func(c, d check) bool {
			return c.protocol == d.protocol && c.port == d.port && c.index == d.index
		})
}

// group returns the deployment group of an app; the zero nameIn if it has none.
func (l *labels) group(id string) nameIn {
	if read := l.read[id]; read != nil && read.colour.group != "" {
		return nameIn{l.o.space(id), read.colour.group + groupMark}
	}
	return nameIn{}
}

// groupMark ends the names of deployment groups, so that none is that of an app.
const groupMark = " "

// owner returns what the ports of an app are offered as: the app, or its
// deployment group.
func (l *labels) owner(id string) nameIn {
	if group := l.group(id); group != (nameIn{}) {
		return group
	}
	return nameIn{l.o.space(id), id}
}

// settle finds which tasks of deployment groups rest. It returns the ids of the
// apps of which others do than before.
func (l *labels) settle(alive func(a *app, t *task) bool) (stirred []string) {
	for group := range l.unsettled {
		apps := l.painted(group)
		for i := range apps {
			var resting map[string]bool
			if i == 0 {
				resting = rests(apps, alive)
			}
			id := apps[i].id
			if maps.Equal(l.atRest[id], resting) {
				continue
			}
			stirred = append(stirred, id)
			if resting == nil {
				delete(l.atRest, id)
			} else {
				l.atRest[id] = resting
			}
		}
		l.stale[group] = true // another app may be the older one
		for id := range l.members[group] {
			l.tellApp(id) // it may be one of too many
		}
	}
	clear(l.unsettled)
	for id := range l.atRest { // of those that have left their group
		if l.group(id) == (nameIn{}) {
			delete(l.atRest, id)
			stirred = append(stirred, id)
		}
	}
	slices.Sort(stirred)
	return stirred
}

// painted returns the apps of a deployment group, the oldest first.
func (l *labels) painted(group nameIn) []painted {
	var apps []painted
	for id := range l.members[group] {
		apps = append(apps, painted{l.apps[id], l.read[id].colour})
	}
	return elders(apps)
}

// resting returns the ids of the tasks of an app that get no new requests; nil
// if there are none. It is not to be changed.
func (l *labels) resting(id string) map[string]bool {
	return l.atRest[id]
}

// take returns what has changed since it was called last, sorted by key.
func (l *labels) take() []discovery.Update {
	var next []*offer
	spaces := make(map[*offer]string)
	anew := func(owners map[nameIn]bool) {
		sorted := slices.SortedFunc(maps.Keys(owners), nameIn.compare)
		clear(owners)
		for _, owner := range sorted {
			l.unlink(owner)
			for _, o := range l.offers(owner) {
				l.linked[owner] = append(l.linked[owner], o)
				next = append(next, o)
				spaces[o] = owner.space
			}
		}
	}
	anew(l.stale)
	anew(l.ousted(next, spaces))
	if l.freed { // perhaps for one that has found no port
		l.freed = false
		anew(l.unplaced)
	}
	slices.SortStableFunc(next, func(a, b *offer) int { return cmp.Compare(b.listening(), a.listening()) }) // those without one last
	for _, o := range next {
		l.link(spaces[o], o)
	}
	for _, o := range next {
		if o.listening() == 0 || l.made[portOf{o.ids[0], o.index}] != 0 {
			l.tellApp(o.ids[0]) // whether a port was left for it
		}
	}
	for _, at := range slices.SortedFunc(maps.Keys(l.touched), nameIn.compare) {
		l.tellGateway(at)
	}
	clear(l.touched)
	news := slices.Collect(maps.Values(l.news))
	slices.SortFunc(news, func(a, b discovery.Update) int { return strings.Compare(a.Key, b.Key) })
	clear(l.news)
	return news
}

// offers returns what an app or a deployment group offers to the groups that
// are served.
func (l *labels) offers(owner nameIn) []*offer {
	name, grouped := strings.CutSuffix(owner.name, groupMark)
	if !grouped {
		if read := l.read[name]; read != nil && l.owner(name) == owner && selectable(name) {
			return l.served(read, l.apps[name])
		}
		return nil
	}
	apps := l.painted(owner)
	if len(apps) == 0 {
		return nil
	}
	ids := slices.Sorted(maps.Keys(l.members[owner]))
	serving := l.o.idle || slices.ContainsFunc(apps, func(p painted) bool { return len(p.tasks) > 0 })
	all := l.served(l.read[apps[0].id], apps[0].app)
	for _, o := range all {
		o.app, o.ids, o.serving = name, ids, serving
	}
	return all
}

// served returns copies of the offers of an app that are for the groups that
// are served.
func (l *labels) served(read *lbApp, a *app) []*offer {
	var all []*offer
	for _, o := range read.offers {
		if l.serves(o) {
			one := *o
			one.serving = l.o.idle || len(a.tasks) > 0
			all = append(all, &one)
		}
	}
	return all
}

// serves reports whether a port is offered to one of the groups that are
// served.
func (l *labels) serves(o *offer) bool {
	return !o.dropped && o.enabled && l.meets(o.groups)
}

func (l *labels) meets(groups []string) bool {
	return slices.ContainsFunc(l.o.groups, func(g string) bool { return g == allGroups || slices.Contains(groups, g) })
}

// listening returns at which port an offer is reached; 0 if that is made up.
func (o *offer) listening() int { return cmp.Or(o.listen, o.service) }

// link enters an offer with its hosts and its port.
func (l *labels) link(space string, o *offer) {
	for _, host := range o.hosts {
		at := nameIn{space, host}
		enter(l.hosts, at, o)
		l.touched[at] = true
	}
	if o.service == 0 {
		o.service = cmp.Or(o.listen, l.invent(space, o))
	}
	if o.hostsOnly || o.closed {
		return
	}
	if o.listening() == 0 {
		l.unplaced[l.owner(o.ids[0])] = true
		return
	}
	at := nameIn{space, strconv.Itoa(o.listening())}
	enter(l.ports, at, o)
	l.touched[at] = true
}

// unlink takes out what an app or a deployment group offered before.
func (l *labels) unlink(owner nameIn) {
	for _, o := range l.linked[owner] {
		for _, host := range o.hosts {
			at := nameIn{owner.space, host}
			strike(l.hosts, at, o)
			l.touched[at] = true
		}
		n := o.listening()
		at := nameIn{owner.space, strconv.Itoa(n)}
		strike(l.ports, at, o)
		l.touched[at] = true
		l.freed = l.freed || n >= firstInvented && n <= lastInvented
	}
	delete(l.linked, owner)
	delete(l.unplaced, owner)
}

// ousted returns whose service ports were made up, and are such as others ask
// for now: these have them, as they had after a start.
func (l *labels) ousted(next []*offer, spaces map[*offer]string) map[nameIn]bool {
	owners := make(map[nameIn]bool)
	for _, o := range next {
		n := o.listening()
		if n < firstInvented || n > lastInvented || o.hostsOnly || o.closed {
			continue
		}
		for other := range l.ports[nameIn{spaces[o], strconv.Itoa(n)}] {
			if of := (portOf{other.ids[0], other.index}); other.listen == 0 && l.made[of] == n {
				delete(l.made, of)
				owners[l.owner(other.ids[0])] = true
			}
		}
	}
	return owners
}

// invent returns a service port for a port that has none: always the same one,
// as long as it is not that of another; 0 if all are taken.
func (l *labels) invent(space string, o *offer) int {
	of := portOf{o.ids[0], o.index}
	if n := l.made[of]; n != 0 && l.ports[nameIn{space, strconv.Itoa(n)}] == nil {
		return n
	}
	delete(l.made, of)
	n, ok := routing.FreePort(o.app+":"+strconv.Itoa(o.index), firstInvented, lastInvented, func(n int) bool {
		return l.ports[nameIn{space, strconv.Itoa(n)}] != nil
	})
	if !ok {
		return 0
	}
	l.made[of] = n
	return n
}

func enter[K comparable, V comparable](m map[K]map[V]bool, key K, v V) {
	if m[key] == nil {
		m[key] = make(map[V]bool)
	}
	m[key][v] = true
}

func strike[K comparable, V comparable](m map[K]map[V]bool, key K, v V) {
	delete(m[key], v)
	if len(m[key]) == 0 {
		delete(m, key)
	}
}

// gatewayKey is the key of what is told of a gateway.
func gatewayKey(at nameIn) string { return labelsIn(at.space) + gatewayOf(at.name) }

// labelsIn begins the keys of what labels come to. What begins its second
// part is in no name of a gateway.
func labelsIn(space string) string {
	if space == "" {
		return "labels/"
	}
	return "labels/-" + strings.Replace(space, "/", ".", 1) + "/"
}

// tellGateway tells of the gateway of a host or a port as it is now, if that is
// new.
func (l *labels) tellGateway(at nameIn) {
	key := gatewayKey(at)
	before, told := l.told[key]
	if len(l.hosts[at])+len(l.ports[at]) == 0 {
		if told {
			delete(l.told, key)
			l.news[key] = discovery.Update{Key: key, Gone: true}
		}
		return
	}
	w := l.write(at)
	text := w.text()
	faults := w.faults()
	sum := sha256.Sum256([]byte(text))
	same := told && sum == before.sum
	if same && slices.EqualFunc(faults, before.faults, sameFault) {
		return
	}
	next := toldText{sum: sum, docs: before.docs, faults: faults}
	if !same {
		var wrong []*routing.Fault
		next.docs, wrong = routing.Read(key, []byte(text))
		faults = append(slices.Clip(faults), wrong...)
	}
	l.told[key] = next
	l.news[key] = discovery.Update{Key: key, Namespace: at.space, Documents: next.docs, Faults: faults}
}

// write writes the gateway of a host or a port as it is now.
func (l *labels) write(at nameIn) *gatewayWriter {
	w := &gatewayWriter{key: gatewayKey(at), name: gatewayOf(at.name)}
	if hosts := l.hosts[at]; len(hosts) > 0 {
		w.host(at.name, slices.SortedFunc(maps.Keys(hosts), (*offer).compare), l.o.certificates)
	} else {
		w.port(slices.SortedFunc(maps.Keys(l.ports[at]), (*offer).compare))
	}
	return w
}

func sameFault(a, b *routing.Fault) bool { return *a == *b }

// tellApp tells what is wrong with the labels of an app, if that is new.
func (l *labels) tellApp(id string) {
	space := l.o.space(id)
	key := labelsIn(space) + "apps" + id
	faults := l.faultsOf(id, key)
	before, told := l.faults[key]
	switch {
	case len(faults) > 0 && !slices.EqualFunc(faults, before, sameFault):
		l.faults[key] = faults
		l.news[key] = discovery.Update{Key: key, Namespace: space, Faults: faults}
	case len(faults) == 0 && told:
		delete(l.faults, key)
		l.news[key] = discovery.Update{Key: key, Gone: true}
	}
}

// faultsOf returns what is wrong with the labels of an app that is served.
func (l *labels) faultsOf(id, key string) []*routing.Fault {
	read := l.read[id]
	if read == nil || l.apps[id] == nil || !slices.ContainsFunc(read.offers, func(o *offer) bool { return l.meets(o.groups) }) {
		return nil
	}
	var faults []*routing.Fault
	warn := func(code, path, problem string) {
		faults = append(faults, &routing.Fault{Code: code, At: routing.Position{Source: key}, Path: path, Problem: problem, Severity: routing.Warning})
	}
	if n := len(l.members[l.group(id)]); n > 2 {
		warn(codeColours, lbDeploymentGroup, fmt.Sprintf("the deployment group has %d apps, not two: the tasks of all of them serve, with the labels of the oldest", n))
	}
	for _, o := range l.linked[l.owner(id)] {
		if o.listening() == 0 && !o.hostsOnly && !o.closed && o.ids[0] == id {
			warn(codeNoPort, lbPrefix+strconv.Itoa(o.index)+"_"+labelPort,
				fmt.Sprintf("the port has no service port, and all of %d to %d are taken, so it is offered by its hosts alone; write one", firstInvented, lastInvented))
		}
	}
	if !selectable(id) {
		warn(codeAppID, "id", "no selector can ask for "+quoted(id)+", so its labels make no gateways")
	}
	for _, n := range read.notes {
		if n.port >= 0 && !l.meets(read.offers[n.port].groups) {
			continue
		}
		switch n.result {
		case NotSupported:
			warn(codeLabel, n.label, n.note)
		case Wrong:
			warn(codeWrongLabel, n.label, n.note)
		default:
			continue
		}
		if of := read.offers[max(0, n.port)].gateway(); of != "" { // its status shows it, too
			last := faults[len(faults)-1]
			last.Kind, last.Name = "gateways", of
		}
	}
	return faults
}

// gateway names a gateway that is made of an offer; empty if none is.
func (o *offer) gateway() string {
	switch {
	case o.dropped || !o.enabled:
		return ""
	case len(o.hosts) > 0:
		return gatewayOf(o.hosts[0])
	case o.hostsOnly || o.closed || o.listening() == 0:
		return ""
	}
	return gatewayOf(strconv.Itoa(o.listening()))
}
