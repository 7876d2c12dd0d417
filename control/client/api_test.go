// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sluice-mesh/sluice/control/api"
	"github.com/sluice-mesh/sluice/control/artifacts"
	"github.com/sluice-mesh/sluice/control/book"
	"github.com/sluice-mesh/sluice/control/client"
	"github.com/sluice-mesh/sluice/control/events"
	"github.com/sluice-mesh/sluice/control/planner"
	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/control/stream"
	"github.com/sluice-mesh/sluice/routing"
)

// patience bounds how long a test waits for what must come.
const patience = time.Minute

// control serves the API of a real control plane without proxies, until the
// test ends, and returns its URL.
func control(tb testing.TB) string {
	tb.Helper()
	url, stop := controlIn(tb, tb.TempDir())
	tb.Cleanup(stop)
	return url
}

// controlIn does so with the store in a folder, until stop.
func controlIn(tb testing.TB, dir string) (url string, stop func()) {
	tb.Helper()
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	p := planner.New(planner.Options{Interval: time.Millisecond})
	proxies, err := stream.New(stream.Options{})
	if err != nil {
		tb.Fatal(err)
	}
	log := events.New(s, events.Options{})
	a, err := api.New(api.Options{Store: s, Plans: p, Proxies: proxies, Book: book.New(book.Options{}), Events: log})
	if err != nil {
		tb.Fatal(err)
	}
	ln, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	first := make(chan struct{}, 1)
	var g errgroup.Group
	g.Go(func() error { return proxies.Serve(ctx, ln) })
	g.Go(func() error { return log.Run(ctx) })
	g.Go(func() error {
		return p.Run(ctx, artifacts.Source(s, artifacts.Options{}), func(plan planner.Plan) {
			a.Published(plan)
			proxies.Publish(plan)
			select {
			case first <- struct{}{}:
			default: // it is told already
			}
		})
	})
	server := httptest.NewServer(a.Handler())
	stop = func() {
		server.Close()
		cancel()
		if err := errors.Join(g.Wait(), s.Close()); err != nil {
			tb.Error(err)
		}
	}
	select {
	case <-first:
	case <-time.After(patience):
		stop()
		tb.Fatal("there is no plan")
	}
	return server.URL, stop
}

// of returns a client of a control plane.
func of(tb testing.TB, url, namespace string) *client.Client {
	tb.Helper()
	c, err := client.New(client.Options{Server: url, Namespace: namespace, Author: "tester", Pause: time.Millisecond})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.Close)
	return c
}

const shop = `# the shop
name: shop
port: 9050
routes:
  "[127.0.0.1:1]": {weight: 90%}
  "[127.0.0.1:2]": {weight: 10%}
`

// status returns that of an *Error; 0 for no error.
func status(tb testing.TB, err error) int {
	tb.Helper()
	if err == nil {
		return 0
	}
	e, ok := errors.AsType[*client.Error](err)
	if !ok {
		tb.Fatalf("error = %v, want an *Error", err)
	}
	return e.Status
}

func TestAnArtifactLives(t *testing.T) {
	c := of(t, control(t), "")
	ctx := t.Context()
	if _, err := c.Get(ctx, "gateways", "shop"); status(t, err) != http.StatusNotFound {
		t.Errorf("Get of nothing: %v, want 404", err)
	}
	tried, err := c.Put(ctx, "gateways", "shop", []byte(shop), client.Write{DryRun: true})
	if err != nil || tried.Change != 0 || len(tried.Items) != 1 {
		t.Errorf("a dry run returns %+v, %v; want one item and no change", tried, err)
	}
	first, err := c.Put(ctx, "gateways", "shop", []byte(shop), client.Write{If: client.Condition{Absent: true}})
	if err != nil || first.Change == 0 || first.Items[0].Revision != first.Change {
		t.Fatalf("Put returns %+v, %v; want a change that made the revision", first, err)
	}
	g, err := c.Gateway(ctx, "shop")
	if err != nil || g.Revision != first.Change || len(g.Routes) != 2 || g.Routes[0].Weight != "90%" {
		t.Fatalf("Gateway = %+v, %v; want what was written", g, err)
	}
	again, err := c.Put(ctx, "gateways", "shop", g.Body, client.Write{If: client.Condition{Revision: g.Revision}})
	if err != nil || again.Change != 0 || again.Items[0].Result != client.Unchanged || again.Items[0].Revision != g.Revision {
		t.Errorf("what was read is written again: %+v, %v; want nothing changed", again, err)
	}
	moved, err := c.Weights(ctx, "shop", map[string]string{"[127.0.0.1:1]": "87.5%", "[127.0.0.1:2]": "12.5%"}, client.Write{})
	if err != nil || moved.Change <= first.Change {
		t.Fatalf("Weights returns %+v, %v; want a later change", moved, err)
	}
	if g, err = c.Gateway(ctx, "shop"); err != nil || g.Routes[0].Weight != "87.5%" || g.Routes[1].Weight != "12.5%" {
		t.Errorf("Gateway = %+v, %v; want the weights that were written", g.Routes, err)
	}
	back, err := c.Rollback(ctx, "shop", first.Change, client.Write{})
	if err != nil || back.Change <= moved.Change {
		t.Errorf("Rollback returns %+v, %v; want a later change", back, err)
	}
	gone, err := c.Delete(ctx, "gateways", "shop", client.Write{If: client.Condition{Revision: back.Change}})
	if err != nil || gone.Change <= back.Change {
		t.Errorf("Delete returns %+v, %v; want a later change", gone, err)
	}
	versions, err := c.History(ctx, "gateways", "shop")
	var got []uint64
	for _, v := range versions {
		got = append(got, v.Revision)
	}
	want := []uint64{gone.Change, back.Change, moved.Change, first.Change}
	if err != nil || !slices.Equal(got, want) || !versions[0].Deleted || versions[3].Text != shop || !strings.Contains(versions[3].Author, "tester") {
		t.Errorf("History = %+v, %v; want revisions %v, the last as it was written by tester", versions, err, want)
	}
	commits, err := c.Changes(ctx)
	if err != nil || len(commits) != 4 || commits[0].ID != gone.Change || !slices.Equal(commits[0].Deleted, []string{"gateways/shop"}) {
		t.Errorf("Changes = %+v, %v; want four, the deletion first", commits, err)
	}
}

func TestOfWritersAtOnceOneWins(t *testing.T) {
	url := control(t)
	c := of(t, url, "")
	written, err := c.Put(t.Context(), "gateways", "shop", []byte(shop), client.Write{})
	if err != nil {
		t.Fatal(err)
	}
	const writers = 8
	var errs [writers]error
	var g errgroup.Group
	for i := range writers {
		g.Go(func() error {
			text := strings.ReplaceAll(shop, "# the shop", fmt.Sprintf("# the shop of %d", i))
			_, errs[i] = c.Put(t.Context(), "gateways", "shop", []byte(text), client.Write{If: client.Condition{Revision: written.Change}})
			return nil
		})
	}
	_ = g.Wait()
	present, err := c.Get(t.Context(), "gateways", "shop")
	if err != nil {
		t.Fatal(err)
	}
	won := 0
	for i, err := range errs {
		if err == nil {
			won++
			continue
		}
		e, ok := errors.AsType[*client.Error](err)
		if !ok || e.Status != http.StatusPreconditionFailed || e.Revision != present.Revision || !strings.Contains(string(e.Current), `"shop"`) {
			t.Errorf("writer %d: error = %+v, want a 412 with revision %d and what is there", i, err, present.Revision)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d writers win, want 1", won, writers)
	}
}

func TestApplyIsOneChangeOrNone(t *testing.T) {
	c := of(t, control(t), "")
	ctx := t.Context()
	both := "kind: conditions\nname: beta\ncondition: has cookie beta\n---\n" + shop
	written, err := c.Apply(ctx, []byte(both), client.Write{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, i := range written.Items {
		got = append(got, fmt.Sprintf("%s/%s %s %v", i.Kind, i.Name, i.Result, i.Revision == written.Change))
	}
	if want := []string{"conditions/beta created true", "gateways/shop created true"}; !slices.Equal(got, want) {
		t.Errorf("Apply returns %q, want %q", got, want)
	}
	if written, err = c.Apply(ctx, []byte(both), client.Write{}); err != nil || written.Change != 0 || written.Items[1].Result != client.Unchanged {
		t.Errorf("the same again: %+v, %v; want nothing changed", written, err)
	}
	_, err = c.Apply(ctx, []byte("name: good\nroutes: {\"[127.0.0.1:1]\": {}}\n---\nname: bad\nprot: 1\n"), client.Write{})
	e, ok := errors.AsType[*client.Error](err)
	if !ok || len(e.Faults) != 1 || e.Faults[0].At != (routing.Position{Line: 5, Column: 1}) {
		t.Fatalf("error = %+v, want one fault on line 5", err)
	}
	if _, err := c.Get(ctx, "gateways", "good"); status(t, err) != http.StatusNotFound {
		t.Errorf("beside what was refused something was written: %v", err)
	}
}

func TestNamesOfAllKindsAreFound(t *testing.T) {
	c := of(t, control(t), "acme/prod")
	for _, name := range []string{"a/b", "a/b/c", "ü-1", "100%", "a+b", "a?b=c&d", "a;b", "history", "a%2Fb", "a/weights"} {
		text := fmt.Sprintf("name: %q\nroutes: {\"[127.0.0.1:1]\": {}}\n", name)
		if _, err := c.Put(t.Context(), "gateways", name, []byte(text), client.Write{}); err != nil {
			t.Errorf("Put %q: %v", name, err)
			continue
		}
		g, err := c.Gateway(t.Context(), name)
		if err != nil || g.Name != name {
			t.Errorf("Gateway(%q) = %q, %v", name, g.Name, err)
		}
		if _, err := c.Weights(t.Context(), name, map[string]string{"[127.0.0.1:1]": "100%"}, client.Write{}); err != nil {
			t.Errorf("Weights of %q: %v", name, err)
		}
		if v, err := c.History(t.Context(), "gateways", name); err != nil || len(v) == 0 {
			t.Errorf("History of %q = %v, %v", name, v, err)
		}
		if _, err := c.Delete(t.Context(), "gateways", name, client.Write{}); err != nil {
			t.Errorf("Delete %q: %v", name, err)
		}
	}
}

func TestListsAreWholeAndOfOneNamespace(t *testing.T) {
	url := control(t)
	prod, dev := of(t, url, "acme/prod"), of(t, url, "acme/dev")
	const many = 65 // more than two pages
	var b strings.Builder
	for i := range many {
		fmt.Fprintf(&b, "---\nname: g%02d\nroutes: {\"[127.0.0.1:1]\": {}}\n", i)
	}
	if _, err := prod.Apply(t.Context(), []byte(b.String()), client.Write{}); err != nil {
		t.Fatal(err)
	}
	got, err := prod.Gateways(t.Context())
	if err != nil || len(got) != many || !slices.IsSortedFunc(got, func(a, b client.Gateway) int { return strings.Compare(a.Name, b.Name) }) {
		t.Errorf("Gateways returns %d, %v; want %d, sorted", len(got), err, many)
	}
	if got, err := dev.Gateways(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("Gateways of another namespace returns %d, %v; want none", len(got), err)
	}
	s, err := prod.Status(t.Context())
	if err != nil || s.Namespace != "acme/prod" {
		t.Errorf("Status = %+v, %v", s, err)
	}
}

func TestAChangeIsSettledWithoutProxies(t *testing.T) {
	c := of(t, control(t), "")
	written, err := c.Put(t.Context(), "gateways", "shop", []byte(shop), client.Write{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	last, err := c.Await(ctx, written.Change, nil)
	if err != nil || last.State != client.StateNoProxies || last.ID != written.Change {
		t.Errorf("Await = %+v, %v; want that there are no proxies", last, err)
	}
	if _, err := c.Change(ctx, written.Change+1, 0); status(t, err) != http.StatusNotFound {
		t.Errorf("a change of the future: %v, want 404", err)
	}
	if all, err := c.Proxies(ctx); err != nil || len(all) != 0 {
		t.Errorf("Proxies = %v, %v; want none", all, err)
	}
	e, err := c.Explain(ctx, routing.ExplainRequest{URL: "http://127.0.0.1:9050/"})
	if err != nil || len(e.Hops) != 1 || e.Hops[0].Gateway != "shop" {
		t.Errorf("Explain = %+v, %v; want that shop takes it", e, err)
	}
	_, err = c.Explain(ctx, routing.ExplainRequest{URL: "ftp://127.0.0.1/"})
	if wrong, ok := errors.AsType[*routing.ExplainError](err); !ok || wrong.Field != "url" {
		t.Errorf("error = %v, want an *ExplainError of the URL", err)
	}
}

func TestABackupIsRestored(t *testing.T) {
	c := of(t, control(t), "")
	if _, err := c.Put(t.Context(), "gateways", "shop", []byte(shop), client.Write{}); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	n, err := c.Backup(t.Context(), &b)
	if err != nil || n != int64(b.Len()) {
		t.Fatalf("Backup = %d, %v; want %d bytes", n, err, b.Len())
	}
	dir := t.TempDir()
	if err := store.Restore(dir, &b); err != nil {
		t.Fatal(err)
	}
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	a, err := s.Get(t.Context(), store.Key{Namespace: "default/default", Kind: "gateways", Name: "shop"})
	if err != nil || a.Text != shop {
		t.Errorf("the backup has %+v, %v; want what was written", a, err)
	}
}

func TestFiguresOfWhatHadNoRequests(t *testing.T) {
	c := of(t, control(t), "")
	written, err := c.Put(t.Context(), "gateways", "shop", []byte(shop), client.Write{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Await(t.Context(), written.Change, nil); err != nil {
		t.Fatal(err)
	}
	if f, err := c.Figures(t.Context(), "shop", 10*time.Second); err != nil || f.Gateway != "shop" || f.Requests != 0 || len(f.Body) == 0 {
		t.Errorf("Figures = %+v, %v; want those of shop", f, err)
	}
	if n, err := c.Figure(t.Context(), "shop", "[127.0.0.1:1]", "rate", 0); err != nil || n != 0 {
		t.Errorf("Figure = %v, %v; want 0", n, err)
	}
	if n, err := c.Health(t.Context(), "shop", "", 0); err != nil || n != 1 {
		t.Errorf("Health = %v, %v; want 1", n, err)
	}
	if _, err := c.Health(t.Context(), "shopp", "", 0); status(t, err) != http.StatusNotFound {
		t.Errorf("the health of nothing: %v, want 404", err)
	}
}

func TestEventsAreFollowed(t *testing.T) {
	c := of(t, control(t), "")
	before, err := c.Emit(t.Context(), []string{"note:a"}, "one")
	if err != nil || before.ID == "" || string(before.Value) != `"one"` {
		t.Fatalf("Emit = %+v, %v; want the event with its number", before, err)
	}
	if _, err := c.Emit(t.Context(), []string{"other"}, 1); err != nil {
		t.Fatal(err)
	}
	newest, err := c.Events(t.Context(), client.EventQuery{Tags: []string{"note"}})
	if err != nil || len(newest) != 1 || newest[0].ID != before.ID || !slices.Contains(newest[0].Tags, "note:a") {
		t.Errorf("Events = %+v, %v; want the one with the tag", newest, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	told := make(chan client.Event)
	var g errgroup.Group
	g.Go(func() error {
		defer close(told)
		for e, err := range c.Follow(ctx, client.EventQuery{Tags: []string{"note"}}, "0") {
			if err != nil {
				return err
			}
			told <- e
			if string(e.Value) == `"three"` {
				break
			}
		}
		return nil
	})
	if e := <-told; e.ID != before.ID {
		t.Errorf("it tells of %+v first, want what was there before", e)
	}
	if _, err := c.Emit(t.Context(), []string{"note"}, "three"); err != nil {
		t.Fatal(err)
	}
	last := client.Event{}
	for e := range told {
		last = e
	}
	if err := g.Wait(); err != nil || string(last.Value) != `"three"` {
		t.Errorf("it ends with %+v, %v; want the last event", last, err)
	}
}

func TestAChangeOfAFormerProcessIsNotWaitedFor(t *testing.T) {
	dir := t.TempDir()
	url, stop := controlIn(t, dir)
	written, err := of(t, url, "").Put(t.Context(), "gateways", "shop", []byte(shop), client.Write{})
	stop()
	if err != nil {
		t.Fatal(err)
	}
	url, stop = controlIn(t, dir)
	defer stop()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := of(t, url, "")
	for _, wait := range []time.Duration{0, time.Hour} {
		if got, err := c.Change(ctx, written.Change, wait); err != nil || got.State != client.StateNoProxies {
			t.Errorf("Change, waiting %v: %+v, %v; want no proxies at once", wait, got, err)
		}
	}
	again, err := c.Put(ctx, "gateways", "shop", []byte(shop), client.Write{Wait: time.Hour})
	if err != nil || again.Change != 0 || again.Converged {
		t.Errorf("the same is written again: %+v, %v; want nothing to wait for", again, err)
	}
}
