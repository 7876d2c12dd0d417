// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/conditions"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/routing/routingtest"
)

// TestEditCases runs the cases of testdata/edits. A file holds cases of the
// form
//
//	=== the behaviour that the case shows
//	YAML
//	--- what is asked
//	GATEWAY METHOD TARGET [| Name: value]...
//	  what becomes of it                (expected)
//
// or, where the gateway is refused, its faults alone.
func TestEditCases(t *testing.T) {
	runCases(t, "edits", runEditCase)
}

func runEditCase(t *testing.T, yaml, asked string) string {
	t.Helper()
	docs, faults := routing.Read("case.yaml", []byte(yaml))
	table, more := routing.Resolve(docs)
	table.Version = routing.Version{Epoch: 1, Revision: 1}
	s, most := routing.Compile(nil, table, routing.CompileOptions{})
	var got []string
	for _, f := range slices.Concat(faults, more, most) {
		got = append(got, f.Error())
	}
	for line := range strings.SplitSeq(strings.TrimSpace(asked), "\n") {
		words := strings.Fields(line)
		if len(words) < 3 || strings.HasPrefix(line, " ") || s.ByName(words[0]) == nil {
			continue
		}
		_, fields, _ := strings.Cut(line, " | ")
		r := routingtest.NewRequest(words[1], "shop.example", words[2], strings.Split(fields, " | ")...)
		var d routing.Decision
		s.Decide(s.ByName(words[0]), r, &routingtest.Tickets{}, &d)
		got = append(got, line)
		for _, l := range edited(&d, r) {
			got = append(got, "  "+l)
		}
	}
	return strings.Join(got, "\n")
}

// edited says what a decision makes of a request.
func edited(d *routing.Decision, r conditions.Request) []string {
	lines := []string{way(d)}
	seen := d.Rewritten(r)
	if path, rewritten := d.Path(); rewritten {
		lines = append(lines, "path "+path+", target "+seen.Target())
	}
	if n := d.Skipped(); n > 0 {
		lines = append(lines, fmt.Sprintf("%d skipped", n))
	}
	for i := range d.Depth {
		route := d.Hops[i].Route
		if route == nil || route.Edits == nil {
			continue
		}
		lines = append(lines, changes("request", route.Edits.Request, seen)...)
		lines = append(lines, changes("response", route.Edits.Response, seen)...)
		if x := route.Edits.Redirect; x != nil {
			to, ok := x.Append(nil, seen)
			if !ok {
				to = []byte("nowhere")
			}
			lines = append(lines, fmt.Sprintf("redirect %d %s", x.Code, to))
		}
	}
	return lines
}

func changes(side string, h *routing.HeaderEdits, r conditions.Request) (lines []string) {
	if h == nil {
		return nil
	}
	for _, name := range h.Drop {
		lines = append(lines, side+" - "+name)
	}
	for _, f := range h.Put {
		value, ok := f.Value.Append(nil, r)
		if !ok {
			value = []byte("(skipped)")
		}
		lines = append(lines, fmt.Sprintf("%s + %s: %s", side, f.Name, value))
	}
	return lines
}

// The gateways of a chain see the path as the routes before them left it, and
// Seen says so afterwards.
func TestSeen(t *testing.T) {
	const yaml = `
name: outer
port: 9000
routes:
  inner: {rewrites: {path: "/inner%[path] if path_beg /a"}}
---
name: inner
port: 9001
routes:
  "[a:1]": {weight: 100%, rewrites: {path: "/last%[path] if path_beg /inner"}}
`
	docs, _ := routing.Read("x", []byte(yaml))
	table, _ := routing.Resolve(docs)
	s, faults := routing.Compile(nil, table, routing.CompileOptions{})
	if len(faults) != 0 {
		t.Fatal(faults)
	}
	r := routingtest.NewRequest("GET", "h", "/a?b")
	var d routing.Decision
	s.Decide(s.ByName("outer"), r, &routingtest.Tickets{}, &d)
	for i, want := range []string{"/a?b", "/inner/a?b"} {
		if got := d.Seen(i, r).Target(); got != want {
			t.Errorf("Seen(%d).Target() = %q, want %q", i, got, want)
		}
	}
	if got := d.Rewritten(r).Target(); got != "/last/inner/a?b" {
		t.Errorf("Rewritten().Target() = %q", got)
	}
	s.Decide(s.ByName("outer"), routingtest.NewRequest("GET", "h", "/z"), &routingtest.Tickets{}, &d)
	if path, rewritten := d.Path(); rewritten || d.Skipped() != 0 {
		t.Errorf("Path() = %q, true of a request to which nothing applies", path)
	}
}

func TestEditsAreComparedAndCarriedOver(t *testing.T) {
	gateway := func(at int, shape func(*routing.Route)) *routing.Gateway {
		r := routingtest.Route("[a:1]", routing.FullWeight)
		r.Rewrites = []routing.Rewrite{{Path: "/v2%[path] if path_beg /a", At: routing.Position{Line: at}}}
		r.Headers = &routing.Headers{Request: routing.HeaderChanges{Set: []routing.HeaderField{{Name: "X-A", Value: "1"}}}}
		r.Redirect = &routing.Redirect{To: "/x", Code: 301}
		if shape != nil {
			shape(r)
		}
		return routingtest.Gateway("shop", 9000, r)
	}
	compiled := func(prev *routing.Snapshot, revision uint64, g *routing.Gateway) *routing.Snapshot {
		s, faults := routing.Compile(prev, routingtest.Table(revision, g), routing.CompileOptions{})
		if len(faults) != 0 {
			t.Fatal(faults)
		}
		return s
	}
	first := compiled(nil, 1, gateway(1, nil))
	if s := compiled(first, 2, gateway(2, nil)); s.ByName("shop") != first.ByName("shop") {
		t.Error("a gateway that only moved in its file was compiled anew")
	}
	// Another seed compiles it anew, of the form that it has.
	s, _ := routing.Compile(first, routingtest.Table(3, gateway(1, nil)), routing.CompileOptions{Seed: 5})
	if was, is := first.ByName("shop").Routes[0].Edits, s.ByName("shop").Routes[0].Edits; is != was || s.ByName("shop") == first.ByName("shop") {
		t.Error("edits that did not change were not carried over")
	}
	for name, shape := range map[string]func(*routing.Route){
		"a rewrite":  func(r *routing.Route) { r.Rewrites[0].Path = "/v3%[path] if path_beg /a" },
		"a header":   func(r *routing.Route) { r.Headers.Request.Set[0].Value = "2" },
		"a redirect": func(r *routing.Route) { r.Redirect.Code = 302 },
		"none":       func(r *routing.Route) { r.Rewrites, r.Headers, r.Redirect = nil, nil, nil },
	} {
		if s := compiled(first, 2, gateway(1, shape)); s.ByName("shop") == first.ByName("shop") {
			t.Errorf("%s changed, and the gateway is the one before", name)
		}
	}
}

// Tables need not come from text.
func TestEditsOfTablesAreChecked(t *testing.T) {
	for _, tt := range []struct {
		name  string
		shape func(*routing.Gateway, *routing.Route)
		want  string
	}{
		{"a rewrite without condition", func(_ *routing.Gateway, r *routing.Route) { r.Rewrites = []routing.Rewrite{{Path: "/a"}} }, "UnsupportedPathRewriteError"},
		{"a field that is not for a route", func(_ *routing.Gateway, r *routing.Route) {
			r.Headers = &routing.Headers{Request: routing.HeaderChanges{Remove: []string{"Content-Length"}}}
		}, "UnsupportedHeaderError"},
		{"a value that is no format", func(_ *routing.Gateway, r *routing.Route) {
			r.Headers = &routing.Headers{Response: routing.HeaderChanges{Add: []routing.HeaderField{{Name: "A", Value: "%"}}}}
		}, "UnsupportedHeaderError"},
		{"a status that is none of a redirect", func(_ *routing.Gateway, r *routing.Route) { r.Redirect = &routing.Redirect{To: "/", Code: 200} }, "UnsupportedRedirectError"},
		{"a redirect to nowhere", func(_ *routing.Gateway, r *routing.Route) { r.Redirect = &routing.Redirect{Code: 301} }, "UnsupportedRedirectError"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := routingtest.Gateway("shop", 9000, routingtest.Route("[a:1]", routing.FullWeight))
			tt.shape(g, g.Routes[0])
			s, faults := routing.Compile(nil, routingtest.Table(1, g), routing.CompileOptions{})
			if len(faults) != 1 || faults[0].Code != tt.want || s.ByName("shop") != nil {
				t.Errorf("faults = %v, want one of %s and no gateway", faults, tt.want)
			}
		})
	}
}

// A gateway of bytes that redirects cannot be read. In a table it leads
// nowhere.
func TestGatewaysOfBytesHaveNoEdits(t *testing.T) {
	g := routingtest.Gateway("shop", 9000, routingtest.Route("[a:1]", routing.FullWeight))
	g.Port.Type = routing.TCP
	g.Routes[0].Redirect = &routing.Redirect{To: "/", Code: 301}
	s, _ := routing.Compile(nil, routingtest.Table(1, g), routing.CompileOptions{})
	var d routing.Decision
	s.Decide(s.ByName("shop"), routingtest.NewRequest("", "", ""), &routingtest.Tickets{}, &d)
	if d.Reason != routing.ReasonNoInstance || d.Edited {
		t.Errorf("%s, edited %v, want no instance", way(&d), d.Edited)
	}
}

func TestDecideWithEditsDoesNotAllocate(t *testing.T) {
	r := routingtest.Route("[a:1]", routing.FullWeight)
	r.Rewrites = []routing.Rewrite{{Path: "/v2%[path] if path_beg /api"}}
	r.Headers = &routing.Headers{Request: routing.HeaderChanges{Set: []routing.HeaderField{{Name: "X-A", Value: "%[path]"}}}}
	s, faults := routing.Compile(nil, routingtest.Table(1, routingtest.Gateway("shop", 9000, r)), routing.CompileOptions{})
	if len(faults) != 0 {
		t.Fatal(faults)
	}
	g := s.ByName("shop")
	var d routing.Decision
	var draws routing.Draws = &routingtest.Counters{}
	for _, tt := range []struct {
		name, target string
		want         float64
	}{
		{"nothing where no rewrite applies", "/other", 0},
		{"nothing where one does", "/api", 0},
	} {
		var request conditions.Request = routingtest.NewRequest("GET", "h", tt.target)
		if n := testing.AllocsPerRun(100, func() { s.Decide(g, request, draws, &d) }); n != tt.want {
			t.Errorf("%s: %v allocations, want %v", tt.name, n, tt.want)
		}
	}
}

// Whatever a rewrite and a request are, the result can stand in a request
// line.
func FuzzRewrite(f *testing.F) {
	for _, seed := range []string{
		"/v2%[path] if path_beg /", "%[hdr(x),url_dec] IF { method GET }", "/a if b if { path /x } || { path_beg / }", "%[path,regsub(/,)] if TRUE", " if ",
	} {
		f.Add(seed, "/a?b#c", "%0d/x y")
	}
	f.Fuzz(func(t *testing.T, text, target, value string) {
		r := routingtest.Route("[a:1]", routing.FullWeight)
		r.Rewrites = []routing.Rewrite{{Path: text}, {Path: text}}
		s, faults := routing.Compile(nil, routingtest.Table(1, routingtest.Gateway("shop", 9000, r)), routing.CompileOptions{})
		if len(faults) > 0 {
			return
		}
		request := routingtest.NewRequest("GET", "h", target, "X: "+value)
		var d routing.Decision
		s.Decide(s.ByName("shop"), request, &routingtest.Tickets{}, &d)
		path, rewritten := d.Path()
		if !rewritten {
			return
		}
		if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "\x00\t\r\n ?#\x7f") {
			t.Errorf("%q makes %q of %q and %q", text, path, target, value)
		}
		if got := d.Rewritten(request).Query(); got != request.Query() {
			t.Errorf("%q makes the query %q of %q", text, got, request.Query())
		}
	})
}
