// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/control/client"
	"github.com/sluice-mesh/sluice/routing"
)

// dial makes a client of what answers by a handler, with the options that
// change makes of the usual ones.
func dial(t *testing.T, h http.HandlerFunc, change func(*client.Options)) *client.Client {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	o := client.Options{Server: s.URL, Pause: time.Millisecond}
	if change != nil {
		change(&o)
	}
	c, err := client.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestNewRefuses(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options client.Options
		want    string
	}{
		{"a server that is no URL", client.Options{Server: "http://%"}, "is not a URL"},
		{"a server without a host", client.Options{Server: "http:///x"}, "is not a URL"},
		{"a scheme of another protocol", client.Options{Server: "ftp://control.example"}, "neither http nor https"},
		{"a password in the URL", client.Options{Server: "http://me:secret@control.example"}, "a host, maybe a port and a path"},
		{"a token in plain text to another machine", client.Options{Server: "http://control.example", Token: "t"}, "over TLS or to this machine only"},
		{"a token with a line break", client.Options{Token: "a\nb"}, "characters that no token has"},
		{"half a namespace", client.Options{Namespace: "acme"}, "is not organisation/environment"},
		{"a namespace of three parts", client.Options{Namespace: "a/b/c"}, "is not organisation/environment"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := client.New(tt.options)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("New(%+v) error = %v, want %q in it", tt.options, err, tt.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error %q tells the password", err)
			}
		})
	}
	for _, good := range []client.Options{
		{},
		{Server: "control.example:8090"},
		{Server: "https://control.example/sluice/", Token: "t"},
		{Server: "http://localhost:1", Token: "t"},
		{Server: "http://[::1]:1", Token: "t"},
	} {
		if _, err := client.New(good); err != nil {
			t.Errorf("New(%+v) error = %v, want none", good, err)
		}
	}
}

// A page from which something was deleted while it was made is not the last.
func TestListsGoOnBehindAShortPage(t *testing.T) {
	c := dial(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Total-Count", "31")
		if r.URL.Query().Get("page") == "2" {
			_, _ = io.WriteString(w, `[{"name": "last"}]`)
			return
		}
		_, _ = io.WriteString(w, `[{"name": "first"}]`)
	}, nil)
	all, err := c.List(t.Context(), "conditions")
	if err != nil || len(all) != 2 || all[1].Name != "last" {
		t.Errorf("List() = %v, %v, want both pages", all, err)
	}
}

func TestRequests(t *testing.T) {
	for _, tt := range []struct {
		name      string
		namespace string
		token     string
		author    string
		ask       func(context.Context, *client.Client) error
		answer    string
		want      string // method, URL, and the header lines that count
	}{
		{"the default namespace needs no prefix", "", "", "", func(ctx context.Context, c *client.Client) error {
			_, err := c.Get(ctx, "gateways", "shop")
			return err
		}, `{}`, "GET /api/v1/gateways/shop"},
		{"a name with a slash is one segment", "", "", "", func(ctx context.Context, c *client.Client) error {
			_, err := c.Get(ctx, "gateways", "shop/web 8080")
			return err
		}, `{}`, "GET /api/v1/gateways/shop%2Fweb%208080"},
		{"another namespace stands in front", "acme/prod", "", "", func(ctx context.Context, c *client.Client) error {
			_, err := c.Proxies(ctx)
			return err
		}, `[]`, "GET /acme/prod/api/v1/proxies"},
		{"a token is shown, and no author", "", "t0ken", "alice", func(ctx context.Context, c *client.Client) error {
			_, err := c.Status(ctx)
			return err
		}, `{}`, "GET /api/v1/status\nAuthorization: Bearer t0ken"},
		{"without a token the author is named", "", "", "alice", func(ctx context.Context, c *client.Client) error {
			_, err := c.Delete(ctx, "conditions", "beta", client.Write{If: client.Condition{Revision: 7}, Wait: 2 * time.Second})
			return err
		}, ``, "DELETE /api/v1/conditions/beta?wait=2s\nSluice-Author: alice\nIf-Match: \"7\""},
		{"what is to be new is said to be", "", "", "", func(ctx context.Context, c *client.Client) error {
			_, err := c.Put(ctx, "gateways", "a", []byte("name: a"), client.Write{If: client.Condition{Absent: true}, DryRun: true})
			return err
		}, `{}`, "PUT /api/v1/gateways/a?validate_only=true\nIf-None-Match: *\nname: a"},
		{"documents are applied together", "", "", "", func(ctx context.Context, c *client.Client) error {
			_, err := c.Apply(ctx, []byte("name: a\n---\nname: b"), client.Write{If: client.Condition{Revision: 1}})
			return err
		}, `[]`, "PUT /api/v1/\nname: a\n---\nname: b"},
		{"weights are sent by path", "", "", "", func(ctx context.Context, c *client.Client) error {
			_, err := c.Weights(ctx, "shop", map[string]string{"[::1]:80": "12.5%"}, client.Write{})
			return err
		}, `{}`, "PATCH /api/v1/gateways/shop/weights\n" + `{"routes":{"[::1]:80":"12.5%"}}`},
		{"a version is rolled back to", "", "", "", func(ctx context.Context, c *client.Client) error {
			_, err := c.Rollback(ctx, "shop", 42, client.Write{})
			return err
		}, `{}`, "POST /api/v1/gateways/shop/rollback?to=42"},
		{"events are asked for by tags", "", "", "", func(ctx context.Context, c *client.Client) error {
			_, err := c.Events(ctx, client.EventQuery{Tags: []string{"a", "b:c"}, Type: "x", Page: 2})
			return err
		}, `[]`, "GET /api/v1/events?page=2&tag=a&tag=b%3Ac&type=x"},
		{"a figure of a route", "", "", "", func(ctx context.Context, c *client.Client) error {
			_, err := c.Figure(ctx, "shop", "a/b", "rate", 10*time.Second)
			return err
		}, `1.5`, "GET /api/v1/metrics/gateways/shop/routes/a%2Fb/rate?window=10"},
		{"the health of a gateway", "", "", "", func(ctx context.Context, c *client.Client) error {
			_, err := c.Health(ctx, "shop", "", 0)
			return err
		}, `1`, "GET /api/v1/health/gateways/shop"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got string
			c := dial(t, func(w http.ResponseWriter, r *http.Request) {
				lines := []string{r.Method + " " + r.RequestURI}
				for _, name := range []string{"Authorization", "Sluice-Author", "If-Match", "If-None-Match"} {
					if v := r.Header.Get(name); v != "" {
						lines = append(lines, name+": "+v)
					}
				}
				if body, _ := io.ReadAll(r.Body); len(body) > 0 {
					lines = append(lines, string(body))
				}
				got = strings.Join(lines, "\n")
				_, _ = io.WriteString(w, tt.answer)
			}, func(o *client.Options) { o.Namespace, o.Token, o.Author = tt.namespace, tt.token, tt.author })
			if err := tt.ask(t.Context(), c); err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("the request is\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		etag   string
		body   string
		want   *client.Error
		text   string
	}{
		{
			"a message is told", 404, "", `{"message": "gateways/shop does not exist"}`,
			&client.Error{Status: 404, Message: "gateways/shop does not exist"}, "gateways/shop does not exist",
		},
		{
			"faults come with their places", 400, "", `{"message": "refused", "faults": [{"line": 3, "column": 5, "severity": "refused", "code": "X", "path": "gateways.shop.prot", "problem": "the key is unknown", "allowed": "did you mean port?"}]}`,
			&client.Error{Status: 400, Message: "refused"}, "3:5: gateways.shop.prot: the key is unknown; did you mean port?",
		},
		{
			"the present version comes with a conflict", 412, `"12"`, `{"message": "it is another by now", "current": {"name": "shop"}}`,
			&client.Error{Status: 412, Message: "it is another by now", Revision: 12}, "it is another by now",
		},
		{"what is no control plane is told as that", 404, "", "<html>", &client.Error{Status: 404}, "as no control plane answers"},
		{"nobody is followed elsewhere", 302, "", "", &client.Error{Status: 302}, "as no control plane answers"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := dial(t, func(w http.ResponseWriter, _ *http.Request) {
				if tt.etag != "" {
					w.Header().Set("ETag", tt.etag)
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, tt.body)
			}, nil)
			_, err := c.Get(t.Context(), "gateways", "shop")
			got, ok := errors.AsType[*client.Error](err)
			if !ok {
				t.Fatalf("error = %v, want an *Error", err)
			}
			if got.Status != tt.want.Status || tt.want.Message != "" && got.Message != tt.want.Message || got.Revision != tt.want.Revision {
				t.Errorf("error = %+v, want %+v", got, tt.want)
			}
			if !strings.Contains(err.Error(), tt.text) {
				t.Errorf("its text is %q, want %q in it", err, tt.text)
			}
		})
	}
}

func TestOnlyQuestionsAreRepeated(t *testing.T) {
	for _, tt := range []struct {
		name   string
		status int
		ask    func(context.Context, *client.Client) error
		want   int64 // requests
	}{
		{"a GET is asked again while the control plane is not ready", 503, func(ctx context.Context, c *client.Client) error {
			_, err := c.Status(ctx)
			return err
		}, 3},
		{"a GET that is refused is not", 403, func(ctx context.Context, c *client.Client) error {
			_, err := c.Status(ctx)
			return err
		}, 1},
		{"a PUT is never", 503, func(ctx context.Context, c *client.Client) error {
			_, err := c.Put(ctx, "gateways", "a", nil, client.Write{})
			return err
		}, 1},
		{"a PATCH is never", 502, func(ctx context.Context, c *client.Client) error {
			_, err := c.Weights(ctx, "a", nil, client.Write{})
			return err
		}, 1},
		{"a POST is never", 504, func(ctx context.Context, c *client.Client) error {
			_, err := c.Rollback(ctx, "a", 0, client.Write{})
			return err
		}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var asked atomic.Int64
			c := dial(t, func(w http.ResponseWriter, _ *http.Request) {
				asked.Add(1)
				w.WriteHeader(tt.status)
				fmt.Fprint(w, `{"message": "no"}`)
			}, nil)
			if err := tt.ask(t.Context(), c); err == nil {
				t.Error("error = nil, want that of the status")
			}
			if got := asked.Load(); got != tt.want {
				t.Errorf("it is asked %d times, want %d", got, tt.want)
			}
		})
	}
}

func TestAQuestionIsRepeatedUntilItIsAnswered(t *testing.T) {
	var asked atomic.Int64
	c := dial(t, func(w http.ResponseWriter, _ *http.Request) {
		switch asked.Add(1) {
		case 1:
			panic(http.ErrAbortHandler) // the connection breaks
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			fmt.Fprint(w, `{"namespace": "default/default"}`)
		}
	}, nil)
	s, err := c.Status(t.Context())
	if err != nil || s.Namespace != "default/default" {
		t.Errorf("Status = %+v, %v; want that of the third answer", s, err)
	}
}

func TestNobodyAnswers(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	c, err := client.New(client.Options{Server: s.URL, Pause: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Status(t.Context())
	if _, ok := errors.AsType[*client.UnreachableError](err); !ok || !strings.Contains(err.Error(), "cannot reach the control plane at "+s.URL) {
		t.Errorf("error = %v, want an *UnreachableError that names %s", err, s.URL)
	}
}

func TestAWriteThatBreaksOffMayHaveBeenMade(t *testing.T) {
	c := dial(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, nil)
	_, err := c.Put(t.Context(), "gateways", "a", []byte("name: a"), client.Write{})
	if e, ok := errors.AsType[*client.UnreachableError](err); !ok || !e.Written || !strings.Contains(err.Error(), "may have written it or not") {
		t.Errorf("error = %v, want that it may have been written", err)
	}
	if _, err = c.Status(t.Context()); err == nil || strings.Contains(err.Error(), "written") {
		t.Errorf("error = %v, want nothing of writing", err)
	}
	s := httptest.NewServer(http.NotFoundHandler())
	s.Close()
	if c, err = client.New(client.Options{Server: s.URL}); err != nil {
		t.Fatal(err)
	}
	_, err = c.Put(t.Context(), "gateways", "a", []byte("name: a"), client.Write{})
	if e, ok := errors.AsType[*client.UnreachableError](err); !ok || e.Written {
		t.Errorf("error = %v, want that nothing was sent", err)
	}
}

func TestAnUnknownAuthorityIsRefused(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer t" {
			w.WriteHeader(http.StatusUnauthorized)
		}
		fmt.Fprint(w, `{"namespace": "a/b"}`)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // of the handshake that is refused
	s.StartTLS()
	t.Cleanup(s.Close)
	o := client.Options{Server: s.URL, Token: "t", Attempts: 1}
	c, err := client.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Status(t.Context()); err == nil {
		t.Error("a server of an unknown authority is believed")
	}
	o.Roots = x509.NewCertPool()
	o.Roots.AddCert(s.Certificate())
	if c, err = client.New(o); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Status(t.Context()); err != nil || got.Namespace != "a/b" {
		t.Errorf("Status = %+v, %v; want that of the server", got, err)
	}
	c.Close()
}

func TestListTakesAllPages(t *testing.T) {
	const total = 65
	c := dial(t, func(w http.ResponseWriter, r *http.Request) {
		var page int
		_, _ = fmt.Sscan(r.URL.Query().Get("page"), &page)
		var b strings.Builder
		first := (page - 1) * 30
		if page > 1 {
			first-- // one was deleted meanwhile, so that another comes twice
		}
		for i := first; i < min(first+30, total); i++ {
			fmt.Fprintf(&b, ",{\"name\": \"g%02d\"}", i)
		}
		fmt.Fprintf(w, "[%s]", strings.TrimPrefix(b.String(), ","))
	}, nil)
	got, err := c.List(t.Context(), "gateways")
	if err != nil || len(got) != total {
		t.Fatalf("List returns %d artifacts, %v; want %d", len(got), err, total)
	}
	for i, a := range got {
		if want := fmt.Sprintf("g%02d", i); a.Name != want || a.Kind != "gateways" {
			t.Fatalf("artifact %d is %s/%s, want gateways/%s", i, a.Kind, a.Name, want)
		}
	}
}

func TestRoutesKeepTheirOrder(t *testing.T) {
	body := `{"name": "shop", "port": "9050/http", "sticky": null, "routes": {
		"z": {"weight": "12%", "sluice": {"weight": "12.5%"}, "condition": {"condition": "has cookie a"}, "condition_strength": "100%"},
		"a": {"weight": "80%", "condition": null, "targets": [{"url": "10.0.0.1:80"}, {"host": "10.0.0.2", "port": 81}]},
		"m": {"weight": "8%"}}}`
	c := dial(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"5"`)
		fmt.Fprint(w, body)
	}, nil)
	g, err := c.Gateway(t.Context(), "shop")
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%s %d %s %q %+v", g.Name, g.Revision, g.Port, g.Sticky, g.Routes)
	want := `shop 5 9050/http "" [{Path:z Weight:12.5% Condition:has cookie a Strength:100% Selector: Targets:[]}` +
		` {Path:a Weight:80% Condition: Strength: Selector: Targets:[10.0.0.1:80 10.0.0.2:81]}` +
		` {Path:m Weight:8% Condition: Strength: Selector: Targets:[]}]`
	if got != want {
		t.Errorf("the gateway is\n%s\nwant\n%s", got, want)
	}
}

func TestAwaitTellsHowFarAChangeIs(t *testing.T) {
	answers := []string{
		`{"id": 7, "state": "pending"}`,
		`{"id": 7, "state": "planned", "version": {"Epoch": 10, "Revision": 3}, "proxies": 2, "served": 1, "laggards": [{"node": "b", "reason": "it is behind"}]}`,
		`{"id": 7, "state": "planned", "version": "a.3", "proxies": 2, "served": 1, "laggards": [{"node": "b", "reason": "it is behind"}]}`,
		`{"id": 7, "state": "converged", "version": "a.3", "proxies": 2, "served": 2, "took_seconds": 0.25}`,
	}
	var asked atomic.Int64
	c := dial(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, answers[min(int(asked.Add(1)), len(answers))-1])
	}, nil)
	var got []string
	last, err := c.Await(t.Context(), 7, func(now client.Change) {
		got = append(got, fmt.Sprintf("%s %s %d/%d %d", now.State, now.Version, now.Served, now.Proxies, len(now.Laggards)))
	})
	if err != nil || !last.Settled() || last.TookSeconds != 0.25 {
		t.Errorf("Await = %+v, %v; want the last answer", last, err)
	}
	want := []string{"pending  0/0 0", "planned a.3 1/2 1", "converged a.3 2/2 0"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("it tells %q, want %q", got, want)
	}
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := dial(t, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, `{"id": 7, "state": "planned", "proxies": 1}`)
	}, nil)
	last, err := c.Await(ctx, 7, func(client.Change) { cancel() })
	if !errors.Is(err, context.Canceled) || last.Proxies > 1 {
		t.Errorf("Await = %+v, %v; want the error of the context", last, err)
	}
}

func TestExplanationsAreRead(t *testing.T) {
	c := dial(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if bytes.Contains(body, []byte("ftp")) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"message": "url: no", "error": {"field": "url", "problem": "no"}}`)
			return
		}
		fmt.Fprint(w, `{"version": "1.2", "hops": []}`)
	}, nil)
	e, err := c.Explain(t.Context(), routing.ExplainRequest{URL: "http://a/"})
	if err != nil || e.Version != "1.2" {
		t.Errorf("Explain = %+v, %v; want the explanation", e, err)
	}
	_, err = c.Explain(t.Context(), routing.ExplainRequest{URL: "ftp://a/"})
	if wrong, ok := errors.AsType[*routing.ExplainError](err); !ok || wrong.Field != "url" {
		t.Errorf("error = %v, want an *ExplainError of the URL", err)
	}
}

func TestABackupThatBreaksOffIsAnError(t *testing.T) {
	c := dial(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept") != "application/octet-stream" {
			w.WriteHeader(http.StatusNotAcceptable)
		}
		fmt.Fprint(w, strings.Repeat("x", 1<<16))
		if err := http.NewResponseController(w).Flush(); err != nil {
			t.Error(err)
		}
		panic(http.ErrAbortHandler)
	}, nil)
	n, err := c.Backup(t.Context(), io.Discard)
	if _, ok := errors.AsType[*client.UnreachableError](err); !ok || n == 0 {
		t.Errorf("Backup = %d, %v; want some bytes and an *UnreachableError", n, err)
	}
}
