// SPDX-License-Identifier: Apache-2.0

//go:build linux

package chart_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// part is a block of docs/kubernetes.md that is for a cluster:
//
//	<!-- cluster -->             commands, which succeed and print something
//	<!-- cluster: file NAME -->  a file to save
//	<!-- cluster: forward -->    a command that leads a port to the API
//	<!-- cluster: after uninstall -->
//	                             commands that take away what is left then
type part struct {
	mark, text string
	line       int
}

var marked = regexp.MustCompile("(?m)^<!-- cluster(?:: (.*))? -->\n```\\w+\n((?s:.*?))^```$")

// parts returns the blocks for a cluster, in their order.
func parts(document string) (all []part) {
	for _, m := range marked.FindAllStringSubmatchIndex(document, -1) {
		p := part{text: document[m[4]:m[5]], line: 1 + strings.Count(document[:m[4]], "\n")}
		if m[2] >= 0 {
			p.mark = document[m[2]:m[3]]
		}
		all = append(all, p)
	}
	return all
}

// reader is who does what the document says: a folder, and variables that are
// set for good.
type reader struct {
	*installation

	dir   string
	known []string // commands that set variables
}

// newReader returns a reader in whose path are kubectl, for the namespace of the
// installation, and sluice.
func newReader(i *installation) *reader {
	i.Helper()
	r := &reader{installation: i, dir: i.TempDir()}
	config := filepath.Join(r.dir, "kubeconfig")
	text, err := os.ReadFile(i.b.Kubeconfig)
	if err != nil {
		i.Fatal(err)
	}
	text = []byte(strings.Replace(string(text), "user: admin}", "user: admin, namespace: "+i.ns+"}", 1))
	kubectl := fmt.Sprintf("#!/bin/sh\nexec %s kubectl --kubeconfig %s \"$@\"\n", i.b.Program(), config)
	for path, text := range map[string]string{config: string(text), filepath.Join(r.dir, "bin/kubectl"): kubectl} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			i.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			i.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(built.dir, "sluice"), filepath.Join(r.dir, "bin/sluice")); err != nil {
		i.Fatal(err)
	}
	return r
}

// run runs commands. Those that set variables are run again before the next
// ones, which have a shell of their own.
func (r *reader) run(p part) {
	r.Helper()
	text := strings.ReplaceAll(p.text, "https://127.0.0.1:8090", r.host)
	cmd := exec.CommandContext(r.Context(), "bash", "-e", "-o", "pipefail", "-c", strings.Join(r.known, "")+text)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(r.dir, "bin")+":"+os.Getenv("PATH"), "HOME="+r.dir)
	out, err := cmd.CombinedOutput()
	if err != nil || len(out) == 0 {
		r.Fatalf("docs/kubernetes.md:%d: %s\n%v, printed %q", p.line, text, err, out)
	}
	r.Logf("%s\n%s", text, out)
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "export ") {
			r.known = append(r.known, line)
		}
	}
}

func TestTheDocumentIsTrueOfAnInstallation(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile(repository + "/docs/kubernetes.md")
	if err != nil {
		t.Fatal(err)
	}
	r := newReader(install(t))
	done := 0
	var last []part
	for _, p := range parts(string(document)) {
		name, isFile := strings.CutPrefix(p.mark, "file ")
		switch {
		case isFile:
			text := regexp.MustCompile(`(?m)^( *)(image: "vampio/.*)$`).ReplaceAllString(p.text, "${1}${2}\n${1}"+`env: [{name: VERSION, value: VERSION_OF}, {name: PORT, value: "8080"}]`)
			text = strings.ReplaceAll(text, "VERSION_OF", "1.0.3")
			if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		case p.mark == "forward":
			// There is one already; containers of the bed are not entered.
		case p.mark == "after uninstall":
			last = append(last, p)
		case p.mark == "":
			r.run(p)
			done++
		default:
			t.Errorf("docs/kubernetes.md:%d: a block with the mark %q, which no test knows", p.line, p.mark)
		}
	}
	if done < 5 {
		t.Errorf("%d blocks of commands were found, want all of the tutorial", done)
	}
	r.Helm("uninstall", "sluice", "--wait", "--timeout", "2m")
	if left := r.left("services"); !strings.Contains(left, "service/sava-product") {
		t.Errorf("helm uninstall leaves %q, want the Services of gateways", left)
	}
	for _, p := range last {
		r.run(p)
	}
	if left := r.left("services,secrets,persistentvolumeclaims"); left != "" {
		t.Errorf("left behind in the end: %s", left)
	}
}

// left returns what the namespace has of some kinds that is of Sluice.
func (i *installation) left(kinds string) string {
	i.Helper()
	ours := i.b.Kubectl(i.T, "get", kinds, "--namespace", i.ns, "--selector", "app.kubernetes.io/managed-by=sluice", "--output", "name")
	released := i.b.Kubectl(i.T, "get", kinds, "--namespace", i.ns, "--selector", "app.kubernetes.io/name=sluice", "--output", "name")
	return ours + released
}
