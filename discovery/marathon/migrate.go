// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-mesh/sluice/routing"
)

// MigrateOptions shape a Report. The zero MigrateOptions are ready to use.
type MigrateOptions struct {
	// Groups are the groups of marathon-lb whose apps become gateways; "*"
	// means all, of no group as well. None means all groups that labels name.
	Groups []string
	// Certificates are PEM files with certificate and key, as the proxies have
	// them, that all hosts show.
	Certificates []string
	// MaxAnswer bounds what is read, in bytes. Zero means 64 MiB.
	MaxAnswer int64
}

// Report is what the labels of all apps of a Marathon come to.
type Report struct {
	Apps int `json:"apps"` // that were read
	// Labels are those of marathon-lb and of Traefik, by app and label.
	Labels []LabelReport `json:"labels"`
	// Notes are about no label.
	Notes []string `json:"notes"`
	// Gateways are what labels ask for, a document of JSON each, sorted by name:
	// also for apps that have no tasks now. Reading them gives no faults.
	Gateways []json.RawMessage `json:"-"`
}

// LabelReport says what becomes of a label.
type LabelReport struct {
	App    string `json:"app"`            // its id
	Port   *int   `json:"port,omitempty"` // which one of the app, counted from 0; nil if it is of none
	Label  string `json:"label"`
	Value  string `json:"value,omitempty"` // empty if it may be what lets somebody in
	Result Result `json:"result"`
	Note   string `json:"note,omitempty"` // how, or why not, and what to do instead
}

// Migrate reports what becomes of the labels of the apps that r has, as
// GET /v2/apps answers. Nobody has to have asked for tasks.
func Migrate(r io.Reader, o MigrateOptions) (*Report, error) {
	apps, faults, err := readApps(r, cmp.Or(o.MaxAnswer, defaultMaxAnswer))
	if err != nil {
		return nil, err
	}
	return report(apps, faults, o), nil
}

// MigrateFrom reports what becomes of the labels of the apps of the Marathon
// that from names. It is asked once, and nothing is written to it.
func MigrateFrom(ctx context.Context, from Options, o MigrateOptions) (*Report, error) {
	from = from.withDefaults()
	c, err := newClient(from)
	if err != nil {
		return nil, err
	}
	var report *Report
	err = c.snapshot(ctx, func(r io.Reader) (err error) {
		report, err = Migrate(r, o)
		return err
	})
	return report, err
}

// generalNotes are what all who leave marathon-lb should know.
func generalNotes(o MigrateOptions) []string {
	notes := []string{
		"requests that name an app by X-Marathon-App-Id, at port 9091 of marathon-lb: there is no such port; write a gateway with conditions on the header",
		"apps without health checks are checked by TCP before they get requests; where there are checks the verdict of Marathon counts, and proxies make none of their own",
	}
	if len(o.Certificates) == 0 {
		notes = append(notes, "hosts are served over TLS if HAPROXY_{n}_SSL_CERT names a file that the proxies have, or --marathon-lb-certificates does")
	}
	return notes
}

// report reads the labels of apps.
func report(apps map[string]*app, faults []*routing.Fault, o MigrateOptions) *Report {
	rep := &Report{Apps: len(apps), Labels: []LabelReport{}, Notes: generalNotes(o)}
	for _, f := range faults {
		rep.Notes = append(rep.Notes, f.Error())
	}
	groups := o.Groups
	named := make(map[string]bool)
	reads := make(map[string]*lbApp, len(apps))
	for id, a := range apps {
		if a == nil {
			continue
		}
		reads[id] = readLabels(a)
		for _, o := range reads[id].offers {
			for _, g := range o.groups {
				named[g] = true
			}
		}
	}
	if len(groups) == 0 {
		groups = slices.Sorted(maps.Keys(named))
	}
	l := newLabels(labelOptions{groups: groups, certificates: o.Certificates, idle: true})
	for _, id := range slices.Sorted(maps.Keys(reads)) {
		rep.app(apps[id], reads[id], l)
		l.put(apps[id])
	}
	rep.gateways(l)
	return rep
}

// app adds what the labels of an app come to.
func (rep *Report) app(a *app, read *lbApp, l *labels) {
	values := make(map[string]string, len(a.labels))
	for _, label := range a.labels {
		if !letsIn(label.Name) && !letsIn(label.Value) {
			values[label.Name] = label.Value
		}
	}
	for _, n := range read.notes {
		row := LabelReport{App: a.id, Label: n.label, Value: values[n.label], Result: n.result, Note: n.note}
		if n.port >= 0 {
			row.Port = &n.port
		}
		rep.Labels = append(rep.Labels, row)
	}
	for i, o := range read.offers {
		if !asks(read, i) || l.meets(o.groups) {
			continue
		}
		note := "the port is not offered: none of its groups is served"
		if len(o.groups) == 0 {
			note = "the port is not offered, nor is it by marathon-lb: it has no group"
		}
		rep.outside(a.id, i, note)
	}
	if !selectable(a.id) && len(read.notes) > 0 {
		rep.Notes = append(rep.Notes, "no selector can ask for "+quoted(a.id)+", so its labels make no gateways")
	}
}

// letsIn reports whether a text may be about what lets somebody in, which is
// not shown: passwords of AUTH, fields of Authorization, lists of users.
func letsIn(text string) bool {
	text = strings.ToLower(text)
	return strings.Contains(text, "auth") || strings.Contains(text, "password")
}

// outside says that a port is of no group that is served.
func (rep *Report) outside(id string, port int, note string) {
	own := lbPrefix + strconv.Itoa(port) + "_" + labelGroup
	for i := range rep.Labels {
		if r := &rep.Labels[i]; r.App == id && r.Label == own {
			r.Note = note
			return
		}
	}
	rep.Labels = append(rep.Labels, LabelReport{App: id, Port: &port, Label: lbPrefix + labelGroup, Result: Translated, Note: note})
}

// asks reports whether a label of marathon-lb says something of a port.
func asks(read *lbApp, port int) bool {
	return slices.ContainsFunc(read.notes, func(n labelNote) bool {
		return strings.HasPrefix(n.label, lbPrefix) && (n.port == port || n.port < 0)
	})
}

// gateways adds the gateways that labels ask for.
func (rep *Report) gateways(l *labels) {
	l.settle(func(_ *app, t *task) bool { return t.health == healthAlive })
	l.take()
	places := slices.Collect(maps.Keys(l.hosts))
	places = slices.SortedFunc(slices.Values(slices.AppendSeq(places, maps.Keys(l.ports))), nameIn.compare)
	for _, at := range slices.Compact(places) {
		w := l.write(at)
		for _, g := range w.gateways() {
			rep.Gateways = append(rep.Gateways, g.asJSON())
		}
		for _, lost := range w.lost {
			rep.lose(lost)
		}
	}
	for group, ids := range l.members {
		if len(ids) > 2 {
			rep.Notes = append(rep.Notes, fmt.Sprintf("the deployment group %s has %d apps, not two: the tasks of all of them serve",
				strings.TrimSuffix(group.name, groupMark), len(ids)))
		}
	}
	slices.Sort(rep.Notes)
}

// lose says of a label that another app has what it asks for.
func (rep *Report) lose(lost lostOffer) {
	for i := range rep.Labels {
		if r := &rep.Labels[i]; r.App == lost.by && r.Label == lost.label {
			r.Result, r.Note = Wrong, lost.problem
			return
		}
	}
	rep.Labels = append(rep.Labels, LabelReport{App: lost.by, Port: &lost.index, Label: lost.label, Result: Wrong, Note: lost.problem})
}
