// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/sluice-mesh/sluice/test/freeport"
)

const repository = "../.."

// storyPorts are the ports that the documents write. Tests put free ones in
// their place, so that they run beside each other and beside a lab.
var storyPorts = []string{"8090", "8091", "8092", "8093", "8094", "8095", "8096", "8097", "9050", "9051", "9060", "9061", "9062", "9001", "9002"}

// labPorts are further ones, which stand in documents as ports of containers, too:
// there they stay.
var labPorts = []string{"8080", "8081"}

// block is a fenced block of a document, with the mark in the comment before
// it: what the test does with it.
//
//	<!-- run: lab -->      a lab, until the end of the document
//	<!-- run: lab marathon -->  the lab with a Marathon, until the end of the
//	                       document; the commands behind it ask its control plane
//	<!-- run: serve -->    another process with its admin server on 8093,
//	                       until the end of the document
//	<!-- run: control -->  a control plane, until the end of the document; the
//	                       commands behind it ask that one
//	<!-- run: proxy -->    a proxy of it, with its admin server on 8092, until
//	                       the end of the document
//	<!-- run: start PORT -->  a command that goes on until the document ends,
//	                       and answers on PORT, over TLS with ", tls" behind it
//	<!-- run: kill TEXT -->   kills the command that goes on and contains TEXT,
//	                       as kill -9 does
//	<!-- run: origin -->   an origin to measure, until the end of the document
//	<!-- run -->           commands that succeed and print something
//	<!-- run: refused -->  commands of which the last exits with 2
//	<!-- file: NAME -->    a file to save; ", refused" if validate refuses it,
//	                       ", scenario" if it is not for validate
//
// Blocks of shell commands without a mark may only name targets of make, and
// blocks of YAML always have a mark.
type block struct {
	mark, language, text string
	line                 int
}

var fence = regexp.MustCompile("(?m)(?:^<!-- (.*) -->\n)?^```(\\w*)\n((?s:.*?))^```$")

func blocks(document string) []block {
	var all []block
	for _, m := range fence.FindAllStringSubmatchIndex(document, -1) {
		b := block{language: document[m[4]:m[5]], text: document[m[6]:m[7]], line: 1 + strings.Count(document[:m[4]], "\n")}
		if m[2] >= 0 {
			b.mark = document[m[2]:m[3]]
		}
		all = append(all, b)
	}
	return all
}

// TestDocuments runs what the documents tell a reader to run.
func TestDocuments(t *testing.T) {
	needs(t, "curl")
	for _, name := range []string{"README.md", "docs/getting-started.md", "docs/tls.md", "docs/http2.md", "docs/security.md", "docs/cli.md", "docs/control-plane.md", "docs/rest-api.md", "docs/marathon.md"} {
		t.Run(name, func(t *testing.T) {
			if name == "docs/tls.md" || name == "docs/http2.md" {
				needs(t, "openssl")
			}
			tell(t, name)
		})
	}
}

// needs skips a test whose commands need a program that is not installed.
func needs(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if os.Getenv("FORBID_SKIPS") != "" {
		t.Fatalf("%s is not installed: .ci/install installs it", program)
	}
	t.Skipf("%s is not installed: the documents' commands need it", program)
}

// tell runs one document from its beginning to its end, as a reader would.
func tell(t *testing.T, name string) {
	t.Helper()
	document, err := os.ReadFile(filepath.Join(repository, name))
	if err != nil {
		t.Fatal(err)
	}
	s := newStory(t)
	for _, b := range blocks(string(document)) {
		switch {
		case strings.HasPrefix(b.mark, "file: "):
			s.save(b)
		case b.mark == "run: lab":
			s.lab()
		case b.mark == "run: lab marathon":
			s.labMarathon()
		case b.mark == "run: serve":
			s.serve(b)
		case b.mark == "run: control":
			s.control(b)
		case b.mark == "run: proxy":
			s.proxy(b)
		case b.mark == "run: origin":
			s.start("exec "+strings.TrimSpace(s.replace.Replace(b.text)), "http://127.0.0.1:"+s.ports["9001"]+"/")
		case strings.HasPrefix(b.mark, "run: start "):
			s.goOn(b)
		case strings.HasPrefix(b.mark, "run: kill "):
			s.kill(b)
		case b.mark == "run", b.mark == "run: refused":
			s.run(b)
		case b.language == "sh" && b.mark == "":
			s.make(b)
		default:
			t.Errorf("line %d: a %q block with the mark %q, which no test runs", b.line, b.language, b.mark)
		}
	}
}

// story is the reader's working directory and what runs in it.
type story struct {
	t       *testing.T
	dir     string
	ports   map[string]string
	replace *strings.Replacer
	labbed  bool
	admin   string               // port on which what is served tells of itself; empty if nothing is
	env     []string             // of what is run; nil is that of the test
	going   map[string]*exec.Cmd // by command line: what was started and not killed
}

func newStory(t *testing.T) *story {
	t.Helper()
	s := &story{t: t, dir: t.TempDir(), ports: make(map[string]string), going: make(map[string]*exec.Cmd)}
	free, err := freeport.Take(t.Context(), len(storyPorts)+len(labPorts))
	if err != nil {
		t.Fatal(err)
	}
	pairs := []string{" 0.0.0.0:", " 127.0.0.1:"} // tests are reached by this machine alone
	for i, port := range labPorts {
		s.ports[port] = strconv.Itoa(free[len(storyPorts)+i])
		pairs = append(pairs, "127.0.0.1:"+port, "127.0.0.1:"+s.ports[port])
	}
	for i, port := range storyPorts {
		s.ports[port] = strconv.Itoa(free[i])
		pairs = append(pairs, port, s.ports[port])
	}
	s.replace = strings.NewReplacer(pairs...)

	sluice, err := exec.LookPath("sluice") // testscript.Main put it there
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(s.dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(sluice, filepath.Join(s.dir, "bin", "sluice")); err != nil {
		t.Fatal(err)
	}
	return s
}

// save writes a file that the reader is told to save.
func (s *story) save(b block) {
	s.t.Helper()
	name, refused := strings.CutSuffix(strings.TrimPrefix(b.mark, "file: "), ", refused")
	name, scenario := strings.CutSuffix(name, ", scenario")
	path := filepath.Join(s.dir, name)
	before := ""
	if s.admin != "" {
		before = s.standing(s.t.Context())
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(s.replace.Replace(b.text)), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if scenario {
		return
	}
	want := exitOK
	if refused {
		want = exitUsage
	}
	var out bytes.Buffer
	if got := execute([]string{"validate", path}, nil, &out, &out); got != want {
		s.t.Fatalf("line %d: sluice validate %s exits with %d, want %d:\n%s", b.line, name, got, want, &out)
	}
	if s.admin != "" {
		s.awaitChange(before)
	}
}

// standing is what /status says of the files that are served.
func (s *story) standing(ctx context.Context) string {
	s.t.Helper()
	_, body, err := get(ctx, "http://127.0.0.1:"+s.admin+"/status")
	if err != nil {
		s.t.Fatal(err)
	}
	var status struct {
		Table  struct{ Version string }
		Faults []struct{ Text string }
	}
	if err := json.Unmarshal([]byte(body), &status); err != nil {
		s.t.Fatalf("/status = %s: %v", body, err)
	}
	return fmt.Sprint(status)
}

// awaitChange waits until the served process has seen a file that was saved.
func (s *story) awaitChange(before string) {
	s.t.Helper()
	err := poll(func(ctx context.Context) error {
		if s.standing(ctx) == before {
			return errors.New("what is served has not seen the file that was saved")
		}
		return nil
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// lab starts the lab that the reader runs in a terminal of its own, unless it
// runs.
func (s *story) lab() {
	s.t.Helper()
	if s.labbed {
		return
	}
	s.labbed = true
	s.start("exec bin/sluice lab --load 0 --port "+s.ports["9050"]+" --knobs 127.0.0.1:"+s.ports["9051"]+
		" --admin 127.0.0.1:"+s.ports["8092"], readyURL(s.ports["8092"]))
}

// labMarathon starts the lab with a Marathon.
func (s *story) labMarathon() {
	s.t.Helper()
	api := "127.0.0.1:" + s.ports["8090"]
	s.env = append(os.Environ(), "SLUICE_HOST=http://"+api)
	gateway := "127.0.0.1:" + s.ports["8080"]
	s.start("exec bin/sluice lab --marathon --load 0 --port "+s.ports["8080"]+" --marathon-listen 127.0.0.1:"+s.ports["8081"]+
		" --api "+api+" --admin 127.0.0.1:"+s.ports["8092"], "http://"+gateway+"/version")
}

// serve starts a command that goes on until the document ends.
func (s *story) serve(b block) {
	s.t.Helper()
	text := strings.TrimSpace(s.replace.Replace(b.text))
	s.admin = s.ports["8093"]
	s.start("exec "+text, readyURL(s.admin))
}

// control starts a control plane, which the commands behind it ask.
func (s *story) control(b block) {
	s.t.Helper()
	address := "127.0.0.1:" + s.ports["8090"]
	s.env = append(os.Environ(), "SLUICE_HOST=http://"+address, "PATH="+filepath.Join(s.dir, "bin")+":"+os.Getenv("PATH"))
	s.start("SLUICE_API="+address+" SLUICE_STREAM=127.0.0.1:"+s.ports["8091"]+
		" exec "+strings.TrimSpace(s.replace.Replace(b.text)), readyURL(s.ports["8090"]))
}

// proxy starts a proxy of the control plane.
func (s *story) proxy(b block) {
	s.t.Helper()
	s.start("SLUICE_ADMIN=127.0.0.1:"+s.ports["8092"]+" SLUICE_GATEWAY_ADDRESS=127.0.0.1 exec "+
		strings.TrimSpace(s.replace.Replace(b.text)), readyURL(s.ports["8092"]))
}

// goOn starts a command that goes on until the document ends or it is killed.
func (s *story) goOn(b block) {
	s.t.Helper()
	port, tls := strings.CutSuffix(strings.TrimPrefix(b.mark, "run: start "), ", tls")
	url := readyURL(s.ports[port])
	if tls {
		url = ""
	}
	s.start("exec "+strings.TrimSpace(s.replace.Replace(b.text)), url)
	if !tls {
		return
	}
	err := poll(func(ctx context.Context) error {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", "127.0.0.1:"+s.ports[port])
		if err == nil {
			err = c.Close()
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// kill kills what was started by a command that contains a text.
func (s *story) kill(b block) {
	s.t.Helper()
	text := strings.TrimPrefix(b.mark, "run: kill ")
	for command, cmd := range s.going {
		if !strings.Contains(command, text) {
			continue
		}
		delete(s.going, command)
		if err := cmd.Process.Kill(); err != nil {
			s.t.Fatal(err)
		}
		_ = cmd.Wait() // it says that it was killed
		return
	}
	s.t.Fatalf("line %d: nothing that was started contains %q", b.line, text)
}

// readyURL is where an admin server says that what it tells of serves.
func readyURL(admin string) string { return "http://127.0.0.1:" + admin + "/readyz" }

// start starts a command and waits until it answers 200 on a URL. When the
// test is over it is asked to end, which it must do well.
func (s *story) start(command, url string) {
	s.t.Helper()
	cmd := exec.CommandContext(context.Background(), "bash", "-c", command) //nolint:gosec // it is in our documents
	cmd.Dir, cmd.Env = s.dir, s.env
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.going[command] = cmd
	s.t.Cleanup(func() {
		if s.going[command] != cmd {
			return // it was killed
		}
		_ = cmd.Process.Signal(syscall.SIGINT)
		if err := cmd.Wait(); err != nil {
			s.t.Errorf("%s: %v\n%s", command, err, &out)
		}
	})
	if url == "" {
		return
	}
	if _, err := await(url, func(string) bool { return true }); err != nil {
		s.t.Fatal(err)
	}
}

// run runs commands that end.
func (s *story) run(b block) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), "bash", "-e", "-o", "pipefail", "-c", s.replace.Replace(b.text)) //nolint:gosec // as above
	cmd.Dir, cmd.Env = s.dir, s.env
	out, err := cmd.CombinedOutput()
	want := exitOK
	if b.mark == "run: refused" {
		want = exitUsage
	}
	if got := cmd.ProcessState.ExitCode(); got != want {
		s.t.Fatalf("line %d: %s exits with %d (%v), want %d:\n%s", b.line, b.text, got, err, want, out)
	}
	if len(out) == 0 {
		s.t.Fatalf("line %d: %s prints nothing", b.line, b.text)
	}
}

// make checks that the Makefile has the targets that the reader is told to
// make, and does what they do where a test can.
func (s *story) make(b block) {
	s.t.Helper()
	for line := range strings.Lines(b.text) {
		command, _, _ := strings.Cut(line, "#")
		words := strings.Fields(command)
		if len(words) != 2 || words[0] != "make" {
			s.t.Errorf("line %d: %q is run by no test; mark its block", b.line, line)
			continue
		}
		cmd := exec.CommandContext(s.t.Context(), "make", "-n", words[1]) //nolint:gosec // as above
		cmd.Dir = repository
		out, err := cmd.CombinedOutput()
		if err != nil {
			s.t.Errorf("line %d: make %s: %v\n%s", b.line, words[1], err, out)
		}
		if words[1] == "run" {
			if !strings.Contains(string(out), "bin/sluice lab") {
				s.t.Errorf("make run runs\n%swant the lab among it", out)
			}
			s.lab()
		}
	}
}

// TestExamples checks that each example is good, and says what it shows.
func TestExamples(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(repository, "deploy/examples/*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		t.Fatal("no examples")
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			var out bytes.Buffer
			if got := execute([]string{"validate", path}, nil, &out, &out); got != exitOK || strings.Contains(out.String(), "warning") {
				t.Errorf("sluice validate exits with %d, want %d without warnings:\n%s", got, exitOK, &out)
			}
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(text, []byte("# ")) {
				t.Error("it does not begin with a comment that says what it shows")
			}
		})
	}
}

// TestExampleCertificates checks that the script makes what the examples of
// TLS name.
func TestExampleCertificates(t *testing.T) {
	needs(t, "openssl")
	dir := t.TempDir()
	examples := filepath.Join(repository, "deploy/examples")
	out, err := exec.CommandContext(t.Context(), filepath.Join(examples, "tls-certificates.sh"), dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, made := range []struct{ file, authority, name string }{
		{"shop", "ca", "a.shop.example"},
		{"orders", "ca", "orders.example"},
		{"instance", "internal", "shop.internal"},
		{"warehouse", "clients", "warehouse.internal"},
	} {
		path := filepath.Join(dir, "tls", made.file)
		pair, err := tls.LoadX509KeyPair(path+".crt", path+".key")
		if err != nil {
			t.Fatal(err)
		}
		authority, err := os.ReadFile(filepath.Join(dir, "tls", made.authority+".crt"))
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(authority)
		usages := []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: made.name, KeyUsages: usages}); err != nil {
			t.Errorf("%s.crt: %v", made.file, err)
		}
		if info, err := os.Stat(path + ".key"); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s.key can be read by others: %v, %v", made.file, info, err)
		}
	}
	named := 0
	for _, example := range []string{"tls.yaml", "client-certificates.yaml"} {
		text, err := os.ReadFile(filepath.Join(examples, example))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\btls/\w+\.(?:crt|key)\b`).FindAll(text, -1) {
			named++
			if _, err := os.Stat(filepath.Join(dir, string(m))); err != nil {
				t.Errorf("%s names a file that the script does not make: %v", example, err)
			}
		}
	}
	if named == 0 {
		t.Error("no example names a file of TLS")
	}
}

// TestLinks checks that the documents lead to files that exist.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#]+)`)
	paths, err := filepath.Glob(filepath.Join(repository, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob(filepath.Join(repository, "docs/*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(paths, more...) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), m[1])); err != nil {
				t.Errorf("%s: %v", filepath.Base(path), err)
			}
		}
	}
}

// TestArchitecture checks that the map shows what exists.
func TestArchitecture(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(repository, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, m := range regexp.MustCompile("`([a-z0-9_]+(?:/[a-z0-9_]+)*(?:\\.go)?)`").FindAllStringSubmatch(string(text), -1) {
		if !strings.Contains(m[1], "/") {
			continue // a word, or a folder that the table of imports has
		}
		named++
		if _, err := os.Stat(filepath.Join(repository, m[1])); err != nil {
			t.Errorf("ARCHITECTURE.md: %v", err)
		}
	}
	if named < 30 {
		t.Errorf("%d files and folders are found in ARCHITECTURE.md, want all that it names", named)
	}
}
