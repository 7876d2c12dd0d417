// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/pflag"

	"github.com/sluice-mesh/sluice/routing"
)

// fields gets a URL with one header and prints the head of the answer:
// fields URL NAME=VALUE.
func fields(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: fields URL NAME=VALUE")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, args[0], http.NoBody)
	ts.Check(err)
	name, value, _ := strings.Cut(args[1], "=")
	r.Header.Set(name, value)
	r.Close = true
	resp, err := http.DefaultClient.Do(r)
	ts.Check(err)
	defer resp.Body.Close()
	ts.Check(resp.Header.Write(ts.Stdout()))
}

// TestExplainManual holds that docs/explain.md shows what sluice explain
// prints, and tells of each flag.
func TestExplainManual(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(repository, "docs/explain.md"))
	if err != nil {
		t.Fatal(err)
	}
	manual := string(data)
	shown := regexp.MustCompile("(?m)^```sh\nsluice explain GET (\\S+) -H '(.*)' -f (\\S+)\n```\n\n```text\n((?s:.*?))^```$").FindAllStringSubmatch(manual, -1)
	if len(shown) == 0 {
		t.Error("docs/explain.md shows no explanation")
	}
	for _, m := range shown {
		var out bytes.Buffer
		code := execute([]string{"explain", "GET", m[1], "-H", m[2], "-f", filepath.Join(repository, m[3])}, nil, &out, &out)
		if code != exitOK || out.String() != m[4] {
			t.Errorf("sluice explain GET %s exits with %d and prints\n%s\nwant\n%s", m[1], code, &out, m[4])
		}
	}
	connections := regexp.MustCompile("(?m)^```sh\nsluice explain (tcp://\\S+) --sni (\\S+) -f (\\S+)\n```\n\n```text\n((?s:.*?))^```$").FindAllStringSubmatch(manual, -1)
	if len(connections) == 0 {
		t.Error("docs/explain.md explains no connection")
	}
	for _, m := range connections {
		var out bytes.Buffer
		code := execute([]string{"explain", m[1], "--sni", m[2], "-f", filepath.Join(repository, m[3])}, nil, &out, &out)
		if code != exitOK || out.String() != m[4] {
			t.Errorf("sluice explain %s exits with %d and prints\n%s\nwant\n%s", m[1], code, &out, m[4])
		}
	}
	newExplain().Flags().VisitAll(func(f *pflag.Flag) {
		if f.Name == "header" || strings.HasPrefix(f.Name, "virtual-hosts-") {
			return // it stands there by its letter, or with run
		}
		if !strings.Contains(manual, "`--"+f.Name+" ") && !strings.Contains(manual, "`-"+f.Shorthand+" ") {
			t.Errorf("docs/explain.md does not tell of --%s", f.Name)
		}
	})
	body := regexp.MustCompile("(?s)/explain -d '(.*?)'\n").FindStringSubmatch(manual)
	if body == nil {
		t.Fatal("docs/explain.md shows no body of POST /explain")
	}
	d := json.NewDecoder(strings.NewReader(body[1]))
	d.DisallowUnknownFields()
	var r routing.ExplainRequest
	if err := d.Decode(&r); err != nil || r.URL == "" || len(r.Headers) != 2 || len(r.Ticket) != 1 {
		t.Errorf("%s is read as %+v (%v)", body[1], r, err)
	}
}
