// SPDX-License-Identifier: Apache-2.0

package conditions_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/conditions"
)

func TestFaultsAreCounted(t *testing.T) {
	c := mustCompile(t, `expr(int(header("x-count")) > 1) or expr(1 % len(header("x-none")) == 0) or has header x-last`)
	good, bad := newRequest("X-Count: 2"), newRequest("X-Count: many", "X-Last: 1")
	for i, step := range []struct {
		r      *staticRequest
		holds  bool
		faults uint64
	}{{good, true, 0}, {bad, true, 2}, {bad, true, 4}, {good, true, 4}, {newRequest("X-Count: 1"), false, 5}} {
		if holds := c.Holds(step.r); holds != step.holds || c.Faults() != step.faults {
			t.Errorf("step %d: holds %v after %d faults, want %v after %d", i, holds, c.Faults(), step.holds, step.faults)
		}
	}
	if n := mustCompile(t, "has header a").Faults(); n != 0 {
		t.Errorf("a condition without a program has %d faults", n)
	}
}

func TestProgramsSeeTheBeginningOfLongTexts(t *testing.T) {
	long := strings.Repeat("a", conditions.MaxMatchedBytes)
	r := newRequest("X-Long: "+long+"b", "X-Fits: "+long)
	for text, want := range map[string]bool{
		`expr(header("x-long") == header("x-fits"))`: true,
		`expr(len(header("x-long")) == 8192)`:        true,
		`header x-long matches "^a+$"`:               true,
		`header x-long matches "b"`:                  false,
		"header x-long has b":                        true,
		"header x-long ends with ab":                 true,
	} {
		if got := mustCompile(t, text).Holds(r); got != want {
			t.Errorf("%q holds: %v, want %v", text, got, want)
		}
	}
}

// TestProgramsAreEvaluatedAtOnce has many requests share what evaluations use
// again.
func TestProgramsAreEvaluatedAtOnce(t *testing.T) {
	c := mustCompile(t, `expr(header("x") == query("q") && lower(header("x")) matches "^v[0-9]+$") and query q has V`)
	var done sync.WaitGroup
	for i := range 8 {
		done.Go(func() {
			for j := range 200 {
				x := fmt.Sprintf("V%d", 1000*i+j)
				if !c.Holds(newRequest("GET /?q=%56"+x[1:], "X: "+x)) || c.Holds(newRequest("GET /?q=%56"+x[1:], "X: "+x+"0")) {
					t.Errorf("an evaluation sees the texts of another, near %s", x)
					return
				}
			}
		})
	}
	done.Wait()
	if c.Faults() != 0 {
		t.Errorf("%d faults", c.Faults())
	}
}

// costlyPrograms are the longest evaluations that the bounds let through, or
// stop.
var costlyPrograms = map[string]string{
	"texts in lower case":    strings.Repeat(`lower(`, 90) + `path` + strings.Repeat(`)`, 90) + ` == "a"`,
	"texts in upper case":    strings.Repeat(`upper(header("x")) != "a" && `, 24) + `true`,
	"hashes":                 strings.Repeat(`hash(path) != 1 && `, 30) + `true`,
	"parts of texts":         strings.Repeat(`not (path contains header("x-half")) && `, 25) + `true`,
	"texts that are equal":   strings.Repeat(`path == path && `, 45) + `true`,
	"lists":                  `path in ["a"` + strings.Repeat(`, path`, 80) + `]`,
	"parameters":             strings.Repeat(`query("x") != "a" && `, 30) + `true`,
	"cookies":                strings.Repeat(`cookie("zz") != "a" && `, 30) + `true`,
	"headers":                strings.Repeat(`header("zz") != "a" && `, 30) + `true`,
	"many large expressions": strings.Repeat(`not (path matches "(a?){30}(a?){30}b") && `, 20) + `true`,
	"a large expression":     `path matches "(x|a)*a(x|a){200}b"`,
	"powers":                 strings.Repeat(`2 ** 1.5 > 1 && `, 30) + `true`,
}

func TestProgramsEndWithinAMillisecond(t *testing.T) {
	r := costlyRequest("a")
	for name, source := range costlyPrograms {
		t.Run(name, func(t *testing.T) {
			c := mustCompile(t, "expr("+source+")")
			took := shortest(t, time.Millisecond, func() { c.Holds(r) })
			t.Logf("%v, %d faults", took, c.Faults())
		})
	}
}

// costlyRequest is as large as requests may be, of the repeated text.
func costlyRequest(text string) *staticRequest {
	text += "a"
	fill := func(n int) string { return strings.Repeat(text, n/len(text)+1)[:n] }
	r := newRequest("client 10.1.2.3")
	r.method, r.target = "GET", "/"+fill(8191)+"?x="+fill(8000)
	r.fields = []field{{"Host", fill(8192)}, {"X", fill(8192)}, {"X-Half", fill(4000) + "b"}, {"Cookie", "id=" + fill(4000)}}
	for i := range 190 {
		r.fields = append(r.fields, field{fmt.Sprintf("X-%d", i), fill(20)})
	}
	return r
}

// shortest returns the time that f takes when nothing else keeps it from
// running, and fails if that is above the limit. It only measures where time
// means something.
func shortest(t *testing.T, limit time.Duration, f func()) time.Duration {
	t.Helper()
	best := time.Hour
	for range 50 {
		start := time.Now()
		f()
		best = min(best, time.Since(start))
		if best < limit {
			return best
		}
		if raceDetector || testing.Short() {
			return best
		}
	}
	t.Errorf("took %v in the best of 50 runs, want less than %v", best, limit)
	return best
}

// FuzzExpr looks for programs that get through the compiler and then panic,
// take too long, or mean something else when they are explained.
func FuzzExpr(f *testing.F) {
	for _, file := range []string{"testdata/holds.txt", "testdata/parse.txt"} {
		for _, text := range caseTexts(f, file) {
			if source, ok := strings.CutPrefix(text, "expr("); ok && strings.HasSuffix(source, ")") {
				f.Add(strings.TrimSuffix(source, ")"), "gold")
			}
		}
	}
	for _, source := range costlyPrograms {
		f.Add(source, "aB%")
	}
	f.Fuzz(func(t *testing.T, source, text string) {
		c, err := conditions.Compile("expr(" + source + ")")
		if err != nil {
			return
		}
		small, large := newRequest("GET /"+text+"?a="+text, "X-Tier: "+text, "Cookie: id="+text), costlyRequest(text)
		for _, r := range []*staticRequest{newRequest(), small, large} {
			held := c.Holds(r)
			explainedRightly(t, c, r, held)
			shortest(t, time.Millisecond, func() {
				if c.Holds(r) != held {
					t.Errorf("%q holds only at times", source)
				}
			})
		}
	})
}
