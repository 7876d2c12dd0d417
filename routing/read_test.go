// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/routing"
)

var update = flag.Bool("update", false, "rewrite the expectations in testdata")

// readCase is a case of testdata/read: what users wrote, and what became of
// it. A file holds cases of the form
//
//	=== the behaviour that the case shows
//	YAML
//	=== file b.yaml     (further texts, if any)
//	YAML
//	=== want
//	the table, then the faults
type readCase struct {
	name  string
	files []readFile
	want  string
}

type readFile struct{ name, text string }

func parseReadCases(tb testing.TB, text string) []readCase {
	tb.Helper()
	var cases []readCase
	inWant := false
	for line := range strings.Lines(text) {
		head, isHead := strings.CutPrefix(line, "=== ")
		head = strings.TrimSuffix(head, "\n")
		switch {
		case !isHead && len(cases) == 0:
			tb.Fatalf("text before the first case: %q", line)
		case !isHead && inWant:
			cases[len(cases)-1].want += line
		case !isHead:
			c := &cases[len(cases)-1]
			c.files[len(c.files)-1].text += line
		case head == "want":
			inWant = true
		case strings.HasPrefix(head, "file "):
			c := &cases[len(cases)-1]
			c.files = append(c.files, readFile{name: strings.TrimPrefix(head, "file ")})
		default:
			inWant = false
			cases = append(cases, readCase{name: head, files: []readFile{{name: "a.yaml"}}})
		}
	}
	return cases
}

func (c readCase) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "=== %s\n", c.name)
	for i, f := range c.files {
		if i > 0 {
			fmt.Fprintf(&b, "=== file %s\n", f.name)
		}
		b.WriteString(f.text)
	}
	fmt.Fprintf(&b, "=== want\n%s", c.want)
	return b.String()
}

// read reads and resolves the files of a case and dumps what came out.
func (c readCase) read() string {
	var docs []*routing.Document
	var faults []*routing.Fault
	for _, f := range c.files {
		d, fs := routing.Read(f.name, []byte(f.text))
		docs = append(docs, d...)
		faults = append(faults, fs...)
	}
	table, fs := routing.Resolve(docs)
	var b strings.Builder
	dumpTable(&b, table)
	for _, f := range append(faults, fs...) {
		fmt.Fprintf(&b, "%s %v\n", f.Code, f)
	}
	return b.String()
}

func dumpTable(b *strings.Builder, table *routing.Table) {
	for _, g := range table.Gateways {
		fmt.Fprintf(b, "gateway %s at %v port %d %v %q", g.Name, g.At, g.Port.Number, g.Port.Type, g.Port.Text)
		dumpSettings(b, g)
		b.WriteByte('\n')
		for _, r := range g.Routes {
			fmt.Fprintf(b, "  route %s at %v weight %v strength %v", r.Path, r.At, r.Weight, r.Strength)
			if r.Condition != "" {
				fmt.Fprintf(b, " condition %q at %v", r.Condition, r.ConditionAt)
			}
			if r.Balance != "" {
				fmt.Fprintf(b, " balance %q", r.Balance)
			}
			if r.TLS != nil {
				fmt.Fprintf(b, " tls %x ca %q name %q pair %q skip %v", r.TLS.MinVersion, r.TLS.CA, r.TLS.Name, r.TLS.KeyPair, r.TLS.SkipVerify)
			}
			if r.ProxyProtocol != routing.ProxyNone {
				fmt.Fprintf(b, " proxy %v", r.ProxyProtocol)
			}
			if r.Protocol != routing.ProtocolHTTP1 {
				fmt.Fprintf(b, " protocol %v", r.Protocol)
			}
			dumpMetadata(b, r.Metadata)
			b.WriteByte('\n')
		}
	}
	for _, name := range table.Broken {
		fmt.Fprintf(b, "broken %s\n", name)
	}
}

func dumpSettings(b *strings.Builder, g *routing.Gateway) {
	if len(g.VirtualHosts) > 0 {
		fmt.Fprintf(b, " hosts %q", g.VirtualHosts)
	}
	if g.Service != nil {
		fmt.Fprintf(b, " service %s %v", g.Service.Host, g.Service.Port)
	}
	if g.Balance != "" {
		fmt.Fprintf(b, " balance %q", g.Balance)
	}
	if l := g.Locality; l != (routing.Locality{}) {
		fmt.Fprintf(b, " prefer %v until %v", l.Prefer, l.Enough)
	}
	if g.Deployed {
		b.WriteString(" deployed")
	}
	if g.Split != routing.SplitExact || g.Unavailable != routing.UnavailableError || g.NoRoute != 503 {
		fmt.Fprintf(b, " split %d unavailable %d no_route %d", g.Split, g.Unavailable, g.NoRoute)
	}
	if g.Forwarded != routing.ForwardedX {
		fmt.Fprintf(b, " forwarded %d", g.Forwarded)
	}
	if g.TLS != nil {
		fmt.Fprintf(b, " tls %x %q auth %v %q plain %v hsts %q", g.TLS.MinVersion, g.TLS.Certificates, g.TLS.ClientAuth, g.TLS.ClientCA, g.TLS.Plain, g.TLS.HSTS)
	}
	if len(g.ProxyFrom) > 0 || g.BetweenRoutes != routing.BetweenWeights {
		fmt.Fprintf(b, " proxy from %v between routes %v", g.ProxyFrom, g.BetweenRoutes)
	}
	if g.HTTP2 != (routing.HTTP2{}) {
		fmt.Fprintf(b, " http2 %+v", g.HTTP2)
	}
	dumpMetadata(b, g.Metadata)
}

func dumpMetadata(b *strings.Builder, m map[string]any) {
	if m == nil {
		return
	}
	text, err := json.Marshal(m)
	if err != nil {
		text = fmt.Appendf(nil, "%v", m) // .nan and .inf are no JSON
	}
	fmt.Fprintf(b, " metadata %s", text)
}

func readCaseFiles(tb testing.TB) []string {
	tb.Helper()
	paths, err := filepath.Glob("testdata/read/*.txt")
	if err != nil || len(paths) == 0 {
		tb.Fatalf("no cases: %v, %v", paths, err)
	}
	return paths
}

func allReadCases(tb testing.TB) []readCase {
	tb.Helper()
	var all []readCase
	for _, path := range readCaseFiles(tb) {
		text, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, parseReadCases(tb, string(text))...)
	}
	return all
}

func TestReadCases(t *testing.T) {
	for _, path := range readCaseFiles(t) {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) { testReadFile(t, path) })
	}
}

func testReadFile(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cases := parseReadCases(t, string(text))
	var updated strings.Builder
	seen := make(map[string]bool)
	for _, c := range cases {
		if seen[c.name] {
			t.Errorf("two cases are called %q", c.name)
		}
		seen[c.name] = true
		t.Run(c.name, func(t *testing.T) {
			got := c.read()
			if got != c.want && !*update {
				t.Errorf("reading\n%s\ngot:\n%s\nwant:\n%s", c.files[0].text, got, c.want)
			}
			c.want = got
		})
		updated.WriteString(c.String())
	}
	if *update {
		if err := os.WriteFile(path, []byte(updated.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadAsTakesTheKindThatIsSaidBeside(t *testing.T) {
	for _, tt := range []struct{ kind, text, want string }{
		{"conditions", "name: fox\ncondition: User-Agent = Firefox\n", "conditions"},
		{"conditions", "kind: gateway\nname: fox\nport: 9001\n", "gateways"},
		{"gateways", "name: fox\nport: 9001\n", "gateways"},
		{"rewrites", `[{"name": "fox", "path": "/x if a"}]`, "rewrites"},
	} {
		docs, _ := routing.ReadAs(tt.kind, "text", []byte(tt.text))
		if len(docs) != 1 || docs[0].Kind != tt.want {
			t.Errorf("ReadAs(%q, %q) = %+v, want one of kind %s", tt.kind, tt.text, docs, tt.want)
		}
	}
}
