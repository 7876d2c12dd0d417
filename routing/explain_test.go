// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sluice-mesh/sluice/conditions"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/routing/routingtest"
)

// reachable is what is there in tests of explanations.
type reachable struct {
	down      map[string]bool
	instances map[string][]string
	open      map[string]uint64
}

func (l reachable) Open(_ *routing.CompiledGateway, r *routing.CompiledRoute) uint64 {
	return l.open[r.Path]
}

func (l reachable) Usable(_ *routing.CompiledGateway, r *routing.CompiledRoute) bool {
	return !l.down[r.Path]
}

func (l reachable) Instances(_ *routing.CompiledGateway, r *routing.CompiledRoute) []string {
	return l.instances[r.Path]
}

// whyReasons are all that an explanation may name.
var whyReasons = []string{
	routing.WhyChosen, routing.WhyNotOnGateway, routing.WhyEarlierCondition, routing.WhyConditionFalse,
	routing.WhyStrengthLost, routing.WhyWeightZero, routing.WhyWeights, routing.WhyPinned, routing.WhyNotUsable,
}

// TestExplainCases runs the cases of testdata/explain. A file holds cases of
// the form
//
//	=== the behaviour that the case shows
//	YAML
//	--- asked
//	METHOD URL, then lines of the form
//	kept GATEWAY ROUTE (by cookie) · kept GATEWAY ROUTE taken|left (its strength)
//	header NAME: VALUE · client IP · gateway NAME · why-not ROUTE · ticket TEXT
//	down PATH · instances PATH ADDRESS...
//	--- told
//	the explanation for people, then the reason of why-not for programs
func TestExplainCases(t *testing.T) {
	files, err := filepath.Glob("testdata/explain/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v, %v", files, err)
	}
	reasons := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		intro, rest, _ := strings.Cut(string(text), "=== ")
		var updated strings.Builder
		updated.WriteString(intro)
		for one := range strings.SplitSeq(rest, "\n=== ") {
			name, body, _ := strings.Cut(one, "\n")
			yaml, body, _ := strings.Cut(body, "--- asked\n")
			asked, want, found := strings.Cut(body, "--- told\n")
			if !found {
				t.Fatalf("%s: %s: nothing is told", file, name)
			}
			var got string
			t.Run(name, func(t *testing.T) {
				e := explainCase(t, yaml, asked)
				got = strings.TrimSpace(e.Format())
				for line := range strings.Lines(got) {
					if line = strings.TrimSpace(line); utf8.RuneCountInString(line) > 80 && strings.Contains(line, " ") {
						t.Errorf("a line of more than 80 characters: %s", line)
					}
				}
				if e.WhyNot != nil {
					reasons[e.WhyNot.Reason] = true
					got += "\n(" + e.WhyNot.Reason + ")"
				}
				if want = strings.TrimSpace(want); got != want && !*update {
					t.Errorf("got\n%s\nwant\n%s", got, want)
				}
			})
			fmt.Fprintf(&updated, "=== %s\n%s--- asked\n%s--- told\n%s\n\n", name, yaml, asked, got)
		}
		if *update {
			if err := os.WriteFile(file, []byte(strings.TrimRight(updated.String(), "\n")+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	manual, err := os.ReadFile("../docs/explain.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, reason := range whyReasons {
		if !strings.Contains(string(manual), "| `"+reason+"` |") {
			t.Errorf("docs/explain.md does not tell of the reason %s", reason)
		}
		if !reasons[reason] {
			t.Errorf("no case shows a route that a request did not take for the reason %s", reason)
		}
	}
}

func explainCase(t *testing.T, yaml, asked string) *routing.Explanation {
	t.Helper()
	docs, _ := routing.Read("case.yaml", []byte(yaml))
	table, _ := routing.Resolve(docs)
	table.Version = routing.Version{Epoch: 1, Revision: 1}
	s, faults := routing.Compile(nil, table, routing.CompileOptions{})
	for _, f := range faults {
		if f.Severity == routing.Refused {
			t.Fatal(f)
		}
	}
	var r routing.ExplainRequest
	vouched := false
	live := reachable{down: map[string]bool{}, instances: map[string][]string{}, open: map[string]uint64{}}
	for i, line := range strings.Split(strings.TrimSpace(asked), "\n") {
		word, rest, _ := strings.Cut(line, " ")
		if i == 0 {
			r.Method, r.URL = word, rest
			continue
		}
		switch word {
		case "header":
			name, value, _ := strings.Cut(rest, ":")
			r.Headers = append(r.Headers, routing.HeaderField{Name: name, Value: value})
		case "kept":
			words := strings.Fields(rest)
			r.Headers = append(r.Headers, routing.HeaderField{Name: "Cookie", Value: stickyCookie(words)})
		case "client":
			r.ClientIP = rest
		case "gateway":
			r.Gateway = rest
		case "sni":
			r.SNI = rest
		case "alpn":
			r.ALPN = strings.Fields(rest)
		case "certificate":
			names := strings.Fields(rest)
			r.Certificate = &routing.ExplainCertificate{Subject: names[0], SANs: names[1:]}
		case "vouched":
			vouched = true
		case "why-not":
			r.WhyNot = rest
		case "ticket":
			if err := r.Ticket.Set(rest); err != nil {
				t.Fatal(err)
			}
		case "down":
			live.down[rest] = true
		case "instances":
			words := strings.Fields(rest)
			live.instances[words[0]] = words[1:]
		default:
			t.Fatalf("line %q: what is %q?", line, word)
		}
	}
	e, err := s.Explain(r, routing.ExplainOptions{
		VirtualHostsPort:    8080,
		VirtualHostsTLSPort: 8443,
		Vouched:             func(conditions.Request) bool { return vouched },
		Live:                live,
		CallStatus:          func(reason string, status int) uint8 { return uint8(status - 400 - len(reason)) },
		Headers: func(_ *routing.CompiledGateway, _ *routing.Bounds, r conditions.Request) []routing.HeaderField {
			return []routing.HeaderField{{Name: "X-Forwarded-For", Value: r.Conn().Client.Addr().String()}}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	checkExplanation(t, e)
	return e
}

// stickyCookie returns the cookie of a client that was given a route of a
// gateway by weight, or by its strength.
func stickyCookie(words []string) string {
	route := routing.RouteID(words[0], words[1])
	switch {
	case len(words) == 2:
		return "o_" + routing.GatewayID(words[0]) + "=" + route
	case words[2] == "taken":
		return "im_" + route + "=" + route
	default:
		return "im_" + route + "=o_" + routing.GatewayID(words[0])
	}
}

// checkExplanation holds what is true of any explanation.
func checkExplanation(t *testing.T, e *routing.Explanation) {
	t.Helper()
	total, chosen := new(big.Rat), 0
	for _, one := range e.Shares {
		total.Add(total, fraction(t, one.Fraction))
		if one.Chosen {
			chosen++
		}
	}
	if total.Cmp(big.NewRat(1, 1)) != 0 || chosen != 1 {
		t.Errorf("shares %+v: they sum to %v, and %d are of this request, want 1 and 1", e.Shares, total, chosen)
	}
	text, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	var again routing.Explanation
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatal(err)
	}
	if got, want := again.Format(), e.Format(); got != want {
		t.Errorf("after a way through JSON it is told as\n%s\nwant\n%s", got, want)
	}
}

func fraction(t *testing.T, text string) *big.Rat {
	t.Helper()
	share, ok := new(big.Rat).SetString(text)
	if !ok || share.Sign() <= 0 {
		t.Errorf("%q is not a share", text)
	}
	return share
}

func TestExplainRequestsThatCannotBe(t *testing.T) {
	s, _ := compile(table(1, gateway("shop", 9000, route("[a:1]", full))))
	for _, tt := range []struct {
		name    string
		request routing.ExplainRequest
		want    string
	}{
		{"a URL without a host", routing.ExplainRequest{URL: "http:///cart"}, "url: there is no host"},
		{"no URL", routing.ExplainRequest{}, "url: there is no host"},
		{"a connection to a port of requests", routing.ExplainRequest{URL: "tcp://shop.example:9000"}, "url: gateway shop takes requests; write http:// or https://"},
		{"a connection without a port", routing.ExplainRequest{URL: "tcp://db.example"}, "url: a connection needs a port; such as tcp://db.example:5432"},
		{"a connection with a path", routing.ExplainRequest{URL: "tcp://db.example:1/a"}, `url: "db.example:1/a" is not a host`},
		{"a connection to nowhere", routing.ExplainRequest{URL: "tcp://:1"}, "url: there is no host"},
		{"a connection with headers", routing.ExplainRequest{URL: "tcp://db.example:1", Headers: []routing.HeaderField{{"A", "b"}}}, "headers: a connection has no headers"},
		{"a connection with a method", routing.ExplainRequest{Method: "PUT", URL: "tcp://db.example:1"}, "method: a connection has no method"},
		{"a server name in plain text", routing.ExplainRequest{URL: "shop.example", SNI: "a"}, "sni: the request comes in plain text"},
		{"protocols in plain text", routing.ExplainRequest{URL: "shop.example", ALPN: []string{"h2"}}, "alpn: the request comes in plain text"},
		{"a certificate in plain text", routing.ExplainRequest{URL: "shop.example", Certificate: &routing.ExplainCertificate{}}, "client_certificate: the request comes in plain text"},
		{"a server name that is none", routing.ExplainRequest{URL: "https://shop.example", SNI: "a b"}, `sni: "a b" is not a server name`},
		{"a protocol that is none", routing.ExplainRequest{URL: "https://shop.example", ALPN: []string{""}}, "alpn: up to 100 protocols of 1 to 255 bytes"},
		{"too many names", routing.ExplainRequest{URL: "https://shop.example", Certificate: &routing.ExplainCertificate{SANs: make([]string, 101)}}, "client_certificate: it has 101 names; at most 100"},
		{"another scheme", routing.ExplainRequest{URL: "ftp://shop.example/"}, `url: "ftp" is not a scheme`},
		{"a user in the URL", routing.ExplainRequest{URL: "http://me@shop.example/"}, `url: "me@shop.example" is not a host`},
		{"a port out of range", routing.ExplainRequest{URL: "http://shop.example:65536/"}, "1 to 65535"},
		{"an empty port", routing.ExplainRequest{URL: "http://shop.example:/"}, "1 to 65535"},
		{"a broken literal", routing.ExplainRequest{URL: "http://[::1/"}, "is not a host"},
		{"a blank in the path", routing.ExplainRequest{URL: "http://shop.example/a b"}, "url: a path or query has no blanks"},
		{"a method that is no word", routing.ExplainRequest{Method: "GET /", URL: "shop.example"}, `method: "GET /" is not a method`},
		{"CONNECT", routing.ExplainRequest{Method: "CONNECT", URL: "shop.example"}, "method: CONNECT is not forwarded"},
		{"a header without a name", routing.ExplainRequest{URL: "shop.example", Headers: []routing.HeaderField{{Value: "x"}}}, `headers: "" is not the name`},
		{"a line feed in a value", routing.ExplainRequest{URL: "shop.example", Headers: []routing.HeaderField{{"A", "b\nc"}}}, "headers: the value of A"},
		{"a value that is not UTF-8", routing.ExplainRequest{URL: "shop.example", Headers: []routing.HeaderField{{"A", "\xff"}}}, "headers: the value of A is not UTF-8"},
		{"a target that is not UTF-8", routing.ExplainRequest{URL: "shop.example/\xff"}, "write such bytes as %FF"},
		{"Host twice", routing.ExplainRequest{URL: "shop.example", Headers: []routing.HeaderField{{"Host", "a"}, {"host", "b"}}}, "headers: Host stands twice"},
		{"a Host that is none", routing.ExplainRequest{URL: "shop.example", Headers: []routing.HeaderField{{"Host", "a/b"}}}, "headers: Host: "},
		{"a client that is no address", routing.ExplainRequest{URL: "shop.example", ClientIP: "me"}, `client_ip: "me" is not an IP address`},
		{"an unknown gateway", routing.ExplainRequest{URL: "shop.example", Gateway: "shpo"}, `gateway: there is no gateway "shpo"; did you mean shop?`},
		{"a ticket of an unknown gateway", routing.ExplainRequest{URL: "shop.example", Ticket: routing.Tickets{"weights@x": 1}}, `ticket: there is no gateway "x"`},
		{"a ticket of an unknown draw", routing.ExplainRequest{URL: "shop.example", Ticket: routing.Tickets{"luck": 1}}, `ticket: no draw is called "luck"`},
		{"chance of a gateway", routing.ExplainRequest{URL: "shop.example", Ticket: routing.Tickets{"random@shop": 1}}, `ticket: no draw is called "random@shop"`},
		{"chance out of range", routing.ExplainRequest{URL: "shop.example", Ticket: routing.Tickets{"random": 1 << 32}}, "0 to 4294967295"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, err := s.Explain(tt.request, routing.ExplainOptions{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Explain(%+v) = %+v, %v; want an error with %q", tt.request, e, err, tt.want)
			}
		})
	}
}

func TestExplainReadsWhatIsSent(t *testing.T) {
	s, _ := compile(table(1, gateway("shop", 80, route("[a:1]", full))))
	for _, tt := range []struct {
		name, url          string
		headers            []routing.HeaderField
		host, target, text string
		port               int
	}{
		{name: "a path is sent as written", url: "http://shop.example/a%20b/../c?d=%41&&", host: "shop.example", target: "/a%20b/../c?d=%41&&", port: 80},
		{name: "no path is /", url: "http://shop.example", host: "shop.example", target: "/", port: 80},
		{name: "a query without a path has one", url: "http://shop.example?a=b", host: "shop.example", target: "/?a=b", port: 80},
		{name: "a fragment is not sent", url: "http://shop.example/a#b?c", host: "shop.example", target: "/a", port: 80},
		{name: "the usual port is not sent", url: "HTTP://Shop.Example:80/", host: "Shop.Example", target: "/", port: 80},
		{name: "another port is", url: "http://shop.example:8080/", host: "shop.example:8080", target: "/", port: 8080},
		{name: "an address of IPv6", url: "http://[::1]:8080/", host: "[::1]:8080", target: "/", port: 8080},
		{
			name: "a Host that is given is sent, to the port of the URL", url: "http://127.0.0.1:8080/",
			headers: []routing.HeaderField{{"hOST", " shop.example "}}, host: "shop.example", target: "/", port: 8080,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, err := s.Explain(routing.ExplainRequest{URL: tt.url, Headers: tt.headers}, routing.ExplainOptions{})
			if err != nil {
				t.Fatal(err)
			}
			want := routing.RequestExplanation{
				Method: "GET", Host: tt.host, Port: tt.port, Target: tt.target, ClientIP: "127.0.0.1", ClientIPFrom: "connection",
				Headers: []routing.HeaderField{{Name: "Host", Value: tt.host}},
			}
			if !reflect.DeepEqual(e.Request, want) {
				t.Errorf("Explain(%q) saw %+v, want %+v", tt.url, e.Request, want)
			}
		})
	}
}

func TestExplainTakesNoTicket(t *testing.T) {
	s, _ := compile(table(1, gateway("shop", 9000, route("[a:1]", half), when("[b:1]", half, "has header X", half))))
	g := s.ByName("shop")
	r := routingtest.NewRequest("GET", "shop.example", "/")
	for want := range uint64(20) {
		e, err := s.Explain(routing.ExplainRequest{URL: "shop.example", Gateway: "shop"}, routing.ExplainOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var d routing.Decision
		s.Decide(g, r, &routingtest.Counters{}, &d)
		if got := e.Hops[0]; got.Weights.Ticket != want || got.Route != d.Last().Route.Path {
			t.Fatalf("before request %d: explained as ticket %d to %s, and then it went to %s", want, got.Weights.Ticket, got.Route, d.Last().Route.Path)
		}
	}
}

func TestExplainRoutesToInstances(t *testing.T) {
	r := route("shop-1.0.0", full)
	for i := range 2 {
		r.Instances = append(r.Instances, &routing.Instance{Address: netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), Port: 80, Ready: true})
	}
	s, faults := compile(table(1, gateway("shop", 9000, r)))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	live := reachable{instances: map[string][]string{"shop-1.0.0": {"10.0.0.0:80", "10.0.0.1:80"}}}
	e, err := s.Explain(routing.ExplainRequest{URL: "http://shop.example:9000"}, routing.ExplainOptions{Live: live})
	if err != nil {
		t.Fatal(err)
	}
	checkExplanation(t, e)
	want := "   It leads to one of 10.0.0.0:80, 10.0.0.1:80.\n\nIt goes to one of 10.0.0.0:80, 10.0.0.1:80.\n"
	if got := e.Format(); !strings.Contains(got, want) {
		t.Errorf("told as\n%s\nwant\n%s", got, want)
	}
}

func TestExplainPercents(t *testing.T) {
	third := routing.Weight(3333)
	deep := []*routing.Gateway{gateway("g3", 9003, route("[a:1]", 1), route("[b:1]", full-1))}
	for i := 2; i >= 0; i-- {
		deep = append(deep, gateway(fmt.Sprintf("g%d", i), 9000+i, route(fmt.Sprintf("g%d", i+1), 1), route("[c:1]", full-1)))
	}
	for _, tt := range []struct {
		name     string
		gateways []*routing.Gateway
		want     string
	}{
		{"shares are exact", []*routing.Gateway{gateway("g0", 9000, route("[a:1]", third), route("[b:1]", full-third))}, "66.67% 6667/10000, 33.33% 3333/10000"},
		{
			"shares of chains are rounded half up",
			[]*routing.Gateway{gateway("g0", 9000, route("g1", half), route("[a:1]", half)), gateway("g1", 9001, route("[b:1]", third), route("[c:1]", full-third))},
			"50% 1/2, 33.34% 6667/20000, 16.67% 3333/20000",
		},
		{
			"next to nothing is not nothing, and nearly all is not all",
			deep,
			"99.99% 9999/10000, 0.01% 9999/100000000, <0.01% 9999/1000000000000, <0.01% 9999/10000000000000000, <0.01% 1/10000000000000000",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, faults := compile(table(1, tt.gateways...))
			if len(faults) > 0 {
				t.Fatal(faults)
			}
			e, err := s.Explain(routing.ExplainRequest{URL: "http://shop.example:9000"}, routing.ExplainOptions{})
			if err != nil {
				t.Fatal(err)
			}
			checkExplanation(t, e)
			var got []string
			for _, one := range e.Shares {
				got = append(got, one.Percent+" "+one.Fraction)
			}
			if got := strings.Join(got, ", "); got != tt.want {
				t.Errorf("shares %s, want %s", got, tt.want)
			}
		})
	}
}

func TestTraceLine(t *testing.T) {
	g := gateway("shop", 9000, route("[a:1]", half), when("inner", half, "has header X", half))
	g.Unavailable = routing.UnavailableRedistribute
	kept := gateway("kept", 9004, route("[a:1]", half), route("[b:1]", half))
	kept.Sticky = "route"
	s, faults := compile(table(1, g, kept, gateway("inner", 9001, route("[b:1]", full)), gateway("grün", 9002, route("größe", full)),
		gateway("none", 9003)))
	if got := codes(faults); got != "(grün RouteTargetMissing)" {
		t.Fatal(got)
	}
	for _, tt := range []struct {
		name, gateway, field, down, instance string
		skip                                 int // decisions before
		want                                 string
	}{
		{name: "by weight", gateway: "shop", instance: "10.0.0.1:1", want: "shop>[a:1] via weights weights=0; 10.0.0.1:1", skip: 0},
		{
			name: "by condition, through a chain", gateway: "shop", field: "X: 1", instance: "10.0.0.2:1",
			want: "shop>inner via condition held=1 strength=0; inner>[b:1] via weights weights=0; 10.0.0.2:1",
		},
		{
			name: "by weight after a strength was lost", gateway: "shop", field: "X: 1", instance: "10.0.0.1:1", skip: 1,
			want: "shop>[a:1] via weights held=1 strength=1 weights=0; 10.0.0.1:1",
		},
		{
			name: "redistributed", gateway: "shop", down: "[a:1]", instance: "10.0.0.2:1",
			want: "shop>inner via redistributed from [a:1] weights=0; inner>[b:1] via weights weights=0; 10.0.0.2:1",
		},
		{
			name: "kept by a cookie", gateway: "kept", field: "Cookie: " + stickyCookie([]string{"kept", "[a:1]"}), instance: "10.0.0.1:1",
			want: "kept>[a:1] via pinned; 10.0.0.1:1",
		},
		{name: "nothing is there", gateway: "inner", down: "[b:1]", want: "inner>[b:1] via weights weights=0; no_ready_instance"},
		{name: "no route", gateway: "none", want: "none>nothing; no_route"},
		{name: "names outside ASCII", gateway: "grün", want: "gr?n>gr??e via weights weights=0; no_ready_instance"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			draws := &routingtest.Tickets{Down: map[string]bool{tt.down: true}}
			r := routingtest.NewRequest("GET", "shop.example", "/", tt.field)
			var trace routing.Trace
			var d routing.Decision
			for range tt.skip + 1 {
				trace.Reset(draws)
				s.Decide(s.ByName(tt.gateway), r, &trace, &d)
			}
			if got := trace.Line(&d, tt.instance); got != tt.want {
				t.Errorf("Line() = %q, want %q", got, tt.want)
			}
		})
	}
}

// following are draws that begin at one ticket for every split.
type following struct {
	reachable
	first uint64
	taken map[*routing.Split]uint64
}

func (f *following) Ticket(s *routing.Split) uint64 {
	n := f.first + f.taken[s]
	f.taken[s]++
	return n
}

// FuzzExplainAndDecideAgree explains and decides with the same tickets.
func FuzzExplainAndDecideAgree(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed, seed*7, seed%2 == 0)
	}
	f.Fuzz(func(t *testing.T, seed, ticket uint64, down bool) {
		random := rand.New(rand.NewPCG(seed, 2))
		s, _ := routing.Compile(nil, table(1, randomTable(random)...), routing.CompileOptions{Seed: seed})
		live := reachable{down: map[string]bool{"[a:1]": down, "[b:1]": random.IntN(4) == 0}}
		agent := []string{"Firefox", "Chrome", "curl"}[random.IntN(3)]
		r := routingtest.NewRequest("GET", "shop.example", "/", "User-Agent: "+agent)
		var d routing.Decision
		for _, g := range s.Gateways() {
			s.Decide(g, r, &following{live, ticket, map[*routing.Split]uint64{}}, &d)
			e, err := s.Explain(routing.ExplainRequest{
				URL: "shop.example", Gateway: g.Name, Ticket: routing.Tickets{"": ticket}, WhyNot: "[c:1]",
				Headers: []routing.HeaderField{{Name: "User-Agent", Value: agent}},
			}, routing.ExplainOptions{Live: live})
			if err != nil {
				t.Fatal(err)
			}
			checkExplanation(t, e)
			checkAgreement(t, e, &d, r)
		}
	})
}

// checkAgreement fails unless an explanation tells of a decision.
func checkAgreement(t *testing.T, e *routing.Explanation, d *routing.Decision, r conditions.Request) {
	t.Helper()
	if len(e.Hops) != d.Depth || e.Outcome.Reason != d.Reason.String() {
		t.Fatalf("decided %s, explained as %d hops and %q", way(d), len(e.Hops), e.Outcome.Reason)
	}
	for i, got := range e.Hops {
		h := &d.Hops[i]
		path := ""
		if h.Route != nil {
			path = h.Route.Path
		}
		if got.Gateway != h.Gateway.Name || got.Route != path {
			t.Errorf("decided %s, explained hop %d as %s to %s", way(d), i, got.Gateway, got.Route)
		}
		if (got.Via == "condition") != (h.Taken && h.Route == h.Gateway.Conditions[h.Held]) {
			t.Errorf("decided %s, explained hop %d as by %s", way(d), i, got.Via)
		}
		for j, c := range got.Conditions {
			if c.Asked != (j <= h.Held) || c.Asked && c.Holds != h.Gateway.Conditions[j].Condition.Holds(r) {
				t.Errorf("decided %s, explained condition %d as %+v", way(d), j, c)
			}
		}
	}
}

// FuzzSharesAreThoseOfAllTickets decides whole periods and counts.
func FuzzSharesAreThoseOfAllTickets(f *testing.F) {
	for seed := range uint64(40) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 3))
		s, faults := routing.Compile(nil, table(1, coarseTable(random)...), routing.CompileOptions{Seed: seed})
		for _, f := range faults {
			if f.Severity == routing.Refused {
				t.Fatal(f)
			}
		}
		live := reachable{down: map[string]bool{"[a:1]": random.IntN(2) == 0, "[b:1]": random.IntN(3) == 0}}
		e, err := s.Explain(routing.ExplainRequest{URL: "http://shop.example:9000"}, routing.ExplainOptions{Live: live})
		if err != nil {
			t.Fatal(err)
		}
		checkExplanation(t, e)
		got := map[string]int64{}
		draws := &routingtest.Tickets{Down: live.down}
		r := routingtest.NewRequest("GET", "shop.example:9000", "/")
		var d routing.Decision
		for range wholePeriods {
			s.Decide(s.ByPort(9000), r, draws, &d)
			h := d.Last()
			end := h.Gateway.Name + " " + d.Reason.String()
			if h.Route != nil {
				end += " " + h.Route.Path
			}
			got[end]++
		}
		want := map[string]int64{}
		for _, one := range e.Shares {
			n := new(big.Rat).Mul(fraction(t, one.Fraction), big.NewRat(wholePeriods, 1))
			if !n.IsInt() {
				t.Fatalf("a share of %s: the test does not walk whole periods", one.Fraction)
			}
			end := one.Gateway + " " + one.Reason
			if one.Route != "" {
				end += " " + one.Route
			}
			want[end] = n.Num().Int64()
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("decided %v, explained as %v", got, want)
		}
	})
}

// coarseTable returns two gateways, of which the first may lead to the
// second.
func coarseTable(random *rand.Rand) []*routing.Gateway {
	return []*routing.Gateway{
		coarseGateway(random, "outer", 9000, "[a:1]", "[c:1]", "inner", "gone"),
		coarseGateway(random, "inner", 9001, "[a:1]", "[b:1]", "[c:1]"),
	}
}

// coarseGateway has weights in multiples of 20 % and strengths of 50 %, so
// that it comes round in at most 5 tickets, of which 1 to 5 are usable.
func coarseGateway(random *rand.Rand, name string, port int, paths ...string) *routing.Gateway {
	g := gateway(name, port)
	g.Unavailable = routing.UnavailableMode(random.IntN(2))
	random.Shuffle(len(paths), func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
	left := 5
	for i, path := range paths {
		n := random.IntN(left + 1)
		if i == len(paths)-1 {
			n = left
		}
		left -= n
		r := route(path, routing.Weight(n*2000))
		if random.IntN(2) == 0 {
			r.Condition = []string{"host == shop.example:9000", "host == other.example"}[random.IntN(2)]
			r.Strength = routing.Weight(random.IntN(3) * 5000)
		}
		g.Routes = append(g.Routes, r)
	}
	if random.IntN(8) == 0 {
		for _, r := range g.Routes {
			r.Weight = 0
		}
	}
	return g
}

// wholePeriods is a number of requests that whole periods of coarseTable make
// up: a gateway halves by strength and then shares out 1 to 5 tickets, and
// there are two.
const wholePeriods = 2 * 60 * 2 * 60

// FuzzExplainRequest describes requests as JSON. What is accepted can be
// described anew from what was seen.
func FuzzExplainRequest(f *testing.F) {
	for _, seed := range []string{
		`{"url": "http://shop.example/cart"}`,
		`{"method": "POST", "url": "http://[::1]:8080?x", "headers": [["Host", "a:1"], ["Cookie", "a=b; c=d"]]}`,
		`{"url": "shop.example:80", "client_ip": "::ffff:10.0.0.1", "ticket": 17, "why_not": "[a:1]"}`,
		`{"url": "x", "gateway": "shop", "ticket": {"strength": 1, "weights@shop": 2, "random": 3}}`,
		`{"url": "http://x/ä", "headers": [["A"]]}`,
		`{"url": "https://Shop.example/cart", "alpn": ["h2", "http/1.1"], "client_certificate": {"subject": "CN=a", "sans": ["a.example", "a@b", "c://d"]}}`,
		`{"url": "https://10.0.0.1:8443", "sni": "shop.example"}`,
		`{"url": "https://shop.example:8443", "sni": "-"}`,
		`{"url": "https://shop.example:8080"}`,
		`{"url": "tcp://db.example:5432", "sni": "db.example", "alpn": ["a"]}`,
		`{"url": "tcp://db.example:5432"}`,
	} {
		f.Add([]byte(seed))
	}
	g := gateway("shop", 8080, route("[a:1]", half), when("[b:1]", half, "header Cookie has a=b", half))
	g.VirtualHosts = []string{"shop.example"}
	secure := gateway("secure", 8443, route("[a:1]", half), when("[b:1]", half, "sni == shop.example or alpn == h2 or client san == a.example", half))
	secure.TLS = listen(func(l *routing.ListenTLS) { l.ClientAuth, l.ClientCA = routing.ClientAuthOptional, "ca.crt" })
	secure.VirtualHosts = []string{"*.shop.example", "secure.example"}
	db := gateway("db", 5432, route("[a:1]", half), when("[b:1]", half, "sni == db.example or alpn == a", half))
	db.Port.Type = routing.TCP
	s, faults := compile(table(1, g, secure, db))
	if len(faults) > 0 {
		f.Fatal(faults)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var asked routing.ExplainRequest
		if json.Unmarshal(text, &asked) != nil {
			return
		}
		e, err := s.Explain(asked, routing.ExplainOptions{})
		if err != nil {
			if _, ok := err.(*routing.ExplainError); !ok { //nolint:errorlint // it is never wrapped
				t.Errorf("Explain(%s) error = %v of type %T", text, err, err)
			}
			return
		}
		checkExplanation(t, e)
		seen := asked
		seen.Method, seen.ClientIP, seen.Headers = e.Request.Method, e.Request.ClientIP, e.Request.Headers
		host := "x"
		if seen.Method == "" {
			host = e.Request.Host // a connection has no header that names it
		}
		seen.URL = cmp.Or(e.Request.Scheme, "http") + "://" + host + ":" + strconv.Itoa(e.Request.Port) + e.Request.Target
		if seen.SNI = e.Request.SNI; seen.SNI == "" && (e.Request.Scheme == "https" || asked.SNI != "") {
			seen.SNI = "-"
		}
		seen.ALPN = e.Request.ALPN
		again, err := s.Explain(seen, routing.ExplainOptions{})
		if err != nil || !reflect.DeepEqual(again.Request, e.Request) || !slices.EqualFunc(again.Hops, e.Hops, func(a, b routing.HopExplanation) bool { return reflect.DeepEqual(a, b) }) {
			t.Errorf("Explain(%s) = %+v; described anew it is %+v (%v)", text, e, again, err)
		}
	})
}

func FuzzTickets(f *testing.F) {
	for _, seed := range []string{"17", "strength=3", "weights@a/b=18446744073709551615", "random=4294967295", "=1", "luck=1", "strength@=1", "-1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var tickets routing.Tickets
		if err := tickets.Set(text); err != nil {
			if len(tickets) > 0 {
				t.Errorf("Set(%q) = %v, and yet set %v", text, err, tickets)
			}
			return
		}
		j, err := json.Marshal(tickets)
		if err != nil {
			t.Fatal(err)
		}
		var again routing.Tickets
		if err := json.Unmarshal(j, &again); err != nil || !reflect.DeepEqual(again, tickets) {
			t.Errorf("Set(%q) = %v, after a way through JSON %v (%v)", text, tickets, again, err)
		}
	})
}
