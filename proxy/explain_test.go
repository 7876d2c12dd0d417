// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/proxy"
	"github.com/sluice-mesh/sluice/proxy/http1"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/test/freeport"
)

const secret = "0123456789abcdef"

// asking has requests ask for explanations of themselves by X-Explain.
func asking(t *testing.T) func(*proxy.Options) {
	t.Helper()
	s, err := http1.NewSecret("X-Explain", secret)
	if err != nil {
		t.Fatal(err)
	}
	return func(o *proxy.Options) { o.Explain = s }
}

// mirror answers with the head of the request, and an explanation of its own.
func mirror(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Sluice-Explain", "by the instance")
	w.Header().Set("Sluice-Explanation", "by the instance")
	_, _ = io.WriteString(w, "Host: "+r.Host+"\n")
	_ = r.Header.Write(w)
}

// exchange sends a request head and returns the answer.
func exchange(t *testing.T, port int, head string) (status int, fields http.Header, body string) {
	t.Helper()
	nc := dial(t, fmt.Sprintf("http://127.0.0.1:%d", port))
	if _, err := io.WriteString(nc, strings.ReplaceAll(head, "\n", "\r\n")+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(nc), request(t, http.MethodGet, "/", http.NoBody))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(b)
}

func TestRequestsThatAskAreExplained(t *testing.T) {
	a := origin(t, mirror)
	p, gone := freeport.One(t), freeport.One(t)
	bed := start(t, asking(t))
	bed.apply(fmt.Sprintf(`
name: g
port: %d
routes:
  "[%s]": {weight: 100%%}
  "[127.0.0.1:%d]": {weight: 0%%, condition: has header X-Gone}
  beta: {weight: 0%%, condition: has header X-Explain or has header X-Beta}
  none: {weight: 0%%, condition: has header X-None}
---
{name: beta, routes: {"[%[2]s]": {}}}
---
{name: none, routes: {"[%[2]s]": {weight: 0%%}}}
`, p, a, gone))
	const head = "GET /cart HTTP/1.1\nHost: shop.example"
	for _, tt := range []struct {
		name, fields string
		status       int
		want         string
	}{
		{"nobody asked", "", 200, ""},
		{"the secret is right", "\nX-Explain: " + secret, 200, "g>[" + a + "] via weights weights=1; " + a},
		{"in any letter case of the name", "\nx-eXPLAIN:  " + secret + " ", 200, "g>[" + a + "] via weights weights=2; " + a},
		{"the secret is wrong", "\nX-Explain: 0123456789abcdeF", 200, ""},
		{"the secret is too short", "\nX-Explain: 0123", 200, ""},
		{"one of two is right", "\nX-Explain: no\nX-Explain: " + secret, 200, "g>[" + a + "] via weights weights=5; " + a},
		{
			"by condition, through a chain", "\nX-Beta: 1\nX-Explain: " + secret, 200,
			"g>beta via condition held=2; beta>[" + a + "] via weights weights=0; " + a,
		},
		{
			"no instance answers", "\nX-Gone: 1\nX-Explain: " + secret, 502,
			fmt.Sprintf("g>[127.0.0.1:%d] via condition held=1; connect_refused", gone),
		},
		{"no route", "\nX-None: 1\nX-Explain: " + secret, 503, "g>none via condition held=3; none>nothing; no_route"},
		{"a failure that nobody asked about", "\nX-None: 1", 503, ""},
		{"HTTP/1.0", "\nX-Explain: " + secret + "\nConnection: keep-alive, X-Explain", 200, "g>[" + a + "] via weights weights=6; " + a},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, fields, body := exchange(t, p, head+tt.fields)
			if got := fields.Values("Sluice-Explain"); status != tt.status || strings.Join(got, " | ") != tt.want {
				t.Errorf("status %d, Sluice-Explain %q, want %d %q", status, got, tt.status, tt.want)
			}
			checkTold(t, fields, tt.want)
			if strings.Contains(strings.ToLower(body), "x-explain") || strings.Contains(body, secret) {
				t.Errorf("the instance saw\n%s", body)
			}
			if status == http.StatusOK && !strings.Contains(body, "X-Request-Id: ") {
				t.Errorf("the instance saw\n%s\nwant the rest of the head", body)
			}
		})
	}
}

// checkTold checks that the whole explanation says what the line says.
func checkTold(t *testing.T, fields http.Header, line string) {
	t.Helper()
	told := strings.Join(fields.Values("Sluice-Explanation"), "|")
	if line == "" {
		if told != "" {
			t.Errorf("Sluice-Explanation = %q, want none", told)
		}
		return
	}
	var e routing.Explanation
	if err := json.Unmarshal([]byte(told), &e); err != nil {
		t.Fatalf("Sluice-Explanation = %q: %v", told, err)
	}
	hops := strings.Split(line, "; ")
	hops = hops[:len(hops)-1]
	if len(e.Hops) != len(hops) {
		t.Fatalf("%d hops are told, want %d as in %q", len(e.Hops), len(hops), line)
	}
	for i, hop := range hops {
		want := e.Hops[i].Gateway + ">nothing"
		if e.Hops[i].Route != "" {
			want = e.Hops[i].Gateway + ">" + e.Hops[i].Route + " via " + e.Hops[i].Via
		}
		if !strings.HasPrefix(hop, want) {
			t.Errorf("hop %d is told as %q, the line says %q", i, want, hop)
		}
		if w := e.Hops[i].Weights; w != nil && !strings.Contains(hop, fmt.Sprintf("weights=%d", w.Ticket)) {
			t.Errorf("hop %d is told with the ticket %d, the line says %q", i, w.Ticket, hop)
		}
	}
	if len(e.Shares) == 0 || strings.Contains(told, secret) {
		t.Errorf("Sluice-Explanation = %q, want shares and not the secret", told)
	}
}

func TestWithoutASecretNoHeaderIsSpecial(t *testing.T) {
	p := freeport.One(t)
	bed := start(t, nil)
	bed.apply(fmt.Sprintf(`{name: g, port: %d, routes: {"[%s]": {}}}`, p, origin(t, mirror)))
	_, fields, body := exchange(t, p, "GET / HTTP/1.1\nHost: a\nX-Explain: "+secret)
	if got := fields.Get("Sluice-Explain"); got != "" || !strings.Contains(body, "X-Explain: "+secret) {
		t.Errorf("Sluice-Explain %q, and the instance saw\n%s\nwant none, and all fields", got, body)
	}
}

func TestExplainTellsWhatServes(t *testing.T) {
	a := origin(t, mirror)
	p := freeport.One(t)
	bed := start(t, nil)
	ask := func(r routing.ExplainRequest) *routing.Explanation {
		t.Helper()
		e, err := bed.server.Explain(r)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	asked := routing.ExplainRequest{
		URL:     fmt.Sprintf("http://shop.example:%d/cart", p),
		Headers: []routing.HeaderField{{Name: "X-Forwarded-For", Value: "10.0.0.1"}},
	}
	if got := ask(asked); got.Outcome.Reason != routing.ReasonNoGateway {
		t.Errorf("before the first table: %+v", got)
	}
	_, port, _ := strings.Cut(a, ":")
	bed.apply(fmt.Sprintf(`{name: g, port: %d, routes: {"[localhost.invalid:1]": {weight: 50%%}, "[127.0.0.1:%s]": {weight: 50%%}}}`, p, port))
	e := ask(asked)
	if e.Entrance.Gateway != "g" || e.Entrance.By != "port" || e.Entrance.Problem != "" {
		t.Errorf("entrance %+v, want g by port", e.Entrance)
	}
	// A name that leads nowhere keeps its share.
	var got []string
	for _, one := range e.Shares {
		got = append(got, strings.TrimSpace(fmt.Sprint(one.Percent, " ", one.Route, " ", strings.Join(one.Instances, " "), one.Reason)))
	}
	slices.Sort(got)
	want := []string{fmt.Sprintf("50%% [%s] %s", a, a), "50% [localhost.invalid:1] no_ready_instance"}
	if !slices.Equal(got, want) {
		t.Errorf("shares %q, want %q", got, want)
	}
	if _, err := bed.server.Explain(routing.ExplainRequest{URL: "x", Gateway: "h"}); err == nil {
		t.Error("an unknown gateway is no error")
	}
}

// TestExplainTellsTheHeadersThatAreAdded compares what is told with what an
// instance gets.
func TestExplainTellsTheHeadersThatAreAdded(t *testing.T) {
	p := freeport.One(t)
	bed := start(t, nil)
	bed.apply(fmt.Sprintf(`{name: g, port: %d, routes: {"[%s]": {}}}`, p, origin(t, mirror)))
	_, _, body := exchange(t, p, fmt.Sprintf("GET / HTTP/1.1\nHost: shop.example:%d\nX-Forwarded-For: 10.0.0.1\nX-Request-Id: mine", p))
	e, err := bed.server.Explain(routing.ExplainRequest{URL: fmt.Sprintf("http://shop.example:%d/", p)})
	if err != nil {
		t.Fatal(err)
	}
	added := 0
	for line := range strings.Lines(body) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if name == "Host" {
			continue
		}
		added++
		told := slices.IndexFunc(e.Outcome.Headers, func(f routing.HeaderField) bool { return f.Name == name })
		if told < 0 || e.Outcome.Headers[told].Value != value && name != "X-Request-Id" {
			t.Errorf("the instance got %q, which is not among %v", line, e.Outcome.Headers)
		}
	}
	if added != len(e.Outcome.Headers) {
		t.Errorf("the instance got %d fields more, %v are told:\n%s", added, e.Outcome.Headers, body)
	}
}

func TestExplainSaysThatAGatewayDoesNotListen(t *testing.T) {
	taken := listen(t)
	p := taken.Addr().String()
	_, port, _ := strings.Cut(p, ":")
	bed := start(t, nil)
	bed.apply(fmt.Sprintf(`{name: g, port: %s, routes: {"[127.0.0.1:1]": {}}}`, port))
	e, err := bed.server.Explain(routing.ExplainRequest{URL: "http://" + p})
	if err != nil || !strings.Contains(e.Format(), "But it does not listen: ") {
		t.Errorf("Explain = %v, %v; want it to say that the port is taken", e, err)
	}
}

func TestGatewaysMayKeepExplanationsToThemselves(t *testing.T) {
	a := origin(t, mirror)
	quiet, open := freeport.One(t), freeport.One(t)
	bed := start(t, asking(t))
	bed.apply(fmt.Sprintf(`
name: quiet
port: %d
sluice: {explain: none}
routes: shop
---
name: shop
port: %d
routes: "[%s]"
`, quiet, open, a))
	for _, tt := range []struct {
		name, want string
		port       int
	}{
		{"one that gives none", "", quiet},
		{"one that is reached through it otherwise", "shop>[" + a + "] via weights weights=1; " + a, open},
	} {
		t.Run(tt.name, func(t *testing.T) {
			status, fields, body := exchange(t, tt.port, "GET / HTTP/1.1\nHost: a\nX-Explain: "+secret)
			if got := fields.Get("Sluice-Explain"); status != http.StatusOK || got != tt.want {
				t.Errorf("status %d, Sluice-Explain %q, want 200 %q", status, got, tt.want)
			}
			if strings.Contains(body, secret) {
				t.Errorf("the instance saw\n%s", body)
			}
		})
	}
}
