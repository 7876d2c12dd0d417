// SPDX-License-Identifier: Apache-2.0

package scenario_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/bench/load"
	"github.com/sluice-mesh/sluice/bench/scenario"
)

func TestParse(t *testing.T) {
	f, err := os.Open("testdata/shop.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, err := scenario.Parse("shop.yaml", f)
	if err != nil {
		t.Fatal(err)
	}
	if s.Name != "a day at the shop" || s.Host != "shop.example" {
		t.Errorf("name and host = %q, %q, want those of the file", s.Name, s.Host)
	}
	p, err := s.Plan("127.0.0.1:9050")
	if err != nil {
		t.Fatal(err)
	}
	want := load.Plan{
		Address: "127.0.0.1:9050", Connections: 8, Rate: 200.5, Duration: 30 * time.Second, Warmup: 2 * time.Second,
		Requests: 1000, PerConnection: 50, Timeout: 5 * time.Second,
	}
	if p.Address != want.Address || p.Connections != want.Connections || p.Rate != want.Rate || p.Duration != want.Duration ||
		p.Warmup != want.Warmup || p.Requests != want.Requests || p.PerConnection != want.PerConnection || p.Timeout != want.Timeout {
		t.Errorf("plan = %+v, want %+v with a mix", p, want)
	}
	for i, w := range []load.Request{
		{
			Name: "browse", Weight: 90,
			Wire: []byte("GET / HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: Firefox\r\nAccept: text/html\r\nAccept: */*\r\n\r\n"),
		},
		{
			Name: "beta", Weight: 9,
			Wire: []byte("GET /cart?id=1 HTTP/1.1\r\nHost: beta.example:8080\r\nUser-Agent: Firefox\r\nAccept: text/html\r\nAccept: */*\r\n" +
				"Cookie: beta=yes\r\nX-Tier: gold\r\nX-Empty: \r\n\r\n"),
		},
		{
			Name: "order", Weight: 1,
			Wire: []byte("POST /order HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: Firefox\r\nAccept: text/html\r\nAccept: */*\r\n" +
				"Content-Length: 12\r\n\r\nabcdefghijkl"),
		},
		{
			Name: "look", Weight: 1, NoBody: true,
			Wire: []byte("HEAD / HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: Firefox\r\nAccept: text/html\r\nAccept: */*\r\n\r\n"),
		},
	} {
		got := p.Mix[i]
		if got.Name != w.Name || got.Weight != w.Weight || got.NoBody != w.NoBody || !bytes.Equal(got.Wire, w.Wire) {
			t.Errorf("mix[%d] = %q weight %d without body %t:\n%s\nwant %q weight %d without body %t:\n%s",
				i, got.Name, got.Weight, got.NoBody, got.Wire, w.Name, w.Weight, w.NoBody, w.Wire)
		}
	}
	if len(p.Mix) != 4 {
		t.Errorf("the mix has %d kinds of requests, want 4", len(p.Mix))
	}
}

func TestParseRefuses(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", "", "f.yaml:1:1: the file is empty"},
		{"only a comment", "# later\n", "f.yaml:1:1: the file is empty"},
		{"what is not YAML, with its line", "rate: 1\nmix: [\n", "f.yaml:2:1: the text is not YAML"},
		{"a list", "- path: /\n", "f.yaml:1:1: it is a mapping"},
		{"a second document", "rate: 1\n---\nrate: 2\n", "f.yaml:2:1: a second document"},
		{"an unknown key, naming the known ones", "rate: 1\nconections: 5\n", "f.yaml:2:1: unknown key \"conections\"; known are name, host, connections,"},
		{"an unknown key of a kind", "mix:\n  - {path: /, wieght: 3}\n", "f.yaml:2:15: mix[0]: unknown key \"wieght\"; known are name, weight,"},
		{"a key that stands twice", "rate: 1\nrate: 2\n", "f.yaml:2:1: \"rate\" stands twice, first on line 1"},
		{"a key that is no word", "? [a]\n: 1\n", "f.yaml:1:3: a key is a word"},
		{"no value", "rate:\n", "rate: it has no value"},
		{"a list for a value", "name: [a]\n", "f.yaml:1:7: name: it is a single value"},
		{"an alias", "name: &a x\nhost: *a\n", "f.yaml:2:7: host: aliases are not followed"},
		{"a rate that is no number", "rate: fast\n", "f.yaml:1:7: rate: \"fast\" is not a number"},
		{"a rate below zero", "rate: -1\n", "rate: -1 is not a rate"},
		{"a rate beyond all bounds", "rate: 1e99\n", "rate: 1e+99 is not a rate"},
		{"a rate that is not a number at all", "rate: NaN\n", "rate: NaN is not a rate"},
		{"a duration without a unit", "duration: 10\n", "f.yaml:1:11: duration: \"10\" is not a duration; a number with a unit"},
		{"a duration of nothing", "duration: 0s\n", "is not a duration"},
		{"a duration below zero", "duration: -1s\n", "duration: -1s is not a duration"},
		{"a duration that is too long", "duration: 25h\n", "duration: 25h0m0s is too long; at most 24h"},
		{"a timeout that is too long", "timeout: 2m\n", "timeout: 2m0s is too long"},
		{"no connections", "connections: 0\n", "connections: 0 is too few; at least 1"},
		{"too many connections", "connections: 100001\n", "connections: 100001 is too many; at most 100000"},
		{"half a connection", "connections: 1.5\n", "connections: \"1.5\" is not a whole number"},
		{"an empty mix", "mix: []\n", "f.yaml:1:6: mix: it is a list of kinds of requests"},
		{"a mix that is no list", "mix: {path: /}\n", "mix: it is a list of kinds of requests"},
		{"a kind that is no mapping", "mix: [/]\n", "f.yaml:1:7: mix[0]: it is a mapping"},
		{"a path without a slash", "mix: [{path: cart}]\n", "f.yaml:1:14: mix[0].path: \"cart\" does not begin with a slash"},
		{"a path with a blank", "mix: [{path: /a b}]\n", "must be written as %20"},
		{"a path with a broken escape", "mix: [{path: /%z}]\n", "two hexadecimal digits"},
		{"a method of two words", "mix: [{method: GET IT}]\n", "mix[0].method: \"GET IT\" is not a method"},
		{"CONNECT", "mix: [{method: CONNECT}]\n", "CONNECT opens a tunnel"},
		{"a host with a slash", "host: a/b\n", "host: \"a/b\" is not a host"},
		{"a header that frames", "headers: {content-length: 3}\n", "f.yaml:1:27: headers.content-length: content-length is not for scenarios to set"},
		{"a host among the headers", "mix: [{headers: {Host: a}}]\n", "mix[0].headers.Host: Host has a key of its own"},
		{"a header with a blank in its name", "headers: {X A: 3}\n", "\"X A\" is not the name of a header"},
		{"a header with a line break", "headers: {X: \"a\\r\\nY: b\"}\n", "has a control character"},
		{"a header set that nobody defined", "header_sets: {gold: {}}\nmix: [{use: [glod]}]\n", "f.yaml:2:14: mix[0].use: no header set is called \"glod\"; header_sets has gold"},
		{"a header set where there are none", "mix: [{use: [gold]}]\n", "header_sets has none"},
		{"two bodies", "mix: [{body: a, body_size: 3}]\n", "f.yaml:1:28: mix[0].body_size: body gives the body already"},
		{"a size that is none", "mix: [{body_size: big}]\n", "mix[0].body_size: \"big\" is not a size"},
		{"a body that is too large", "mix: [{body_size: 65MiB}]\n", "too large for a body"},
		{"bodies that are too large together", "mix: [{body_size: 40MiB}, {body_size: 40MiB}]\n", "f.yaml:1:39: mix[1].body_size: the bodies of a mix are larger than 64 MiB"},
		{"a weight of nothing", "mix: [{weight: 0}]\n", "mix[0].weight: 0 is too few"},
		{"a file without end", strings.Repeat("# a comment\n", 1<<17), "longer than 1 MiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := scenario.Parse("f.yaml", strings.NewReader(tt.text))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("Parse(%.80q) = %+v, %v, want an error with %q", tt.text, s, err, tt.want)
			}
			fault, ok := errors.AsType[*scenario.Fault](err)
			if !ok || fault.Source != "f.yaml" || fault.Line < 1 || fault.Column < 1 {
				t.Errorf("error = %#v, want a fault with source, line and column", err)
			}
		})
	}
}

func TestParseTellsAllFaultsInTheirOrder(t *testing.T) {
	_, err := scenario.Parse("f.yaml", strings.NewReader("timeout: x\nrate: y\nmix: [{weight: z}]\nwarmup: 0s\n"))
	if err == nil {
		t.Fatal("Parse error = nil, want four faults")
	}
	var lines []string
	for line := range strings.Lines(err.Error()) {
		place, _, _ := strings.Cut(line, ": ")
		lines = append(lines, place)
	}
	if want := []string{"f.yaml:1:10", "f.yaml:2:7", "f.yaml:3:16", "f.yaml:4:9"}; !slices.Equal(lines, want) {
		t.Errorf("faults at %q, want %q:\n%v", lines, want, err)
	}
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestParsePassesReadErrorsOn(t *testing.T) {
	if _, err := scenario.Parse("f.yaml", failingReader{}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Parse error = %v, want that of the reader", err)
	}
}

func TestPlan(t *testing.T) {
	t.Run("the zero scenario gets /", func(t *testing.T) {
		p, err := new(scenario.Scenario).Plan("127.0.0.1:80")
		if err != nil {
			t.Fatal(err)
		}
		want := "GET / HTTP/1.1\r\nHost: 127.0.0.1:80\r\nUser-Agent: sluice-bench\r\n\r\n"
		if len(p.Mix) != 1 || string(p.Mix[0].Wire) != want || p.Mix[0].Weight != 1 {
			t.Errorf("mix = %+v, want one request with weight 1: %q", p.Mix, want)
		}
	})
	t.Run("one request a connection says so", func(t *testing.T) {
		s := scenario.Scenario{PerConnection: 1}
		p, err := s.Plan("127.0.0.1:80")
		if err != nil || !bytes.Contains(p.Mix[0].Wire, []byte("\r\nConnection: close\r\n")) {
			t.Errorf("wire = %+v (%v), want Connection: close in it", p.Mix, err)
		}
	})
	t.Run("a POST without a body has length zero", func(t *testing.T) {
		s := scenario.Scenario{Mix: []scenario.Kind{{Method: "POST"}}}
		p, err := s.Plan("127.0.0.1:80")
		if err != nil || !bytes.Contains(p.Mix[0].Wire, []byte("\r\nContent-Length: 0\r\n")) {
			t.Errorf("wire = %+v (%v), want Content-Length: 0 in it", p.Mix, err)
		}
	})
	t.Run("values out of bounds are refused by name", func(t *testing.T) {
		s := scenario.Scenario{
			Host: "a b", Connections: -1, Rate: -1, Duration: -1, Warmup: 2 * time.Hour, Timeout: time.Hour, Requests: -1, PerConnection: -1,
			Headers: []scenario.Header{{Name: "Host", Value: "a"}, {Name: "X", Value: " a"}},
			Mix:     []scenario.Kind{{Weight: -1, Method: "a b", Path: "x", Host: "/", Headers: []scenario.Header{{Name: ":"}}, Body: make([]byte, scenario.MaxBody+1)}},
		}
		_, err := s.Plan("127.0.0.1:80")
		if err == nil {
			t.Fatal("Plan error = nil, want many faults")
		}
		var paths []string
		for line := range strings.Lines(err.Error()) {
			path, _, _ := strings.Cut(line, ": ")
			paths = append(paths, path)
		}
		want := []string{
			"host", "connections", "rate", "duration", "warmup", "timeout", "requests", "requests_per_connection", "headers", "headers",
			"mix[0].weight", "mix[0].method", "mix[0].path", "mix[0].host", "mix[0].headers", "mix",
		}
		if !slices.Equal(paths, want) {
			t.Errorf("faults of %q, want of %q", paths, want)
		}
	})
	t.Run("too many kinds are refused", func(t *testing.T) {
		s := scenario.Scenario{Mix: make([]scenario.Kind, scenario.MaxMix+1)}
		if _, err := s.Plan("127.0.0.1:80"); err == nil || !strings.Contains(err.Error(), "too many") {
			t.Errorf("Plan error = %v, want one about too many kinds", err)
		}
	})
}

func TestParseSize(t *testing.T) {
	for _, tt := range []struct {
		text string
		want int // negative: refused
	}{
		{"0", 0},
		{"512", 512},
		{"512B", 512},
		{"10KB", 10_000},
		{"10KiB", 10_240},
		{"10 KiB", 10_240},
		{"1MB", 1_000_000},
		{"64MiB", scenario.MaxBody},
		{"65MiB", -1},
		{"9999999999999999999MiB", -1},
		{"-1", -1},
		{"1.5KB", -1},
		{"KB", -1},
		{"", -1},
		{"1GB", -1},
	} {
		got, err := scenario.ParseSize(tt.text)
		if tt.want < 0 && err == nil || tt.want >= 0 && (err != nil || got != tt.want) {
			t.Errorf("ParseSize(%q) = %d, %v, want %d (negative: an error)", tt.text, got, err, tt.want)
		}
	}
}

func TestParseHeader(t *testing.T) {
	h, err := scenario.ParseHeader("X-A: b:c ")
	if want := (scenario.Header{Name: "X-A", Value: "b:c"}); err != nil || h != want {
		t.Errorf("ParseHeader = %+v, %v, want %+v", h, err, want)
	}
	if _, err := scenario.ParseHeader("X-A"); err == nil || !strings.Contains(err.Error(), "NAME:VALUE") {
		t.Errorf("ParseHeader error = %v, want one that says what is missing", err)
	}
}

func TestMadeUp(t *testing.T) {
	for _, n := range []int{0, 1, 63, 64, 65, 1 << 20} {
		if got := len(scenario.MadeUp(n)); got != n {
			t.Errorf("MadeUp(%d) has %d bytes", n, got)
		}
	}
}

// FuzzParse checks that what is accepted becomes requests that net/http reads
// as they were meant, and nothing but them.
func FuzzParse(f *testing.F) {
	text, err := os.ReadFile("testdata/shop.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text))
	f.Add("mix: [{body: a, method: GET}, {body_size: 3, headers: {X: [a, b]}}]\nrequests_per_connection: 1\n")
	f.Add("headers: {X: \"a\\tb\"}\nhost: \"[::1]:80\"\n")
	f.Add("mix: [{path: '/%41?a=%zz#'}]")
	f.Add("a: &a [*a]")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := scenario.Parse("f.yaml", strings.NewReader(text))
		if err != nil {
			if fault, ok := errors.AsType[*scenario.Fault](err); !ok || fault.Line < 1 || fault.Column < 1 {
				t.Fatalf("Parse(%q) error = %#v, want a fault with its place", text, err)
			}
			return
		}
		p, err := s.Plan("192.0.2.1:80")
		if err != nil {
			t.Fatalf("Parse(%q) is accepted, its plan is not: %v", text, err)
		}
		if len(p.Mix) != max(1, len(s.Mix)) {
			t.Fatalf("the plan has %d kinds, want %d", len(p.Mix), max(1, len(s.Mix)))
		}
		for i, r := range p.Mix {
			var k scenario.Kind
			if len(s.Mix) > 0 {
				k = s.Mix[i]
			}
			same(t, s, k, r)
		}
	})
}

// same checks that net/http reads the request of a kind as it was meant.
func same(t *testing.T, s *scenario.Scenario, k scenario.Kind, r load.Request) {
	t.Helper()
	if r.Weight < 1 || r.NoBody != (k.Method == http.MethodHead) {
		t.Errorf("weight %d, without body %t, of %+v", r.Weight, r.NoBody, k)
	}
	rest := bufio.NewReader(bytes.NewReader(r.Wire))
	got, err := http.ReadRequest(rest)
	if err != nil {
		t.Fatalf("net/http does not read %q: %v", r.Wire, err)
	}
	body, err := io.ReadAll(got.Body)
	if err != nil || !bytes.Equal(body, k.Body) {
		t.Errorf("body = %q (%v), want %q", body, err, k.Body)
	}
	if k.Path != "" && got.RequestURI != k.Path || k.Method != "" && got.Method != k.Method {
		t.Errorf("request = %s %q, want %s %q", got.Method, got.RequestURI, k.Method, k.Path)
	}
	want := make(http.Header)
	for _, h := range slices.Concat(s.Headers, k.Headers) {
		want.Add(h.Name, h.Value)
	}
	for name, values := range want {
		if !slices.Equal(got.Header.Values(name), values) {
			t.Errorf("%s = %q, want %q", name, got.Header.Values(name), values)
		}
	}
	if n, err := rest.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("there is more than one request in %q", r.Wire)
	}
}
