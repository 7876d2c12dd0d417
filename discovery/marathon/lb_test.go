// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"go.yaml.in/yaml/v3"

	"github.com/sluice-mesh/sluice/conditions"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/routing/routingtest"
)

// TestLabels plays text cases: what Marathon answers, then what is reported of
// its labels, which updates were told, the gateways as people would write
// them, and where requests go. A request is HOST/PATH, or :PORT/PATH, with
// fields as NAME:VALUE behind it; "tls" says that it came by TLS, and "from
// ADDRESS" from where.
func TestLabels(t *testing.T) {
	paths, err := filepath.Glob("testdata/labels/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d cases, %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			playLabels(t, path)
		})
	}
}

func playLabels(t *testing.T, path string) {
	t.Helper()
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p := &labelPlay{t: t, told: make(map[string]discovery.Update)}
	for i := range archive.Files {
		part := &archive.Files[i]
		verb, _, _ := strings.Cut(part.Name, ":")
		var got string
		switch verb {
		case "groups":
			p.o.groups = strings.Fields(string(part.Data))
			continue
		case "certificates":
			p.o.certificates = strings.Fields(string(part.Data))
			continue
		case "apps":
			p.answer(string(part.Data))
			continue
		case "report":
			got = p.report()
		case "told":
			got = p.news
		case "gateways":
			got = p.gateways()
		case "requests":
			got = p.requests(string(part.Data))
		default:
			t.Fatalf("%s is no part of a case", part.Name)
		}
		if !*update && got != string(part.Data) {
			t.Errorf("%s:\ngot\n%swant\n%s", part.Name, got, part.Data)
		}
		part.Data = []byte(got)
	}
	if *update {
		if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// labelPlay is how far a case has come.
type labelPlay struct {
	t      *testing.T
	o      labelOptions
	labels *labels
	text   string
	apps   map[string]*app
	told   map[string]discovery.Update
	news   string
}

// answer takes over what Marathon answers, as a source does.
func (p *labelPlay) answer(text string) {
	p.t.Helper()
	apps, faults, err := readApps(strings.NewReader(text), defaultMaxAnswer)
	if err != nil || len(faults) > 0 {
		p.t.Fatal(err, faults)
	}
	if p.labels == nil {
		p.labels = newLabels(p.o)
	}
	for id := range p.apps {
		if apps[id] == nil {
			p.labels.remove(id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(apps)) {
		p.labels.put(apps[id])
	}
	p.text, p.apps, p.news = text, apps, ""
	for _, id := range p.labels.settle(newCluster(translateOptions{}).alive) {
		p.news += "others rest of " + id + "\n"
	}
	for _, u := range p.labels.take() {
		p.tell(u)
	}
}

func (p *labelPlay) tell(u discovery.Update) {
	if u.Gone {
		p.news += "gone " + u.Key + "\n"
		delete(p.told, u.Key)
		return
	}
	p.news += u.Key + "\n"
	for _, f := range u.Faults {
		p.news += "  " + f.Error() + "\n"
		if f.At.Source != u.Key || f.Severity != routing.Warning {
			p.t.Errorf("fault %v of the update %s", f, u.Key)
		}
	}
	p.told[u.Key] = u
}

// report returns the report of the answer in columns.
func (p *labelPlay) report() string {
	rep, err := Migrate(strings.NewReader(p.text), MigrateOptions{Groups: p.o.groups, Certificates: p.o.certificates})
	if err != nil {
		p.t.Fatal(err)
	}
	var b strings.Builder
	for _, l := range rep.Labels {
		port := "-"
		if l.Port != nil {
			port = strconv.Itoa(*l.Port)
		}
		fmt.Fprintln(&b, strings.TrimSpace(fmt.Sprintf("%s %s %s: %s: %s", l.App, port, l.Label, l.Result, l.Note)))
	}
	return b.String()
}

// gateways returns the gateways that were told, as people would write them. The
// report has the same.
func (p *labelPlay) gateways() string {
	rep, err := Migrate(strings.NewReader(p.text), MigrateOptions{Groups: p.o.groups, Certificates: p.o.certificates})
	if err != nil {
		p.t.Fatal(err)
	}
	var reported []*routing.Document
	var faults []*routing.Fault
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	for _, text := range rep.Gateways {
		docs, wrong := routing.Read("report", text)
		reported, faults = append(reported, docs...), append(faults, wrong...)
		var node yaml.Node
		if err := yaml.Unmarshal(text, &node); err != nil {
			p.t.Fatal(err)
		}
		block(&node, 0)
		if err := enc.Encode(&node); err != nil {
			p.t.Fatal(err)
		}
	}
	var names, want []string
	for _, d := range p.documents() {
		names = append(names, d.Name)
	}
	for _, d := range reported {
		want = append(want, d.Name)
	}
	slices.Sort(names)
	slices.Sort(want)
	if len(faults) > 0 || !slices.Equal(names, want) {
		p.t.Errorf("the report has gateways %v (faults %v), told were %v", want, faults, names)
	}
	return b.String()
}

// block has the upper levels of a value written in lines of their own.
func block(n *yaml.Node, depth int) {
	if depth < 4 {
		n.Style = 0
	}
	if n.Kind == yaml.ScalarNode {
		n.Style = 0
	}
	for _, c := range n.Content {
		block(c, depth+1)
	}
}

func (p *labelPlay) documents() (docs []*routing.Document) {
	for _, key := range slices.Sorted(maps.Keys(p.told)) {
		docs = append(docs, p.told[key].Documents...)
	}
	return docs
}

// requests returns the requests with where each of them goes behind it.
func (p *labelPlay) requests(text string) string {
	p.t.Helper()
	c := newCluster(translateOptions{})
	c.resting = p.labels.resting
	var list []*routing.Instance
	for _, id := range slices.Sorted(maps.Keys(p.apps)) {
		found, faults := c.instances(p.apps[id], noon)
		list = append(list, found...)
		for _, f := range faults {
			p.t.Error(f)
		}
	}
	table, faults := routing.Resolve(p.documents())
	table, _, more := routing.Select(nil, table, routing.NewInstances(list), noon, routing.SelectOptions{})
	s, most := routing.Compile(nil, table, routing.CompileOptions{})
	for _, f := range slices.Concat(faults, more, most) {
		if f.Code != "SelectorFindsNothing" {
			p.t.Errorf("what was made of labels does not compile: %v", f)
		}
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		request, _, _ := strings.Cut(strings.TrimSpace(line), " => ")
		fmt.Fprintf(&b, "%s => %s\n", request, where(p.t, s, table, request))
	}
	return b.String()
}

// where returns where a request goes: the gateways and routes, and the
// instances of the last.
func where(t *testing.T, s *routing.Snapshot, table *routing.Table, request string) string {
	t.Helper()
	words := strings.Fields(request)
	host, path, _ := strings.Cut(words[0], "/")
	var fields []string
	from := netip.MustParseAddr("192.0.2.9")
	tls := false
	for i := 1; i < len(words); i++ {
		switch words[i] {
		case "tls":
			tls = true
		case "from":
			i++
			from = netip.MustParseAddr(words[i])
		default:
			fields = append(fields, words[i])
		}
	}
	g := s.ByHostAndPath(host, "/"+path)
	if after, is := strings.CutPrefix(host, ":"); is {
		port, err := strconv.Atoi(after)
		if err != nil {
			t.Fatal(err)
		}
		g = s.ByPort(port)
	}
	if g == nil {
		return "no gateway"
	}
	r := routingtest.NewRequest("GET", host, "/"+path, append(fields, "Host: "+host)...)
	r.Conn().Client = netip.AddrPortFrom(from, 50000)
	if tls {
		r.Conn().TLS = &conditions.TLS{ServerName: host}
	}
	var d routing.Decision
	s.Decide(g, r, &routingtest.Counters{}, &d)
	var way []string
	for _, hop := range d.Hops[:d.Depth] {
		way = append(way, hop.Gateway.Name)
		if hop.Route != nil {
			way = append(way, hop.Route.Path)
		}
	}
	return strings.Join(way, " ") + " " + answer(table, &d)
}

// answer returns what a decision comes to.
func answer(table *routing.Table, d *routing.Decision) string {
	last := d.Last()
	if last.Route == nil {
		return d.Reason.String()
	}
	for _, g := range table.Gateways {
		if g.Name != last.Gateway.Name {
			continue
		}
		for _, r := range g.Routes {
			switch {
			case r.Path != last.Route.Path:
			case r.Redirect != nil:
				return fmt.Sprintf("%d %s", r.Redirect.Code, r.Redirect.To)
			default:
				var ready []string
				for _, i := range r.Instances {
					if i.Ready {
						ready = append(ready, i.AddrPort().String())
					}
				}
				return cmp.Or(strings.Join(ready, ","), "nothing")
			}
		}
	}
	return "unknown"
}

func TestServicePortsThatAreMadeUpStayAndRunOut(t *testing.T) {
	l := newLabels(labelOptions{groups: []string{allGroups}})
	nameless := func(n int) *app {
		return &app{id: fmt.Sprintf("/app-%d", n), spec: &spec{mode: modeContainer, ports: []port{{number: 80, tcp: true}}}}
	}
	ports := make(map[string]string) // by app
	places := lastInvented - firstInvented + 1
	for n := range places {
		l.put(nameless(n))
		for _, u := range l.take() {
			if len(u.Documents) != 1 {
				t.Fatalf("app %d: %v", n, u)
			}
			ports[fmt.Sprintf("/app-%d", n)] = u.Key
		}
	}
	if len(ports) != places {
		t.Fatalf("%d of %d apps have a port", len(ports), places)
	}
	l.put(nameless(places))
	if told := l.take(); len(told) != 1 || len(told[0].Faults) != 1 || told[0].Faults[0].Code != codeNoPort {
		t.Errorf("one too many is told as %v", told)
	}
	again := nameless(7)
	again.labels = []routing.Label{{Name: "HAPROXY_0_MODE", Value: "http"}}
	l.put(again)
	if told := l.take(); len(told) != 1 || told[0].Key != ports["/app-7"] {
		t.Errorf("an app that changed is told at %v, want %s", told, ports["/app-7"])
	}
	l.remove("/app-3")
	var got []string
	for _, u := range l.take() {
		got = append(got, fmt.Sprint(u.Key, " ", len(u.Documents), " ", u.Gone))
	}
	if want := []string{fmt.Sprintf("labels/apps/app-%d 0 true", places), ports["/app-3"] + " 1 false"}; !slices.Equal(got, want) {
		t.Errorf("what has become free comes to %v, want %v", got, want)
	}
}

func TestLabelsOfOneAppAreBounded(t *testing.T) {
	a := &app{id: "/a", spec: &spec{ports: make([]port, 2*maxOffers), labels: []routing.Label{{Name: "HAPROXY_GROUP", Value: "external"}}}}
	for i := range a.ports {
		a.ports[i] = port{service: 10000 + i, tcp: true}
	}
	for n := range 3 {
		var hosts []string
		for k := range maxHosts / 2 {
			hosts = append(hosts, fmt.Sprintf("h%d-%d.example", n, k))
		}
		a.labels = append(a.labels, routing.Label{Name: fmt.Sprintf("HAPROXY_%d_VHOST", n), Value: strings.Join(hosts, ",")})
	}
	slices.SortFunc(a.labels, func(x, y routing.Label) int { return strings.Compare(x.Name, y.Name) })
	l := newLabels(labelOptions{groups: []string{allGroups}})
	l.put(a)
	gateways, faults := 0, 0
	for _, u := range l.take() {
		gateways += len(u.Documents)
		faults += len(u.Faults)
	}
	if gateways != maxOffers+maxHosts || faults != 2 {
		t.Errorf("%d gateways with %d faults, want %d with 2", gateways, faults, maxOffers+maxHosts)
	}
}
