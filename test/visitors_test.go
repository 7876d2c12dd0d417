// SPDX-License-Identifier: Apache-2.0

package test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"
)

// visitor is a browser: a client with a cookie jar, and where it was led.
type visitor struct {
	http  *http.Client
	label string
}

func newVisitor() (*visitor, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	// A connection a request, so that only the cookies tell visitors apart.
	return &visitor{http: &http.Client{Jar: jar, Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}}, nil
}

// visit asks once. set reports that the answer set a cookie.
func (v *visitor) visit(ctx context.Context, url string) (label string, set bool, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return "", false, err
	}
	resp, err := v.http.Do(r)
	if err != nil {
		return "", false, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", false, err
	}
	a := answer{status: resp.StatusCode, header: resp.Header, body: string(body)}
	return a.label(), len(resp.Header.Values("Set-Cookie")) > 0, nil
}

// cmdVisitors has new visitors ask once each, and remembers where they were
// led: visitors NAME N URL LABEL=COUNT...
func cmdVisitors(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 4 {
		ts.Fatalf("usage: visitors NAME N URL LABEL=COUNT...")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	b := bedOf(ts)
	got := make(map[string]int)
	for range n {
		v, err := newVisitor()
		ts.Check(err)
		label, set, err := v.visit(b.ctx, args[2])
		ts.Check(err)
		if !set {
			ts.Fatalf("a new visitor of %s got no cookie", args[2])
		}
		v.label = label
		got[label]++
		b.visitors[args[0]] = append(b.visitors[args[0]], v)
	}
	ts.Check(sameCounts(got, args[3:]))
}

// cmdRevisit has visitors ask again, so many times each: where they were led
// before, and without a further cookie. -moved LABEL expects all of those who
// were not there already to be moved there, with a cookie.
func cmdRevisit(ts *testscript.TestScript, neg bool, args []string) {
	moved := ""
	if len(args) > 1 && args[0] == "-moved" {
		moved, args = args[1], args[2:]
	}
	if neg || len(args) != 3 {
		ts.Fatalf("usage: revisit [-moved LABEL] NAME TIMES URL")
	}
	times, err := strconv.Atoi(args[1])
	ts.Check(err)
	b := bedOf(ts)
	for i, v := range b.visitors[args[0]] {
		for range times {
			label, set, err := v.visit(b.ctx, args[2])
			ts.Check(err)
			want, cookie := v.label, false
			if moved != "" && v.label != moved {
				want, cookie = moved, true
			}
			if label != want || set != cookie {
				ts.Fatalf("visitor %d got %s (a cookie: %v), want %s (%v)", i, label, set, want, cookie)
			}
			v.label = label
		}
	}
}

func sameCounts(got map[string]int, want []string) error {
	text := make([]string, 0, len(got))
	for label, n := range got {
		text = append(text, fmt.Sprintf("%s=%d", label, n))
	}
	if g, w := sorted(text), sorted(want); g != w {
		return fmt.Errorf("got %s, want %s", g, w)
	}
	return nil
}
