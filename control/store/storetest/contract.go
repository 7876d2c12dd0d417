// SPDX-License-Identifier: Apache-2.0

// Package storetest holds the contract that every store of the control plane
// keeps.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/routing"
)

// patience bounds how long the suite waits for a store. It is no measure of
// anything: it only turns a hanging test into a failing one.
const patience = 60 * time.Second

// Bed is an empty store with what the suite does to it.
type Bed struct {
	// Store keeps its default numbers of versions and events.
	Store store.Store
	// Advance moves the store's clock on. The clock does not move else, or
	// by far less than a second while a part of the suite runs.
	Advance func(time.Duration)
	// Reopen closes the store and opens it again.
	Reopen func() store.Store
}

// Test runs the contract against the stores that start makes, a new one for
// each part. The bed closes them.
func Test(t *testing.T, start func(t *testing.T) Bed) {
	t.Helper()
	for _, part := range []struct {
		name string
		test func(*run)
	}{
		{"an empty store has an epoch and no revision", (*run).empty},
		{"what was put is there, by namespace, kind and name", (*run).put},
		{"a change is made only if the present revision is as expected", (*run).conditions},
		{"changes are applied all or none, by one revision", (*run).apply},
		{"what no store accepts is refused", (*run).limits},
		{"a history has the newest versions and deletions", (*run).history},
		{"a watch tells every commit once and in order", (*run).watch},
		{"a watch goes on from where another one ended", (*run).resume},
		{"a watch from what the log does not have is told to list", (*run).compacted},
		{"writers at the same time make one line of revisions", (*run).concurrent},
		{"values are compared and swapped", (*run).values},
		{"one of many wins each swap of a value", (*run).contention},
		{"a lease is held by one at a time", (*run).leases},
		{"events are found by what they are", (*run).events},
		{"events are told as they come", (*run).watchEvents},
		{"all is there after the store was opened again", (*run).reopen},
		{"nothing is changed once the context has ended", (*run).ended},
		{"a closed store says so", (*run).closed},
	} {
		t.Run(part.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			bed := start(t)
			part.test(&run{T: t, Bed: bed, s: bed.Store, ctx: ctx})
		})
	}
}

// run is one part of the suite under way.
type run struct {
	*testing.T
	Bed
	s   store.Store
	ctx context.Context //nolint:containedctx // it lives for one test
}

const ns = store.DefaultNamespace

// gateway returns the key of a gateway in the default namespace.
func gateway(name string) store.Key { return store.Key{Namespace: ns, Kind: "gateways", Name: name} }

// must fails the test at an error.
func (r *run) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// wants fails the test unless err is want.
func (r *run) wants(what string, err, want error) {
	r.Helper()
	if !errors.Is(err, want) {
		r.Errorf("%s: error %v, want %v", what, err, want)
	}
}

// write puts an artifact whatever is there.
func (r *run) write(k store.Key, text string) store.Artifact {
	r.Helper()
	a, err := store.Put(r.ctx, r.s, k, text, store.Any, "ada")
	r.must(err)
	return a
}

func (r *run) version() routing.Version {
	r.Helper()
	v, err := r.s.Version(r.ctx)
	r.must(err)
	return v
}

func (r *run) empty() {
	v := r.version()
	if v.Epoch == 0 || v.Revision != 0 {
		r.Errorf("Version() = %v, want an epoch and revision 0", v)
	}
	_, err := r.s.Get(r.ctx, gateway("shop"))
	r.wants("Get", err, store.ErrNotFound)
	_, err = r.s.History(r.ctx, gateway("shop"))
	r.wants("History", err, store.ErrNotFound)
	list, err := r.s.List(r.ctx, "", "")
	if err != nil || len(list.Artifacts) != 0 || list.Version != v {
		r.Errorf("List() = %v, %v, want nothing at %v", list, err, v)
	}
	_, err = store.Delete(r.ctx, r.s, gateway("shop"), store.Any, "ada")
	r.wants("Delete", err, store.ErrNotFound)
	if got := r.version(); got != v {
		r.Errorf("Version() = %v after a refused deletion, want %v", got, v)
	}
}

func (r *run) put() {
	// Names and namespaces that begin with each other, so that no key may be
	// taken for a part of another one.
	keys := []store.Key{
		{Namespace: "acme/prod", Kind: "gateways", Name: "shop"},
		{Namespace: "acme/prod", Kind: "gateways", Name: "shop-2"},
		{Namespace: "acme/prod", Kind: "routes", Name: "shop"},
		{Namespace: "acme/prod", Kind: "routes", Name: "shop/a b:ü"},
		{Namespace: "acme/prod-2", Kind: "gateways", Name: "shop"},
	}
	for i, k := range slices.Backward(keys) {
		a := r.write(k, fmt.Sprint("text of ", k))
		if want := uint64(len(keys) - i); a.Revision != want || a.Key != k || a.Author != "ada" || a.Time.IsZero() || a.Deleted {
			r.Errorf("Put(%v) = %+v, want revision %d of ada", k, a, want)
		}
	}
	for _, k := range keys {
		if a, err := r.s.Get(r.ctx, k); err != nil || a.Key != k || a.Text != fmt.Sprint("text of ", k) {
			r.Errorf("Get(%v) = %+v, %v", k, a, err)
		}
	}
	for _, tt := range []struct {
		namespace, kind string
		want            []store.Key
	}{
		{"", "", keys},
		{"acme/prod", "", keys[:4]},
		{"acme/prod", "gateways", keys[:2]},
		{"", "gateways", []store.Key{keys[0], keys[1], keys[4]}},
		{"acme/test", "", nil},
	} {
		list, err := r.s.List(r.ctx, tt.namespace, tt.kind)
		r.must(err)
		var got []store.Key
		for _, a := range list.Artifacts {
			got = append(got, a.Key)
		}
		if !slices.Equal(got, tt.want) || list.Version != r.version() {
			r.Errorf("List(%q, %q) = %v at %v, want %v at %v", tt.namespace, tt.kind, got, list.Version, tt.want, r.version())
		}
	}
}

func (r *run) conditions() {
	k := gateway("shop")
	put := func(text string, expect store.Expect) error {
		_, err := store.Put(r.ctx, r.s, k, text, expect, "ada")
		return err
	}
	conflict := func(what string, err error, present uint64) {
		r.Helper()
		var c *store.ConflictError
		if !errors.As(err, &c) || c.Present != present || c.Artifact.Revision != present || c.Name != k.String() {
			r.Errorf("%s: error %v, want a conflict with revision %d", what, err, present)
		}
	}
	conflict("a revision of what is absent", put("a", 7), 0)
	r.must(put("a", store.Absent))
	conflict("absent, of what is there", put("b", store.Absent), 1)
	r.must(put("b", 1))
	conflict("a former revision", put("c", 1), 2)
	r.must(put("c", store.Any))
	_, err := store.Delete(r.ctx, r.s, k, 2, "ada")
	conflict("a deletion of a former revision", err, 3)
	v, err := store.Delete(r.ctx, r.s, k, 3, "bob")
	if err != nil || v.Revision != 4 {
		r.Errorf("Delete = %v, %v, want revision 4", v, err)
	}
	_, err = r.s.Get(r.ctx, k)
	r.wants("Get of what was deleted", err, store.ErrNotFound)
	r.must(put("d", store.Absent))
	if a, err := r.s.Get(r.ctx, k); err != nil || a.Text != "d" || a.Revision != 5 {
		r.Errorf("Get = %+v, %v, want d at revision 5", a, err)
	}
}

func (r *run) apply() {
	r.write(gateway("a"), "a1")
	r.write(gateway("b"), "b1")
	before := r.version()
	_, err := r.s.Apply(r.ctx, "bob",
		store.Change{Key: gateway("c"), Text: "c1"},
		store.Change{Key: gateway("a"), Text: "a2", Expect: 9},
		store.Change{Key: gateway("x"), Delete: true, Expect: store.Any},
		store.Change{Key: gateway("b"), Text: "b2", Expect: store.Absent})
	for _, name := range []string{gateway("a").String(), gateway("x").String(), gateway("b").String()} {
		if err == nil || !strings.Contains(err.Error(), name) {
			r.Errorf("Apply: error %v, want one that names %s", err, name)
		}
	}
	r.wants("Apply", err, store.ErrNotFound)
	if got := r.version(); got != before {
		r.Errorf("Version() = %v after a refused Apply, want %v", got, before)
	}
	_, err = r.s.Get(r.ctx, gateway("c"))
	r.wants("Get of what a refused Apply would have made", err, store.ErrNotFound)

	c, err := r.s.Apply(r.ctx, "bob",
		store.Change{Key: gateway("c"), Text: "c1"},
		store.Change{Key: gateway("a"), Delete: true, Expect: 1},
		store.Change{Key: gateway("b"), Text: "b2", Expect: 2})
	r.must(err)
	if want := before.Revision + 1; c.Version.Revision != want || c.Version != r.version() || c.Author != "bob" {
		r.Errorf("Apply = %+v, want revision %d", c, want)
	}
	if got := spell(c); got != "3: c=c1 a- b=b2" {
		r.Errorf("Apply = %s", got)
	}
}

// spell says what a commit did.
func spell(c store.Commit) string {
	words := []string{fmt.Sprint(c.Version.Revision, ":")}
	for _, a := range c.Changes {
		switch {
		case a.Revision != c.Version.Revision:
			words = append(words, fmt.Sprintf("%s of revision %d", a.Name, a.Revision))
		case a.Deleted:
			words = append(words, a.Name+"-")
		default:
			words = append(words, a.Name+"="+a.Text)
		}
	}
	return strings.Join(words, " ")
}

func (r *run) limits() {
	long := strings.Repeat("x", store.MaxName+1)
	invalid := func(what string, err error) {
		r.Helper()
		if _, ok := errors.AsType[*store.InvalidError](err); !ok {
			r.Errorf("%s: error %v, want an *InvalidError", what, err)
		}
	}
	for _, k := range []store.Key{
		{},
		{Namespace: "acme", Kind: "gateways", Name: "a"},
		{Namespace: "Acme/prod", Kind: "gateways", Name: "a"},
		{Namespace: "a/b/c", Kind: "gateways", Name: "a"},
		{Namespace: "/b", Kind: "gateways", Name: "a"},
		{Namespace: strings.Repeat("a", 64) + "/b", Kind: "gateways", Name: "a"},
		{Namespace: ns, Kind: "gateway", Name: "a"},
		{Namespace: ns, Kind: "gateways"},
		{Namespace: ns, Kind: "gateways", Name: "a\x00b"},
		{Namespace: ns, Kind: "gateways", Name: "\xff"},
		{Namespace: ns, Kind: "gateways", Name: long},
	} {
		_, err := store.Put(r.ctx, r.s, k, "text", store.Any, "ada")
		invalid(fmt.Sprintf("Put(%q)", k), err)
		_, err = r.s.Get(r.ctx, k)
		invalid(fmt.Sprintf("Get(%q)", k), err)
	}
	put := func(text, author string) error {
		_, err := store.Put(r.ctx, r.s, gateway("shop"), text, store.Any, author)
		return err
	}
	invalid("an empty text", put("", "ada"))
	invalid("a text that is not UTF-8", put("\xff", "ada"))
	invalid("nobody", put("text", ""))
	r.wants("a text of more than MaxText", put(strings.Repeat("x", store.MaxText+1), "ada"), store.ErrTooLarge)
	_, err := r.s.Apply(r.ctx, "ada")
	invalid("no changes", err)
	_, err = r.s.Apply(r.ctx, "ada", store.Change{Key: gateway("a"), Text: "1"}, store.Change{Key: gateway("a"), Text: "2"})
	invalid("one artifact twice", err)
	_, err = r.s.SetValue(r.ctx, "v", make([]byte, store.MaxValue+1), store.Any)
	r.wants("a value of more than MaxValue", err, store.ErrTooLarge)
	_, err = r.s.Lease(r.ctx, "l", "ada", store.MinTTL-1)
	invalid("a lease of less than MinTTL", err)
	_, err = r.s.AppendEvents(r.ctx, store.Event{Namespace: ns})
	invalid("an event without a type", err)
	_, err = r.s.AppendEvents(r.ctx, store.Event{Namespace: ns, Type: "late", Time: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)})
	invalid("an event of a year that no text can tell", err)
	if v := r.version(); v.Revision != 0 {
		r.Errorf("Version() = %v, want revision 0", v)
	}
	r.must(put(strings.Repeat("\x01", store.MaxText), "ada"))
}

func (r *run) history() {
	k := gateway("shop")
	for i := range 60 {
		r.write(k, strconv.Itoa(i+1))
		r.write(gateway("shop\u00a0"), "other")
	}
	_, err := store.Delete(r.ctx, r.s, k, store.Any, "bob")
	r.must(err)
	history, err := r.s.History(r.ctx, k)
	r.must(err)
	if len(history) != 50 {
		r.Fatalf("History has %d versions, want 50", len(history))
	}
	if a := history[0]; !a.Deleted || a.Author != "bob" || a.Revision != 121 || a.Text != "" {
		r.Errorf("History[0] = %+v, want the deletion by bob", a)
	}
	for i, a := range history[1:] {
		if want := strconv.Itoa(60 - i); a.Text != want || a.Key != k || a.Author != "ada" {
			r.Errorf("History[%d] = %+v, want text %s", i+1, a, want)
		}
	}
}

// next returns the next n commits after from.
func (r *run) next(namespace string, from routing.Version, n int) []string {
	r.Helper()
	var got []string
	for c, err := range r.s.Watch(r.ctx, namespace, from) {
		r.must(err)
		if got = append(got, spell(c)); len(got) == n {
			break
		}
	}
	return got
}

func (r *run) watch() {
	start := r.version()
	other := store.Key{Namespace: "acme/prod", Kind: "routes", Name: "o"}
	r.write(gateway("a"), "1")
	r.write(other, "1")
	_, err := r.s.Apply(r.ctx, "ada", store.Change{Key: other, Text: "2", Expect: store.Any}, store.Change{Key: gateway("b"), Text: "1"})
	r.must(err)
	_, err = store.Delete(r.ctx, r.s, gateway("a"), store.Any, "ada")
	r.must(err)
	for _, tt := range []struct {
		namespace string
		want      []string
	}{
		{"", []string{"1: a=1", "2: o=1", "3: o=2 b=1", "4: a-"}},
		{ns, []string{"1: a=1", "3: b=1", "4: a-"}},
		{other.Namespace, []string{"2: o=1", "3: o=2"}},
	} {
		if got := r.next(tt.namespace, start, len(tt.want)); !slices.Equal(got, tt.want) {
			r.Errorf("Watch(%q) tells %q, want %q", tt.namespace, got, tt.want)
		}
	}
	// A watch that is up to date waits.
	ctx, cancel := context.WithCancel(r.ctx)
	told, ended := make(chan string), make(chan error, 1)
	now := r.version()
	go func() {
		for c, err := range r.s.Watch(ctx, ns, now) {
			if err != nil {
				ended <- err
				return
			}
			told <- spell(c)
		}
		ended <- nil
	}()
	for i := range 3 {
		a := r.write(gateway("c"), strconv.Itoa(i))
		select {
		case got := <-told:
			if want := fmt.Sprintf("%d: c=%d", a.Revision, i); got != want {
				r.Errorf("Watch tells %q, want %q", got, want)
			}
		case <-r.ctx.Done():
			r.Fatal("the watch does not tell what was written")
		}
	}
	cancel()
	r.wants("the end of a watch", <-ended, context.Canceled)
}

func (r *run) resume() {
	from := r.version()
	for i := range 300 {
		r.write(gateway("a"), strconv.Itoa(i))
	}
	for seen := 0; seen < 300; {
		n := min(1+seen%97, 300-seen)
		for _, got := range r.next("", from, n) {
			if want := fmt.Sprintf("%d: a=%d", seen+1, seen); got != want {
				r.Fatalf("Watch tells %q, want %q", got, want)
			}
			seen++
		}
		from.Revision = uint64(seen)
	}
}

func (r *run) compacted() {
	r.write(gateway("a"), "1")
	v := r.version()
	for what, from := range map[string]routing.Version{
		"the zero version":        {},
		"a version of the future": {Epoch: v.Epoch, Revision: v.Revision + 1},
		"another epoch":           {Epoch: v.Epoch + 1, Revision: v.Revision},
	} {
		n := 0
		for _, err := range r.s.Watch(r.ctx, "", from) {
			r.wants("Watch from "+what, err, store.ErrCompacted)
			n++
		}
		if n != 1 {
			r.Errorf("Watch from %s yields %d pairs, want 1", what, n)
		}
	}
}

func (r *run) concurrent() {
	const writers, each = 8, 25
	start := r.version()
	faults := make(chan error, writers)
	for w := range writers {
		go func() {
			var err error
			for i := 0; i < each && err == nil; i++ {
				_, err = store.Put(r.ctx, r.s, gateway(strconv.Itoa(w)), strconv.Itoa(i), store.Any, "ada")
			}
			faults <- err
		}()
	}
	last := make(map[string]int)
	revision := start.Revision
	for c, err := range r.s.Watch(r.ctx, "", start) {
		r.must(err)
		if revision++; c.Version.Revision != revision || len(c.Changes) != 1 {
			r.Fatalf("Watch tells %s after revision %d", spell(c), revision-1)
		}
		a := c.Changes[0]
		if a.Text != strconv.Itoa(last[a.Name]) {
			r.Fatalf("Watch tells %s, want text %d", spell(c), last[a.Name])
		}
		if last[a.Name]++; revision == start.Revision+writers*each {
			break
		}
	}
	for range writers {
		r.must(<-faults)
	}
}

func (r *run) values() {
	_, err := r.s.Value(r.ctx, "port")
	r.wants("Value", err, store.ErrNotFound)
	conflict := func(err error, present uint64) {
		r.Helper()
		var c *store.ConflictError
		if !errors.As(err, &c) || c.Present != present {
			r.Errorf("error %v, want a conflict with revision %d", err, present)
		}
	}
	_, err = r.s.SetValue(r.ctx, "port", []byte("1"), 5)
	conflict(err, 0)
	one, err := r.s.SetValue(r.ctx, "port", []byte("1"), store.Absent)
	r.must(err)
	_, err = r.s.SetValue(r.ctx, "port", []byte("2"), store.Absent)
	conflict(err, one.Revision)
	two, err := r.s.SetValue(r.ctx, "port", []byte("2"), store.Expect(one.Revision))
	r.must(err)
	if got, err := r.s.Value(r.ctx, "port"); err != nil || string(got.Data) != "2" || got.Revision != two.Revision || got.Name != "port" {
		r.Errorf("Value = %+v, %v, want %+v", got, err, two)
	}
	conflict(r.s.DeleteValue(r.ctx, "port", store.Expect(one.Revision)), two.Revision)
	r.must(r.s.DeleteValue(r.ctx, "port", store.Expect(two.Revision)))
	r.wants("DeleteValue", r.s.DeleteValue(r.ctx, "port", store.Any), store.ErrNotFound)
	three, err := r.s.SetValue(r.ctx, "port", nil, store.Absent)
	if err != nil || three.Revision == one.Revision || three.Revision == two.Revision {
		r.Errorf("SetValue = %+v, %v, want a revision that no former value had", three, err)
	}
	for _, name := range []string{"node/b", "node/a", "node", "nodes"} {
		_, err := r.s.SetValue(r.ctx, name, []byte(name), store.Absent)
		r.must(err)
	}
	values, err := r.s.Values(r.ctx, "node/")
	if err != nil || len(values) != 2 || values[0].Name != "node/a" || string(values[1].Data) != "node/b" {
		r.Errorf("Values = %+v, %v, want node/a and node/b", values, err)
	}
	if v := r.version(); v.Revision != 0 {
		r.Errorf("values made the revision %v", v)
	}
}

func (r *run) contention() {
	const swappers, each = 4, 10
	faults := make(chan error, swappers)
	for range swappers {
		go func() {
			var err error
			for done := 0; done < each && err == nil; {
				v, missing := r.s.Value(r.ctx, "n")
				if missing != nil && !errors.Is(missing, store.ErrNotFound) {
					err = missing
					break
				}
				_, err = r.s.SetValue(r.ctx, "n", append(v.Data, '.'), store.Expect(v.Revision))
				if _, ok := errors.AsType[*store.ConflictError](err); ok {
					err = nil
					continue
				}
				done++
			}
			faults <- err
		}()
	}
	for range swappers {
		r.must(<-faults)
	}
	if v, err := r.s.Value(r.ctx, "n"); err != nil || len(v.Data) != swappers*each {
		r.Errorf("after %d swaps the value counts %d, %v", swappers*each, len(v.Data), err)
	}
}

func (r *run) leases() {
	const ttl = 10 * time.Second
	one, err := r.s.Lease(r.ctx, "leader", "a", ttl)
	r.must(err)
	held := func() {
		r.Helper()
		_, err := r.s.Lease(r.ctx, "leader", "b", ttl)
		var h *store.HeldError
		if !errors.As(err, &h) || h.Lease.Holder != "a" || h.Lease.Name != "leader" {
			r.Errorf("Lease for b: error %v, want that a holds it", err)
		}
	}
	held()
	_, err = r.s.Lease(r.ctx, "other", "b", ttl)
	r.must(err)
	r.Advance(7 * time.Second)
	two, err := r.s.Lease(r.ctx, "leader", "a", ttl)
	if err != nil || two.Term != one.Term || !two.Expires.After(one.Expires) {
		r.Errorf("Lease = %+v, %v, want %+v renewed", two, err, one)
	}
	r.Advance(7 * time.Second)
	held()
	r.Advance(4 * time.Second)
	three, err := r.s.Lease(r.ctx, "leader", "b", ttl)
	if err != nil || three.Holder != "b" || three.Term <= two.Term {
		r.Errorf("Lease = %+v, %v, want one for b with a term above %d", three, err, two.Term)
	}
	r.must(r.s.Release(r.ctx, "leader", "a"))
	_, err = r.s.Lease(r.ctx, "leader", "a", ttl)
	if _, ok := errors.AsType[*store.HeldError](err); !ok {
		r.Errorf("Lease for a: error %v, want that b holds it: a cannot release it", err)
	}
	r.must(r.s.Release(r.ctx, "leader", "b"))
	four, err := r.s.Lease(r.ctx, "leader", "a", ttl)
	if err != nil || four.Term <= three.Term {
		r.Errorf("Lease = %+v, %v, want one for a with a term above %d", four, err, three.Term)
	}
}

func (r *run) events() {
	day := time.Now().UTC().Truncate(time.Second)
	add := func(namespace, kind string, at time.Time, tags ...string) {
		r.Helper()
		e, err := r.s.AppendEvents(r.ctx, store.Event{Namespace: namespace, Type: kind, Time: at, Tags: tags, Data: kind})
		if err != nil || len(e) != 1 || e[0].ID == 0 {
			r.Fatalf("AppendEvents = %+v, %v", e, err)
		}
	}
	add(ns, "change", day, "gateway:a", "author:ada")
	add(ns, "change", day.Add(time.Second), "gateway:b", "author:ada")
	add("acme/prod", "fault", day.Add(2*time.Second), "gateway:a")
	add(ns, "fault", day.Add(3*time.Second))
	for _, tt := range []struct {
		name string
		q    store.EventQuery
		want []uint64
	}{
		{"all", store.EventQuery{}, []uint64{4, 3, 2, 1}},
		{"a namespace", store.EventQuery{Namespace: ns}, []uint64{4, 2, 1}},
		{"a type", store.EventQuery{Types: []string{"fault"}}, []uint64{4, 3}},
		{"all of the tags", store.EventQuery{Tags: []string{"author:ada", "gateway:a"}}, []uint64{1}},
		{"a time", store.EventQuery{Since: day.Add(time.Second), Until: day.Add(3 * time.Second)}, []uint64{3, 2}},
		{"a number", store.EventQuery{Limit: 2}, []uint64{4, 3}},
		{"a page further on", store.EventQuery{Limit: 2, Before: 3}, []uint64{2, 1}},
	} {
		events, err := r.s.Events(r.ctx, tt.q)
		r.must(err)
		var got []uint64
		for _, e := range events {
			got = append(got, e.ID)
		}
		if !slices.Equal(got, tt.want) {
			r.Errorf("Events by %s = %v, want %v", tt.name, got, tt.want)
		}
	}
	if v := r.version(); v.Revision != 0 {
		r.Errorf("events made the revision %v", v)
	}
}

func (r *run) watchEvents() {
	const n = 600
	go func() {
		for i := range n {
			e := store.Event{Namespace: ns, Type: []string{"even", "odd"}[i%2]}
			if _, err := r.s.AppendEvents(r.ctx, e, e); err != nil {
				return // the watch then waits in vain, and fails
			}
			if i == n/10 {
				break
			}
		}
		_, _ = r.s.AppendEvents(r.ctx, slices.Repeat([]store.Event{{Namespace: ns, Type: "even"}}, n)...)
	}()
	last, seen := uint64(0), 0
	for e, err := range r.s.WatchEvents(r.ctx, 0, store.EventQuery{Types: []string{"even"}}) {
		r.must(err)
		if e.ID <= last || e.Type != "even" {
			r.Fatalf("WatchEvents tells %+v after %d", e, last)
		}
		last = e.ID
		if seen++; seen == n+n/10 {
			break
		}
	}
	for e, err := range r.s.WatchEvents(r.ctx, last-1, store.EventQuery{}) {
		if err != nil || e.ID != last {
			r.Errorf("WatchEvents after %d tells %+v, %v", last-1, e, err)
		}
		break
	}
	for _, err := range r.s.WatchEvents(r.ctx, 1<<60, store.EventQuery{}) {
		r.wants("WatchEvents from the future", err, store.ErrCompacted)
	}
}

func (r *run) reopen() {
	r.write(gateway("a"), "1")
	r.write(gateway("a"), "2")
	_, err := r.s.SetValue(r.ctx, "v", []byte("v"), store.Absent)
	r.must(err)
	_, err = r.s.AppendEvents(r.ctx, store.Event{Namespace: ns, Type: "change"})
	r.must(err)
	lease, err := r.s.Lease(r.ctx, "leader", "a", time.Minute)
	r.must(err)
	v := r.version()

	r.s = r.Reopen()
	if got := r.version(); got != v {
		r.Errorf("Version() = %v, want %v", got, v)
	}
	if got := r.next("", routing.Version{Epoch: v.Epoch}, 2); !slices.Equal(got, []string{"1: a=1", "2: a=2"}) {
		r.Errorf("Watch tells %q", got)
	}
	if value, err := r.s.Value(r.ctx, "v"); err != nil || string(value.Data) != "v" {
		r.Errorf("Value = %+v, %v", value, err)
	}
	if events, err := r.s.Events(r.ctx, store.EventQuery{}); err != nil || len(events) != 1 {
		r.Errorf("Events = %+v, %v, want one", events, err)
	}
	var h *store.HeldError
	if _, err := r.s.Lease(r.ctx, "leader", "b", time.Minute); !errors.As(err, &h) || !h.Lease.Expires.Equal(lease.Expires) {
		r.Errorf("Lease for b: error %v, want that a holds it until %v", err, lease.Expires)
	}
}

func (r *run) ended() {
	ctx, cancel := context.WithCancel(r.ctx)
	cancel()
	_, err := store.Put(ctx, r.s, gateway("a"), "1", store.Any, "ada")
	r.wants("Put", err, context.Canceled)
	_, err = r.s.SetValue(ctx, "v", nil, store.Any)
	r.wants("SetValue", err, context.Canceled)
	_, err = r.s.Get(ctx, gateway("a"))
	r.wants("Get", err, context.Canceled)
	if v := r.version(); v.Revision != 0 {
		r.Errorf("Version() = %v, want revision 0", v)
	}
}

func (r *run) closed() {
	v := r.version()
	ended := make(chan error, 1)
	go func() {
		var last error
		for _, err := range r.s.Watch(r.ctx, "", v) {
			last = err
		}
		ended <- last
	}()
	r.must(r.s.Close())
	r.wants("the end of a watch", <-ended, store.ErrClosed)
	_, err := store.Put(r.ctx, r.s, gateway("a"), "1", store.Any, "ada")
	r.wants("Put", err, store.ErrClosed)
	_, err = r.s.Get(r.ctx, gateway("a"))
	r.wants("Get", err, store.ErrClosed)
	_, err = r.s.Lease(r.ctx, "leader", "a", time.Minute)
	r.wants("Lease", err, store.ErrClosed)
	r.must(r.s.Close())
}
