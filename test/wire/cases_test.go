// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/test/wire"
)

// load reads all cases.
func load(t *testing.T) []*wire.Case {
	t.Helper()
	cases, err := wire.Load(os.DirFS("testdata/cases"))
	if err != nil {
		t.Fatal(err)
	}
	return cases
}

// chosen leaves the cases that -only asks for.
func chosen(cases []*wire.Case) []*wire.Case {
	return slices.DeleteFunc(cases, func(c *wire.Case) bool { return !strings.Contains(c.Name, *only) })
}

// TestCases plays every case at the binary. Those that are listed as pending
// must fail, so that the list says what is so.
func TestCases(t *testing.T) {
	cases := chosen(load(t))
	pending := loadPending(t)
	began := time.Now()
	verdicts := playSluice(t, cases, func(c *wire.Case) time.Duration {
		if pending.find(c.Name) != nil {
			return 4 * time.Second // what has failed by then has failed
		}
		return patience
	})
	t.Logf("%d cases took %v", len(cases), time.Since(began).Round(time.Millisecond))
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			p := pending.find(c.Name)
			switch err := verdicts[c.Name]; {
			case err != nil && p == nil:
				t.Errorf("%s (%s)\n%v", c.Requirement, c.Level, err)
			case err == nil && p != nil && !p.atTimes:
				t.Errorf("passes: take it out of %s", pendingFile)
			case err != nil:
				t.Logf("pending:\n%v", err)
			}
		})
	}
}

// TestEnoughIsCovered counts the cases and the requirements.
func TestEnoughIsCovered(t *testing.T) {
	cases := load(t)
	requirements := map[string]int{}
	topics := map[string]int{}
	levels := map[wire.Level]int{}
	for _, c := range cases {
		requirements[c.Requirement]++
		topics[c.Topic()]++
		levels[c.Level]++
	}
	t.Logf("%d cases over %d requirements in %d topics: %v", len(cases), len(requirements), len(topics), levels)
	const leastCases, leastRequirements = 300, 120
	if len(cases) < leastCases || len(requirements) < leastRequirements {
		t.Errorf("%d cases over %d requirements, want %d over %d", len(cases), len(requirements), leastCases, leastRequirements)
	}
}

const pendingFile = "testdata/pending.txt"

// pendingList holds the cases that fail today, by cause.
type pendingList []cause

// cause is one reason for which cases fail.
type cause struct {
	text  string // what is to be done
	cases []pendingCase
}

// pendingCase is one line: what happens, and what should.
type pendingCase struct {
	name, text string
	atTimes    bool // it depends on who is first
}

// find returns the line of a case; nil if it is not pending.
func (l pendingList) find(name string) *pendingCase {
	for _, c := range l {
		for i := range c.cases {
			if c.cases[i].name == name {
				return &c.cases[i]
			}
		}
	}
	return nil
}

func loadPending(t *testing.T) pendingList {
	t.Helper()
	text, err := os.ReadFile(pendingFile)
	if err != nil {
		t.Fatal(err)
	}
	l, err := readPending(string(text))
	if err != nil {
		t.Fatalf("%s: %v", pendingFile, err)
	}
	return l
}

// readPending reads lines "NAME: WHAT HAPPENS, WHAT SHOULD" below lines
// "# CAUSE". A tilde before the name marks a case that fails at times only.
func readPending(text string) (pendingList, error) {
	var l pendingList
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		about, isCause := strings.CutPrefix(line, "# ")
		name, text, ok := strings.Cut(line, ": ")
		name, atTimes := strings.CutPrefix(name, "~")
		switch {
		case line == "":
		case isCause:
			l = append(l, cause{text: about})
		case len(l) == 0:
			return nil, errors.New("a case before the first cause")
		case !ok || l.find(name) != nil:
			return nil, fmt.Errorf("%q is not NAME: TEXT, or written twice", line)
		default:
			last := &l[len(l)-1]
			last.cases = append(last.cases, pendingCase{name, text, atTimes})
		}
	}
	return l, nil
}

// TestPendingCasesExist holds that the list names cases, each below a cause.
func TestPendingCasesExist(t *testing.T) {
	known := map[string]bool{}
	for _, c := range load(t) {
		known[c.Name] = true
	}
	for _, cause := range loadPending(t) {
		if len(cause.cases) == 0 {
			t.Errorf("no case for the cause %q", cause.text)
		}
		for _, p := range cause.cases {
			if !known[p.name] {
				t.Errorf("there is no case %s", p.name)
			}
		}
	}
}

// TestEveryCaseCanFail plays all cases at three gateways: one that passes
// everything on, one that refuses everything, and one that makes whole what
// is cut. No case is content with all of them.
func TestEveryCaseCanFail(t *testing.T) {
	// A client that goes away does not wait for what becomes of its request,
	// so a gateway may have luck once.
	const tries = 5
	refuser := canned{"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", true}
	cases := load(t)
	slots := make(chan struct{}, 4*atOnce)
	var mu sync.Mutex // guards content
	content := map[string]int{}
	var wg sync.WaitGroup
	for _, c := range cases {
		for _, serve := range []func(client, origin net.Conn){relay, refuser.serve, shorten} {
			slots <- struct{}{}
			wg.Go(func() {
				defer func() { <-slots }()
				for range tries {
					origin := listen(t)
					gateway := front(t, origin.Addr(), serve)
					if c.Run(t.Context(), gateway, origin, 500*time.Millisecond) != nil {
						return
					}
				}
				mu.Lock()
				defer mu.Unlock()
				content[c.Name]++
			})
		}
	}
	wg.Wait()
	for _, c := range cases {
		if content[c.Name] == 3 {
			t.Errorf("%s passes at gateways that do the opposite of each other", c.Name)
		}
	}
}

func TestPendingListsAreRead(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       string // in the error; empty if the list is good
	}{
		{"cases stand below causes", "# a cause\na/b: fails\n~a/c: fails\n\n# another\na/d: fails\n", ""},
		{"an empty list is good", "", ""},
		{"a case needs a cause", "a/b: fails\n", "before the first cause"},
		{"a case says what happens", "# a cause\na/b\n", "not NAME: TEXT"},
		{"a case stands there once", "# a cause\na/b: fails\n# another\na/b: fails\n", "written twice"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := readPending(tt.text)
			if !sameFault(err, tt.want) {
				t.Fatalf("readPending(%q) error = %v, want %q in it", tt.text, err, tt.want)
			}
			if len(l) == 2 && (!l.find("a/c").atTimes || l.find("a/b").atTimes || l.find("a/d").text != "fails") {
				t.Errorf("readPending(%q) = %+v", tt.text, l)
			}
		})
	}
}
