// SPDX-License-Identifier: Apache-2.0

package plane_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/cmd/internal/plane"
	"github.com/sluice-mesh/sluice/control/auth"
	"github.com/sluice-mesh/sluice/control/store"
	"github.com/sluice-mesh/sluice/control/stream/streamtest"
	"github.com/sluice-mesh/sluice/discovery"
	"github.com/sluice-mesh/sluice/routing"
)

// patience bounds how long a test waits. It is no measure of anything.
const patience = time.Minute

const acme = "acme/prod"

// said is a source that says what it is sent, one text after the other, under
// one key.
type said chan string

func (s said) Run(ctx context.Context, sink func(discovery.Batch)) error {
	for listed := true; ; listed = false {
		select {
		case <-ctx.Done():
			return nil
		case text := <-s:
			docs, faults := routing.Read("said.yaml", []byte(text))
			sink(discovery.Batch{
				Updates: []discovery.Update{{Key: "said.yaml", Documents: docs, Faults: faults}}, Listed: listed,
			})
		}
	}
}

func gateway(name string) string {
	return fmt.Sprintf("name: %s\nroutes:\n  \"[127.0.0.1:8080]\": {}\n", name)
}

// write puts a gateway into the store of a folder that no process has open.
func write(t *testing.T, dir, ns, name string) {
	t.Helper()
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	k := store.Key{Namespace: ns, Kind: "gateways", Name: name}
	if _, err := store.Put(t.Context(), s, k, gateway(name), store.Any, "alice"); err != nil {
		t.Fatal(err)
	}
}

// running is a control plane that runs.
type running struct {
	*plane.Plane
	end func() error // ends it, and returns what Run did
}

func start(t *testing.T, o plane.Options) running {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	o.API, o.Stream = "127.0.0.1:0", "127.0.0.1:0"
	p, err := plane.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	over := false
	r := running{Plane: p, end: func() error {
		cancel()
		over = true
		select {
		case err := <-ended:
			return err
		case <-time.After(patience):
			return errors.New("it does not end")
		}
	}}
	t.Cleanup(func() {
		if over {
			return
		}
		if err := r.end(); err != nil {
			t.Errorf("Run() = %v after its context ended, want nil", err)
		}
	})
	return r
}

func get(ctx context.Context, url string) (status int, body string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	r.Close = true
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// names returns the gateways of a table.
func names(t *routing.Table) string {
	var all []string
	for _, g := range t.Gateways {
		all = append(all, g.Name)
	}
	return strings.Join(all, " ")
}

func TestProxiesGetWhatStoreAndFilesSay(t *testing.T) {
	dir, source := t.TempDir(), make(said)
	write(t, dir, acme, "stored")
	p := start(t, plane.Options{Dir: dir, Source: source})
	source <- gateway("filed")
	<-p.First()
	one := streamtest.Join(t, p.Stream(), streamtest.Options{Hello: streamtest.Hello("one", acme)})
	two := streamtest.Join(t, p.Stream(), streamtest.Options{Hello: streamtest.Hello("two")})
	r := one.Receive()
	one.Ack(r)
	if got := names(r.Table); got != "stored" {
		t.Errorf("a proxy of %s gets %q, want what is stored there", acme, got)
	}
	r = two.Receive()
	two.Ack(r)
	if got := names(r.Table); got != "filed" {
		t.Errorf("a proxy of the default namespace gets %q, want what is in files", got)
	}
	before := r.Table.Version
	source <- gateway("other")
	r = two.Receive()
	two.Ack(r)
	if got := names(r.Table); got != "other" || !r.Table.Version.Newer(before) {
		t.Errorf("after a change it gets %q of %v, want other, newer than %v", got, r.Table.Version, before)
	}
}

func TestNothingIsServedBeforeAllSourcesWereListed(t *testing.T) {
	dir, source := t.TempDir(), make(said)
	write(t, dir, "default/default", "stored")
	p := start(t, plane.Options{Dir: dir, Source: source})
	for path, want := range map[string]int{"/readyz": http.StatusServiceUnavailable, "/livez": http.StatusOK} {
		if status, _, err := get(t.Context(), "http://"+p.API()+path); err != nil || status != want {
			t.Errorf("%s before the files were listed = %d (%v), want %d", path, status, err, want)
		}
	}
	proxy := streamtest.Join(t, p.Stream(), streamtest.Options{})
	source <- gateway("filed")
	<-p.First()
	if got := names(proxy.Receive().Table); got != "stored filed" && got != "filed stored" {
		t.Errorf("the first table has %q, want both gateways", got)
	}
	if status, body, err := get(t.Context(), "http://"+p.API()+"/readyz"); err != nil || status != http.StatusOK {
		t.Errorf("/readyz = %d %s (%v), want 200", status, body, err)
	}
}

func TestVersionsGoOnAfterARestart(t *testing.T) {
	dir := t.TempDir()
	var last routing.Version
	for i := range 3 {
		source := make(said)
		p := start(t, plane.Options{Dir: dir, Source: source})
		source <- gateway(fmt.Sprintf("g%d", i))
		<-p.First()
		proxy := streamtest.Join(t, p.Stream(), streamtest.Options{})
		v := proxy.Receive().Table.Version
		proxy.Close()
		if i > 0 && (v.Epoch != last.Epoch || v.Revision <= last.Revision) {
			t.Errorf("after a restart the version is %v, want one of the same epoch above %v", v, last)
		}
		last = v
		if err := p.end(); err != nil {
			t.Fatal(err)
		}
	}
}

// ask sends a request to the API and returns the status of its answer.
func ask(t *testing.T, p running, method, path, text string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://"+p.API()+path, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// What was deleted is believed: a start without it waits for nothing.
func TestStoreThatWasEmptiedIsReadyAfterARestart(t *testing.T) {
	dir := t.TempDir()
	p := start(t, plane.Options{Dir: dir})
	<-p.First()
	for _, step := range []struct{ method, text string }{{http.MethodPut, gateway("a")}, {http.MethodDelete, ""}} {
		if status := ask(t, p, step.method, "/api/v1/gateways/a?wait=10s", step.text); status >= 300 {
			t.Fatalf("%s is answered %d", step.method, status)
		}
	}
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	p = start(t, plane.Options{Dir: dir})
	<-p.First()
	got := streamtest.Join(t, p.Stream(), streamtest.Options{}).Receive()
	if len(got.Table.Gateways) != 0 {
		t.Errorf("the table has %q, want none", names(got.Table))
	}
	if status := ask(t, p, http.MethodGet, "/readyz", ""); status != http.StatusOK {
		t.Errorf("/readyz = %d, want 200", status)
	}
}

// What there is at a start is nothing new, and what comes then is.
func TestWhatProxiesBeginToServeIsAnEvent(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "default/default", "old")
	p := start(t, plane.Options{Dir: dir})
	<-p.First()
	proxy := streamtest.Join(t, p.Stream(), streamtest.Options{})
	proxy.Ack(proxy.Receive())
	if status := ask(t, p, http.MethodPut, "/api/v1/gateways/young", gateway("young")); status >= 300 {
		t.Fatalf("PUT is answered %d", status)
	}
	proxy.Ack(proxy.Receive())
	want := []string{"deployed", "gateways:young"}
	query := store.EventQuery{Namespace: "default/default", Tags: want}
	deadline := time.Now().Add(patience)
	for {
		found, err := p.Events(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) > 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no event has the tags %q", want)
		}
		if status := ask(t, p, http.MethodGet, "/livez", ""); status != http.StatusOK { // and give way
			t.Fatalf("/livez = %d", status)
		}
	}
	query.Tags = []string{"deployed", "gateways:old"}
	if found, err := p.Events(t.Context(), query); err != nil || len(found) != 0 {
		t.Errorf("of what was there at the start %d events are told (%v), want none", len(found), err)
	}
}

func TestEndLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	p := start(t, plane.Options{Dir: dir})
	<-p.First()
	proxy := streamtest.Join(t, p.Stream(), streamtest.Options{})
	proxy.Ack(proxy.Receive())
	if _, err := store.Open(dir, store.Options{}); err == nil {
		t.Fatal("the store can be opened twice")
	}
	ended := make(chan error, 1)
	go func() { ended <- p.end() }()
	for {
		m, err := proxy.Next()
		if err != nil {
			t.Fatalf("the session ended with %v, and nobody asked the proxy to leave", err)
		}
		if m.GetLeave() != nil {
			break
		}
	}
	if err := <-ended; err != nil {
		t.Fatalf("Run() = %v, want nil", err)
	}
	if _, _, err := get(t.Context(), "http://"+p.API()+"/livez"); err == nil {
		t.Error("the API answers after Run has returned")
	}
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatalf("the store is not free after Run has returned: %v", err)
	}
	defer s.Close()
}

// failing is a source that cannot begin.
type failing struct{}

func (failing) Run(context.Context, func(discovery.Batch)) error {
	return errors.New("no such directory")
}

func TestSourceThatFailsEndsIt(t *testing.T) {
	dir := t.TempDir()
	p, err := plane.Open(t.Context(), plane.Options{Dir: dir, Source: failing{}, API: "127.0.0.1:0", Stream: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "no such directory") {
		t.Errorf("Run() = %v, want the error of the source", err)
	}
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
}

func TestOpenRefuses(t *testing.T) {
	held := t.TempDir()
	s, err := store.Open(held, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, tt := range []struct {
		name string
		o    plane.Options
		want string
	}{
		{"an API that others reach", plane.Options{API: "0.0.0.0:0"}, "--api: others can reach 0.0.0.0:0"},
		{"a stream that others reach", plane.Options{Stream: "[::]:0"}, "--stream: others can reach"},
		{"an address without port", plane.Options{Stream: "127.0.0.1"}, "--stream: \"127.0.0.1\" is not HOST:PORT"},
		{"a namespace that is none", plane.Options{Namespace: "prod"}, "--namespace: "},
		{"credentials that are not there", plane.Options{Credentials: "missing"}, "--credentials: "},
		{"a store that another process has", plane.Options{Dir: held}, "two control planes cannot share one"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.o.Dir == "" {
				tt.o.Dir = t.TempDir()
			}
			for _, address := range []*string{&tt.o.API, &tt.o.Stream} {
				if *address == "" {
					*address = "127.0.0.1:0"
				}
			}
			_, err := plane.Open(t.Context(), tt.o)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Open() = %v, want an error with %q", err, tt.want)
			}
		})
	}
}

// With credentials both addresses speak TLS, and strangers get nowhere.
func TestCredentialsSecureBothAddresses(t *testing.T) {
	dir := t.TempDir()
	a, err := auth.NewAuthority(time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	issue := func(role auth.Role, node string, names []string, namespaces ...string) string {
		c, err := a.Issue(auth.Request{
			Identity: auth.Identity{Role: role, Node: node, Namespaces: namespaces}, Names: names, Lifetime: time.Hour,
		})
		if err != nil {
			t.Fatal(err)
		}
		folder := dir + "/" + node
		if err := c.Save(folder, a.PEM(), false); err != nil {
			t.Fatal(err)
		}
		return folder
	}
	control := issue(auth.RoleControl, "control", []string{"127.0.0.1"}, auth.Everywhere)
	edge, err := auth.LoadCredentials(issue(auth.RoleProxy, "edge", nil, "default/default"), auth.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, plane.Options{Credentials: control})
	<-p.First()
	proxy := streamtest.Join(t, p.Stream(), streamtest.Options{TLS: edge.Client("127.0.0.1", nil, "h2")})
	if got := names(proxy.Receive().Table); got != "" {
		t.Errorf("the table has %q, want none", got)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: edge.Client("127.0.0.1", nil), DisableKeepAlives: true}}
	ask := func(token string) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+p.API()+"/api/v1/proxies", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	if got := ask(""); got != http.StatusUnauthorized {
		t.Errorf("the API answers %d without a token, want 401", got)
	}
	tokens := auth.NewTokens(auth.DirVault(control+"/tokens"), nil)
	secret, _, err := tokens.Issue(t.Context(), auth.Token{
		Kind: auth.API, Grants: []auth.Grant{{Namespace: auth.Everywhere, Rank: auth.Admin}},
	}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if got := ask(secret); got == http.StatusUnauthorized || got == http.StatusForbidden {
		t.Errorf("the API answers %d with a token of an admin, want it let in", got)
	}
	if status, _, err := get(t.Context(), "http://"+p.API()+"/livez"); err == nil && status == http.StatusOK {
		t.Error("the API answers in plain text")
	}
}
