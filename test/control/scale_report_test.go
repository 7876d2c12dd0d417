// SPDX-License-Identifier: Apache-2.0

//go:build linux

package control

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
)

var out = flag.String("scale.out", "", "file in which the table of results replaces what lies between its marks; FILE.json gets them, too")

// result is one figure, with the goal that it is to stay below, if it has one.
type result struct {
	What  string  `json:"what"`
	Value float64 `json:"value"`
	Goal  float64 `json:"goal,omitempty"`
	Unit  string  `json:"unit"`
}

// report is the figures of a run, in their order.
type report struct {
	mu  sync.Mutex // guards all
	all []result
}

var results report

func (r *report) add(what string, value, goal float64, unit string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one := result{what, value, goal, unit}
	r.all = append(r.all, one)
	if *full { // it takes long: show what is there
		fmt.Printf("%s: %.4g %s %s\n", what, value, unit, one.verdict())
	}
}

func (r result) verdict() string {
	switch {
	case r.Goal == 0:
		return ""
	case r.Value < r.Goal:
		return "met"
	}
	return "missed"
}

// missed returns the figures that do not meet their goals, one a line.
func (r *report) missed() (list []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, one := range r.all {
		if one.Goal > 0 && one.Value >= one.Goal {
			unit := ""
			if one.Unit != "" {
				unit = " " + one.Unit
			}
			list = append(list, fmt.Sprintf("%s: %.4g%s, want less than %g%s", one.What, one.Value, unit, one.Goal, unit))
		}
	}
	return list
}

// table is the figures as Markdown.
func (r *report) table() string {
	var b strings.Builder
	b.WriteString("| what | figure | goal | |\n| --- | ---: | ---: | --- |\n")
	for _, one := range r.all {
		goal := ""
		if one.Goal > 0 {
			goal = fmt.Sprintf("< %g %s", one.Goal, one.Unit)
		}
		fmt.Fprintf(&b, "| %s | %.4g %s | %s | %s |\n", one.What, one.Value, one.Unit, goal, one.verdict())
	}
	return b.String()
}

// The marks between which the table stands in a document.
const (
	beginMark = "<!-- figures -->\n"
	endMark   = "<!-- end of figures -->\n"
)

// write prints the figures, and puts them into the file of -scale.out.
func (r *report) write() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.all) == 0 || !*full {
		return nil
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease") // empty if it is unknown
	load, _ := os.ReadFile("/proc/loadavg")                // as well
	table := fmt.Sprintf("%s/%s, %d CPUs, Linux %s, %s, load averages at the end %s\n\n%s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(),
		strings.TrimSpace(string(kernel)), runtime.Version(), strings.Join(strings.Fields(string(load) + " ? ? ?")[:3], " "), r.table())
	fmt.Print(table)
	if *out == "" {
		return nil
	}
	text, err := os.ReadFile(*out)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(text), beginMark)
	_, after, ok2 := strings.Cut(rest, endMark)
	if !ok || !ok2 {
		return fmt.Errorf("%s: there is no %q followed by %q", *out, beginMark, endMark)
	}
	if err := os.WriteFile(*out, []byte(before+beginMark+table+endMark+after), 0o644); err != nil { //nolint:gosec // a document
		return err
	}
	data, err := json.MarshalIndent(r.all, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(strings.TrimSuffix(*out, ".md")+".json", append(data, '\n'), 0o644) //nolint:gosec // a document
}
