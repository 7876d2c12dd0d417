// SPDX-License-Identifier: Apache-2.0

package admin_test

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/proxy/admin"
	"github.com/sluice-mesh/sluice/routing"
)

func TestExplain(t *testing.T) {
	var asked routing.ExplainRequest
	s := serve(t, admin.Options{Explain: func(r routing.ExplainRequest) (*routing.Explanation, error) {
		asked = r
		if r.Gateway != "" {
			return nil, &routing.ExplainError{Field: "gateway", Problem: "there is no gateway \"a < b\""}
		}
		return &routing.Explanation{Version: "1.2"}, nil
	}})
	for _, tt := range []struct {
		name, body string
		code       int
		in         string // in the answer
		asked      routing.ExplainRequest
	}{
		{
			"everything is handed on",
			`{"method": "PUT", "url": "http://a/b", "headers": [["A", "b"], ["A", "c"]], "client_ip": "::1", "why_not": "[a:1]", "ticket": {"strength": 3}}`,
			200, `"version": "1.2"`,
			routing.ExplainRequest{
				Method: "PUT", URL: "http://a/b", Headers: []routing.HeaderField{{Name: "A", Value: "b"}, {Name: "A", Value: "c"}},
				ClientIP: "::1", WhyNot: "[a:1]", Ticket: routing.Tickets{"strength": 3},
			},
		},
		{"one ticket stands for all", `{"url": "a", "ticket": 17}`, 200, `"hops"`, routing.ExplainRequest{URL: "a", Ticket: routing.Tickets{"": 17}}},
		{
			"what is wrong is told as JSON", `{"url": "a", "gateway": "x"}`, 400,
			"{\n  \"error\": {\n    \"field\": \"gateway\",\n    \"problem\": \"there is no gateway \\\"a < b\\\"\"\n  }\n}\n",
			routing.ExplainRequest{URL: "a", Gateway: "x"},
		},
		{name: "no JSON", body: `url=a`, code: 400, in: `"field": "body"`},
		{name: "nothing", body: "", code: 400, in: "EOF; an object such as"},
		{name: "an unknown key", body: `{"uri": "a"}`, code: 400, in: `unknown field \"uri\"`},
		{name: "two objects", body: `{"url": "a"} {"url": "b"}`, code: 400, in: "something follows"},
		{name: "a header that is no pair", body: `{"url": "a", "headers": [["A"]]}`, code: 400, in: "a header is a pair of texts"},
		{name: "headers as an object", body: `{"url": "a", "headers": {"A": "b"}}`, code: 400, in: `"field": "body"`},
		{name: "a ticket that is none", body: `{"url": "a", "ticket": "x"}`, code: 400, in: "a ticket is a number"},
		{name: "more than 64 KB", body: `{"url": "` + strings.Repeat("a", 64<<10) + `"}`, code: 413, in: "more than 65536 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			asked = routing.ExplainRequest{}
			got := ask(t, s, "POST", "/explain", "Content-Type: application/json", fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(tt.body), tt.body))
			if got.code != tt.code || !strings.Contains(got.body, tt.in) || got.header.Get("Content-Type") != "application/json" {
				t.Errorf("POST /explain %s = %d %s %q, want %d with %q", tt.body, got.code, got.header.Get("Content-Type"), got.body, tt.code, tt.in)
			}
			if !reflect.DeepEqual(asked, tt.asked) {
				t.Errorf("POST /explain %s asked %+v, want %+v", tt.body, asked, tt.asked)
			}
		})
	}
}

func TestExplainIsAskedByPost(t *testing.T) {
	s := serve(t, admin.Options{Explain: func(routing.ExplainRequest) (*routing.Explanation, error) {
		t.Error("it was asked")
		return &routing.Explanation{}, nil
	}})
	if got := ask(t, s, "GET", "/explain"); got.code != http.StatusMethodNotAllowed || got.header.Get("Allow") != "POST" {
		t.Errorf("GET /explain = %d, Allow %q, want 405, POST", got.code, got.header.Get("Allow"))
	}
	if got := ask(t, s, "POST", "/explain", "Host: "+s.Addr(), "Origin: http://evil.example", "Sec-Fetch-Site: cross-site"); got.code != http.StatusForbidden {
		t.Errorf("POST /explain by a page of another origin = %d, want 403", got.code)
	}
	bare := serve(t, admin.Options{})
	if got := ask(t, bare, "POST", "/explain"); got.code != http.StatusNotFound {
		t.Errorf("POST /explain where nothing explains = %d, want 404", got.code)
	}
}
