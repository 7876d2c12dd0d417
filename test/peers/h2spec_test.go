// SPDX-License-Identifier: Apache-2.0

//go:build peers

package peers

import (
	"bytes"
	"context"
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// bound returns the path of a program that is built into bin at a version of
// ours, or skips the test.
func bound(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../../bin", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("FORBID_SKIPS") != "" {
			t.Fatalf("bin/%s is missing: .ci/install installs it", name)
		}
		t.Skipf("bin/%s is missing: make conformers builds it", name)
	}
	return path
}

// specResults are what h2spec tells of its cases.
type specResults struct {
	Suites []struct {
		Cases []struct {
			Section string   `xml:"package,attr"`
			Title   string   `xml:"classname,attr"`
			Failure []string `xml:"failure"`
			Error   []string `xml:"error"`
			Skipped []string `xml:"skipped"`
		} `xml:"testcase"`
	} `xml:"testsuite"`
}

// specCases is how many cases h2spec has at least.
const specCases = 140

// onPlainPorts are the cases in which a port that speaks both versions of HTTP
// is right to do something else than h2spec expects, and why.
var onPlainPorts = map[string]string{
	"http2/3.5: Sends invalid connection preface": "what is no preface is HTTP/1, which answers 400 before it closes",
}

// TestH2Spec has h2spec hold our server of HTTP/2 against the RFCs 9113 and
// 7541.
func TestH2Spec(t *testing.T) {
	for _, tt := range []struct {
		name    string
		start   func(t *testing.T) listener
		args    []string
		excused map[string]string
	}{
		{"in plain text", startPlain, nil, onPlainPorts},
		{"over TLS", func(t *testing.T) listener { t.Helper(); return startTLS(t, "none") }, []string{"-t", "-k"}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			spec := bound(t, "h2spec")
			l := tt.start(t)
			failed := runSpec(t, spec, append(tt.args, "-p", strconv.Itoa(l.port)))
			for name, how := range failed {
				if tt.excused[name] == "" {
					t.Errorf("%s\n%s", name, how)
				}
			}
			for name := range tt.excused {
				if failed[name] == "" {
					t.Errorf("%s passes: nothing is to be excused", name)
				}
			}
		})
	}
}

// startPlain serves a gateway without TLS.
func startPlain(t *testing.T) listener {
	t.Helper()
	l := newListener(t)
	startSluice(t, l.dir, "name: shop\nport: "+strconv.Itoa(l.port)+"\nroutes: \"["+echo(t)+"]\"\n")
	return l
}

// runSpec runs h2spec and returns the cases that failed, and how.
func runSpec(t *testing.T, spec string, args []string) (failed map[string]string) {
	t.Helper()
	report := filepath.Join(t.TempDir(), "h2spec.xml")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	args = append(args, "-h", "127.0.0.1", "-o", "5", "-j", report, "generic", "http2", "hpack")
	out, runErr := exec.CommandContext(ctx, spec, args...).CombinedOutput()
	text, err := os.ReadFile(report)
	var results specResults
	if err == nil {
		// What was received stands in it as it came.
		err = xml.Unmarshal(bytes.ReplaceAll(text, []byte{0}, []byte(`\0`)), &results)
	}
	if err != nil {
		t.Fatalf("h2spec: %v, %v\n%s", runErr, err, out) // its exit code counts failures
	}
	failed = make(map[string]string)
	ran := 0
	for _, s := range results.Suites {
		for _, c := range s.Cases {
			ran++
			if how := slices.Concat(c.Failure, c.Error, c.Skipped); len(how) > 0 {
				failed[c.Section+": "+c.Title] = strings.Join(how, "\n")
			}
		}
	}
	if ran < specCases {
		t.Errorf("h2spec ran %d cases, want %d at least", ran, specCases)
	}
	t.Logf("h2spec: %d cases, %d failed", ran, len(failed))
	return failed
}
