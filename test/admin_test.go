// SPDX-License-Identifier: Apache-2.0

package test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// status is what the tests themselves need of /status.
type status struct {
	Table *struct {
		Version   string    `json:"version"`
		Published time.Time `json:"published"`
	} `json:"table"`
}

// ask sends one request to the admin server.
func (b *bed) ask(ctx context.Context, method, path string) (code int, body string, err error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://"+b.admin+path, http.NoBody)
	if err != nil {
		return 0, "", err
	}
	r.Close = true
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

func (b *bed) status(ctx context.Context) (status, error) {
	code, body, err := b.ask(ctx, http.MethodGet, "/status")
	if err != nil {
		return status{}, err
	}
	if code != http.StatusOK {
		return status{}, fmt.Errorf("/status: %d: %s", code, body)
	}
	var s status
	err = json.Unmarshal([]byte(body), &s)
	return s, err
}

// version returns the version of the table that serves.
func (b *bed) version(ctx context.Context) (string, error) {
	s, err := b.status(ctx)
	if err == nil && s.Table == nil {
		err = errors.New("no table serves")
	}
	if err != nil {
		return "", err
	}
	return s.Table.Version, nil
}

// await waits until an admin page, in the form that shape gives it, does or
// does not match, and prints it.
func (b *bed) await(ts *testscript.TestScript, path string, shape func(string) string, pattern string, match bool) {
	re := compile(ts, pattern)
	var last string
	err := b.poll(func(ctx context.Context) error {
		_, body, err := b.ask(ctx, http.MethodGet, path)
		if err != nil {
			return err
		}
		last = shape(body)
		if re.MatchString(last) != match {
			return fmt.Errorf("%s: match of %q is %v", path, re, !match)
		}
		return nil
	})
	fmt.Fprintln(ts.Stdout(), last)
	ts.Check(err)
}

// cmdStatus waits until /status matches, or does not match: [!] status
// REGEXP. The pattern is matched against JSON without line breaks and
// indentation.
func cmdStatus(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: [!] status REGEXP")
	}
	bedOf(ts).await(ts, "/status", flat, args[0], !neg)
}

// flat takes line breaks and indentation out of JSON.
func flat(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString(strings.TrimSpace(line))
	}
	return b.String()
}

// cmdReady waits until /readyz says ready, or not ready for a reason: [!]
// ready [REGEXP].
func cmdReady(ts *testscript.TestScript, neg bool, args []string) {
	if neg != (len(args) == 1) || len(args) > 1 {
		ts.Fatalf("usage: ready, or ! ready REGEXP")
	}
	pattern := "^ok$"
	if neg {
		pattern = args[0] + "(.|\n)*not ready"
	}
	bedOf(ts).await(ts, "/readyz", strings.TrimSpace, pattern, true)
}

// cmdMetric waits until a series has a value: metric SERIES VALUE. A value
// that begins with > is a least one.
func cmdMetric(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: metric SERIES VALUE, or metric SERIES '>VALUE'")
	}
	b := bedOf(ts)
	least, isLeast := strings.CutPrefix(args[1], ">")
	ts.Check(b.poll(func(ctx context.Context) error {
		_, body, err := b.ask(ctx, http.MethodGet, "/metrics")
		if err != nil {
			return err
		}
		got, ok := series(body, args[0])
		switch {
		case !ok:
			return fmt.Errorf("no series %s in:\n%s", args[0], family(body, args[0]))
		case isLeast && !atLeast(got, least), !isLeast && got != args[1]:
			return fmt.Errorf("%s is %s, want %s", args[0], got, args[1])
		}
		return nil
	}))
}

// series returns the value of a series in the text format.
func series(text, name string) (string, bool) {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value), true
		}
	}
	return "", false
}

func atLeast(got, least string) bool {
	var g, l float64
	if _, err := fmt.Sscan(got, &g); err != nil {
		return false
	}
	_, err := fmt.Sscan(least, &l)
	return err == nil && g >= l
}

// family returns the series of one family.
func family(text, name string) string {
	name, _, _ = strings.Cut(name, "{")
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, name) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// cmdConfirm has absences believed that are held back: confirm.
func cmdConfirm(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: confirm")
	}
	b := bedOf(ts)
	code, body, err := b.ask(b.ctx, http.MethodPost, "/confirm")
	ts.Check(err)
	fmt.Fprint(ts.Stdout(), body)
	if code != http.StatusOK {
		ts.Fatalf("/confirm: %d: %s", code, body)
	}
}
