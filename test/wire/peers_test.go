// SPDX-License-Identifier: Apache-2.0

//go:build peers

package wire_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/test/wire"
)

// TestPeers plays the cases at the others, and holds that the records say how
// they did. Other versions than those of the records may do otherwise.
func TestPeers(t *testing.T) {
	var cases []*wire.Case
	for _, c := range chosen(load(t)) {
		if isComparable(c) {
			cases = append(cases, c)
		}
	}
	starts := []func(*testing.T, []*stage){startHAProxy, startNginx}
	for i, r := range newRecords() {
		t.Run(r.name, func(t *testing.T) {
			r.version = version(t, r.name)
			began := time.Now()
			stages := setStages(t, cases)
			starts[i](t, stages)
			verdicts := play(t.Context(), stages, func(*wire.Case) time.Duration { return peersPatience })
			recorded := loadRecords(t)[i]
			r.atTimes = recorded.atTimes
			r.faults = make(map[string]string, len(stages))
			for _, s := range stages {
				r.faults[s.c.Name] = firstFault(verdicts[s.c.Name], s)
				if r.atTimes[s.c.Name] {
					r.faults[s.c.Name] = recorded.faults[s.c.Name]
				}
			}
			t.Logf("%d cases took %v", len(cases), time.Since(began).Round(time.Millisecond))
			if *update && *only == "" {
				if err := r.write(); err != nil {
					t.Fatal(err)
				}
				return
			}
			compareRecords(t, recorded, r)
		})
	}
}

// write writes what read reads.
func (r *record) write() error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n", r.version)
	names := make([]string, 0, len(r.faults))
	for name := range r.faults {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		mark := ""
		if r.atTimes[name] {
			mark = "~"
		}
		fmt.Fprintf(&b, "%s%s: %s\n", mark, name, cmp.Or(r.faults[name], holds))
	}
	return errors.Join(os.MkdirAll(filepath.Dir(r.file), 0o755), os.WriteFile(r.file, []byte(b.String()), 0o644)) //nolint:gosec // test data
}

// peersPatience is more than the 10 s after which the others, too, give up
// on a head. What they wait for longer fails a case.
const peersPatience = 12 * time.Second

// compareRecords compares what holds. How a case fails may depend on who is
// first.
func compareRecords(t *testing.T, want, got *record) {
	t.Helper()
	if want.version != got.version {
		t.Logf("%s is recorded, and %s is here: nothing to compare", want.version, got.version)
		return
	}
	for name, fault := range got.faults {
		recorded, known := want.faults[name]
		switch {
		case !known:
			t.Errorf("%s is not in %s", name, want.file)
		case (recorded == "") != (fault == ""):
			t.Errorf("%s: %q, and %q in %s", name, fault, recorded, want.file)
		}
	}
}

// firstFault returns the first line of a verdict, without what differs from
// run to run.
func firstFault(err error, s *stage) string {
	if err == nil {
		return ""
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	line = strings.ReplaceAll(line, strconv.Itoa(s.gateway), "PORT")
	line = regexp.MustCompile(`\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT`).ReplaceAllString(line, "DATE")
	const most = 160
	if len(line) > most {
		line = line[:most] + "..."
	}
	return line
}

// version returns name and version of a peer that is installed.
func version(t *testing.T, name string) string {
	t.Helper()
	program := strings.ToLower(name)
	if _, err := exec.LookPath(program); err != nil {
		if os.Getenv("FORBID_SKIPS") != "" {
			t.Fatalf("%s is not installed: .ci/install installs it", name)
		}
		t.Skipf("%s is not installed", name)
	}
	out, err := exec.CommandContext(t.Context(), program, "-v").CombinedOutput()
	if err != nil {
		t.Fatalf("%s -v: %v\n%s", program, err, out)
	}
	number := regexp.MustCompile(`\d+\.\d+\.\d+`).FindString(string(out))
	if number == "" {
		t.Fatalf("%s -v: no version in %q", program, out)
	}
	return name + " " + number
}

// startHAProxy serves the stages by HAProxy.
func startHAProxy(t *testing.T, stages []*stage) {
	t.Helper()
	var b strings.Builder
	b.WriteString(`global
	maxconn 4000

defaults
	mode http
	option forwardfor
	http-reuse always
	timeout connect 5s
	timeout client 50s
	timeout server 50s
	timeout http-request 10s
	timeout http-keep-alive 65s
`)
	for i, s := range stages {
		fmt.Fprintf(&b, "\nfrontend f%d\n\tbind 127.0.0.1:%d\n\tdefault_backend b%d\n\nbackend b%d\n\tserver s %s\n", i, s.gateway, i, i, s.origin.Addr())
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "haproxy.cfg")
	if err := os.WriteFile(config, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, dir, "haproxy", "-db", "-f", config).await(t, stages)
}

// startNginx serves the stages by nginx.
func startNginx(t *testing.T, stages []*stage) {
	t.Helper()
	dir := t.TempDir()
	var b strings.Builder
	fmt.Fprintf(&b, `daemon off;
%s
worker_processes auto;
pid nginx.pid;
error_log stderr crit;
events {
	worker_connections 8192;
}
http {
	access_log off;
	client_body_temp_path body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;
	client_header_timeout 10s;
	keepalive_timeout 65s;
	proxy_connect_timeout 5s;
	proxy_read_timeout 50s;
	proxy_http_version 1.1;
	proxy_set_header Connection "";
	proxy_set_header Host $host;
	proxy_set_header X-Real-IP $remote_addr;
	proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
	proxy_set_header X-Forwarded-Proto $scheme;
`, nginxUser())
	for i, s := range stages {
		fmt.Fprintf(&b, "\tupstream o%d {\n\t\tserver %s;\n\t\tkeepalive 16;\n\t}\n", i, s.origin.Addr())
		fmt.Fprintf(&b, "\tserver {\n\t\tlisten 127.0.0.1:%d;\n\t\tlocation / {\n\t\t\tproxy_pass http://o%d;\n\t\t}\n\t}\n", s.gateway, i)
	}
	b.WriteString("}\n")
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, dir, "nginx", "-p", dir, "-e", "stderr", "-c", config).await(t, stages)
}

// nginxUser keeps the workers of a test that runs as root able to use the
// test's directory.
func nginxUser() string {
	if os.Geteuid() == 0 {
		return "user root;"
	}
	return ""
}

// await waits until the last stage takes connections.
func (p *process) await(t *testing.T, stages []*stage) {
	t.Helper()
	last := net.JoinHostPort("127.0.0.1", strconv.Itoa(stages[len(stages)-1].gateway))
	err := p.poll(t.Context(), func(ctx context.Context) error {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", last)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	if err != nil {
		t.Fatal(err)
	}
}
