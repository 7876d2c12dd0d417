// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/sluice-mesh/sluice"

// depRule says what packages of this module do not import. Patterns are
// import paths; one that ends in "/..." holds for all below, too, and one
// that starts with "./" is of this module.
type depRule struct {
	of     string
	except []string // packages among of that the rule is not for
	not    []string
	but    []string // packages among not that are allowed
	// direct limits the rule to imports of the package itself; else it is for
	// all that the package links.
	direct bool
	why    string
}

var depRules = []depRule{
	{
		of: "./conditions/...", not: []string{"./..."}, but: []string{"./conditions/..."},
		why: "the language knows nothing of gateways",
	},
	{
		of: "./routing/...", not: []string{"./..."}, but: []string{"./routing/...", "./conditions/..."},
		why: "the core stands below all but the language",
	},
	{
		of: "./conditions/...", not: effects,
		why: "the language does no I/O",
	},
	{
		of: "./routing/...", not: effects,
		why: "the core does no I/O",
	},
	{
		// math/big links it, so only our own imports count.
		of: "./routing/...", not: []string{"math/rand/...", "crypto/rand"}, direct: true,
		why: "tickets are handed in",
	},
	{
		of: "./metrics/...", not: []string{"./..."}, but: []string{"./metrics/..."},
		why: "metrics count what they are told to",
	},
	{
		of: "./discovery/...", not: []string{"./..."}, but: []string{"./discovery/...", "./routing/...", "./conditions/..."},
		why: "sources translate into the vocabulary and know no one else",
	},
	{
		of: "./proxy/...", not: []string{"./..."},
		but: []string{"./proxy/...", "./routing/...", "./conditions/...", "./metrics/..."},
		why: "instances and changes arrive inside snapshots",
	},
	{
		of: "./proxy/http2/...", not: []string{"./..."}, but: []string{"./proxy/http2/...", "./proxy/socket/...", "./metrics/..."},
		why: "it carries messages and knows nothing of gateways",
	},
	{
		of: "./control/...", not: []string{"./..."},
		but: []string{"./control/...", "./discovery/...", "./routing/...", "./conditions/...", "./metrics/..."},
		why: "proxies are known by their stream",
	},
	{
		of: "./bench/...", not: []string{"./..."}, but: []string{"./bench/..."},
		why: "every proxy is measured through its sockets, ours too",
	},
	{
		of: "./cmd/sluice-proxy/...",
		not: []string{
			"k8s.io/client-go/...", "go.etcd.io/bbolt/...",
			"./discovery/...", "./control/planner/...", "./control/store/...", "./control/stream/...", "./control/api/...", "./bench/...",
		},
		why: "the data plane alone stays lean",
	},
	{
		of: "./...", except: []string{"./proxy/http1/..."}, not: []string{"github.com/valyala/fasthttp/..."}, direct: true,
		why: "proxy/http1 alone imports fasthttp",
	},
	{
		of: "./...", except: []string{"./metrics/prom/..."}, not: []string{"github.com/prometheus/client_golang/..."}, direct: true,
		why: "metrics/prom alone imports client_golang",
	},
	{
		of: "./...", except: []string{"./control/stream/...", "./control/agent/...", "./control/controlpb/..."},
		not: []string{"google.golang.org/grpc/..."}, direct: true,
		why: "the stream and its two ends alone import gRPC",
	},
	{
		of: "./...", except: []string{"./control/store"}, not: []string{"go.etcd.io/bbolt/..."}, direct: true,
		why: "the store alone knows what its file looks like",
	},
	{
		of: "./...", except: []string{"./discovery/kubernetes/...", "./control/kube/..."},
		not: []string{"k8s.io/client-go/..."}, direct: true,
		why: "two rooms alone talk to the API server",
	},
	{
		of: "./discovery/marathon/...", not: []string{"k8s.io/...", "./discovery/kubernetes/..."},
		why: "who has a Marathon need not have Kubernetes",
	},
	{
		of: "./...", except: []string{"./discovery/marathon/marathontest/...", "./cmd/sluice", "./test/..."},
		not: []string{"./discovery/marathon/marathontest/..."}, direct: true,
		why: "the lab and tests alone have a made-up Marathon",
	},
}

// effects are packages that a pure core does not link.
var effects = []string{
	"net/http/...", "os/exec", "os/signal", "os/user", "log", "log/slog", "flag", "database/sql/...", "plugin",
}

// depMatch reports whether a pattern holds for a package.
func depMatch(pattern, pkg string) bool {
	if rest, ok := strings.CutPrefix(pattern, "./"); ok {
		pattern = module + "/" + rest
	}
	if base, ok := strings.CutSuffix(pattern, "/..."); ok {
		return pkg == base || strings.HasPrefix(pkg, base+"/")
	}
	return pkg == pattern
}

func depMatchAny(patterns []string, pkg string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return depMatch(p, pkg) })
}

// depFaults returns each way in which imports, by package, break a rule.
func depFaults(imports map[string][]string, rules []depRule) (faults []string) {
	for _, rule := range rules {
		for _, pkg := range slices.Sorted(maps.Keys(imports)) {
			if !depMatch(rule.of, pkg) || depMatchAny(rule.except, pkg) || !depMatch("./...", pkg) {
				continue
			}
			if way := depWay(imports, pkg, rule); way != nil {
				faults = append(faults, strings.Join(way, " -> ")+": "+rule.why)
			}
		}
	}
	return faults
}

// depWay returns the shortest way from a package to one that the rule does
// not let it import, or nil.
func depWay(imports map[string][]string, from string, rule depRule) []string {
	reached := map[string]string{from: ""} // with where from
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		for _, to := range imports[queue[0]] {
			if _, seen := reached[to]; seen {
				continue
			}
			reached[to] = queue[0]
			if depMatchAny(rule.not, to) && !depMatchAny(rule.but, to) {
				var way []string
				for at := to; at != ""; at = reached[at] {
					way = append(way, at)
				}
				slices.Reverse(way)
				return way
			}
			if !rule.direct {
				queue = append(queue, to)
			}
		}
	}
	return nil
}

func TestImportsPointDownwards(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("no go command")
	}
	imports := map[string][]string{}
	list := exec.CommandContext(t.Context(), "go", "list", "-pgo=off", "-deps", "-e", "-json=ImportPath,Imports", module+"/...")
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var pkg struct {
			ImportPath string
			Imports    []string
		}
		if err := d.Decode(&pkg); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		imports[pkg.ImportPath] = pkg.Imports
	}
	if imports[module+"/routing"] == nil || imports["reflect"] == nil {
		t.Fatalf("go list names %d packages, not those that must be there", len(imports))
	}
	for _, fault := range depFaults(imports, depRules) {
		t.Error(fault)
	}
}

// TestImportRulesFindEdges adds one edge after the other to a graph that is
// as it should be.
func TestImportRulesFindEdges(t *testing.T) {
	good := func() map[string][]string {
		m := map[string][]string{
			"net/http": nil, "os/exec": nil, "math/rand/v2": nil, "strings": nil,
			"github.com/valyala/fasthttp":                    {"net/http"},
			"github.com/prometheus/client_golang/prometheus": {"net/http"},
			"google.golang.org/grpc":                         {"net/http"},
			"k8s.io/client-go/kubernetes":                    {"net/http"},
			"example.org/lib":                                {"net/http"},
			"./conditions":                                   {"strings"},
			"./routing":                                      {"./conditions"},
			"./metrics":                                      {"strings"},
			"./metrics/prom":                                 {"./metrics", "github.com/prometheus/client_golang/prometheus"},
			"./discovery":                                    {"./routing"},
			"./discovery/kubernetes":                         {"./discovery", "k8s.io/client-go/kubernetes"},
			"./discovery/marathon":                           {"./discovery"},
			"./discovery/marathon/marathontest":              {"net/http"},
			"./proxy/live":                                   {"./routing", "./metrics"},
			"./proxy/http1":                                  {"./proxy/live", "github.com/valyala/fasthttp"},
			"./control/controlpb":                            {"google.golang.org/grpc"},
			"./control/stream":                               {"./control/controlpb", "./routing", "google.golang.org/grpc"},
			"./control/agent":                                {"./control/controlpb", "./routing", "google.golang.org/grpc"},
			"./control":                                      {"./control/stream", "./discovery"},
			"./bench":                                        {"net/http"},
			"./cmd/sluice":                                   {"./control", "./proxy/http1", "./discovery/kubernetes", "./metrics/prom", "./discovery/marathon/marathontest"},
			"./cmd/sluice-proxy":                             {"./proxy/http1", "./control/agent"},
			"k8s.io/client-go":                               nil, "github.com/rogpeppe/go-internal": nil,
		}
		full := map[string][]string{}
		for pkg, imports := range m {
			for i := range imports {
				imports[i] = strings.Replace(imports[i], "./", module+"/", 1)
			}
			full[strings.Replace(pkg, "./", module+"/", 1)] = imports
		}
		return full
	}
	if faults := depFaults(good(), depRules); len(faults) > 0 {
		t.Fatalf("a graph as it should be has faults: %q", faults)
	}
	for _, tt := range []struct{ from, to, why string }{
		{"./conditions", "./routing", "the language"},
		{"./conditions", "net/http", "the language does no I/O"},
		{"./routing", "./metrics", "the core stands below"},
		{"./routing", "os/exec", "the core does no I/O"},
		{"./routing", "example.org/lib", "the core does no I/O"}, // through net/http
		{"./routing", "math/rand/v2", "tickets are handed in"},
		{"./metrics", "./routing", "metrics count"},
		{"./discovery", "./proxy/live", "sources translate"},
		{"./proxy/live", "./control", "arrive inside snapshots"},
		{"./proxy/live", "./discovery", "arrive inside snapshots"},
		{"./control", "./proxy/live", "by their stream"},
		{"./bench", "./proxy/http1", "through its sockets"},
		{"./bench", "./conditions", "through its sockets"},
		{"./cmd/sluice-proxy", "./discovery/kubernetes", "lean"},
		{"./cmd/sluice-proxy", "./control/stream", "lean"},
		{"./proxy/live", "github.com/valyala/fasthttp", "proxy/http1 alone"},
		{"./cmd/sluice", "github.com/valyala/fasthttp", "proxy/http1 alone"},
		{"./metrics", "github.com/prometheus/client_golang/prometheus", "metrics/prom alone"},
		{"./control", "google.golang.org/grpc", "alone import gRPC"},
		{"./discovery", "k8s.io/client-go/kubernetes", "two rooms alone"},
		{"./discovery/marathon", "./discovery/kubernetes", "need not have Kubernetes"},
		{"./discovery", "./discovery/marathon/marathontest", "the lab and tests alone"},
	} {
		t.Run(tt.from+" to "+tt.to, func(t *testing.T) {
			graph := good()
			from := strings.Replace(tt.from, "./", module+"/", 1)
			graph[from] = append(graph[from], strings.Replace(tt.to, "./", module+"/", 1))
			faults := depFaults(graph, depRules)
			if !slices.ContainsFunc(faults, func(f string) bool {
				return strings.HasPrefix(f, from+" -> ") && strings.Contains(f, tt.why)
			}) {
				t.Errorf("the edge goes unnoticed: %q", faults)
			}
		})
	}
}
