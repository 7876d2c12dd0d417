// SPDX-License-Identifier: Apache-2.0

package rival

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// sluice is the kind that all of this is about.
const sluice = "sluice"

// Kind is a program that can be measured. The zero Kind is none.
type Kind struct {
	Name string // haproxy, nginx or sluice

	title   string // in reports
	program string
	missing string // what to do if it is not there
	asked   string // the argument on which it tells its version
	version *regexp.Regexp
	configs []string // names of its configurations
	args    func(work) []string
	// last ends it where its parent is gone. Not all can be killed outright:
	// children of theirs would stay.
	last syscall.Signal
}

// Kinds returns all that are known, in the order of reports.
func Kinds() []Kind {
	return []Kind{
		{
			Name: sluice, title: "Sluice", program: "sluice",
			missing: "build it with make build, or give its path",
			asked:   "version", version: regexp.MustCompile(`^sluice (\S+)`),
			configs: []string{"sluice.yaml", "instances.yaml"},
			args: func(w work) []string {
				return []string{
					"run", "-f", filepath.Join(w.Dir, "sluice.yaml"), "--instances", filepath.Join(w.Dir, "instances.yaml"),
					"--gateway-address", "127.0.0.1", "--admin", w.Admin, "--virtual-hosts-port", strconv.Itoa(w.Hosts),
					"--log-level", "warn", "--drain", "1s",
				}
			},
			last: syscall.SIGKILL,
		},
		{
			Name: "haproxy", title: "HAProxy", program: "haproxy",
			missing: "install it, such as with apt-get install haproxy",
			asked:   "-v", version: regexp.MustCompile(`version (\d+(?:\.\d+)*)`),
			configs: []string{"haproxy.cfg"},
			args:    func(w work) []string { return []string{"-db", "-f", filepath.Join(w.Dir, "haproxy.cfg")} },
			last:    syscall.SIGKILL,
		},
		{
			Name: nginx, title: "nginx", program: "nginx",
			missing: "install it, such as with apt-get install nginx",
			asked:   "-v", version: regexp.MustCompile(`nginx/(\d+(?:\.\d+)*)`),
			configs: []string{"nginx.conf"},
			args: func(w work) []string {
				return []string{"-p", w.Dir, "-c", filepath.Join(w.Dir, "nginx.conf"), "-g", "daemon off;"}
			},
			last: syscall.SIGTERM,
		},
	}
}

// Find returns the kind of a name. Its error lists the names that are known.
func Find(name string) (Kind, error) {
	var known []string
	for _, k := range Kinds() {
		if k.Name == name {
			return k, nil
		}
		known = append(known, k.Name)
	}
	return Kind{}, fmt.Errorf("unknown program %q, want one of %s", name, strings.Join(known, ", "))
}

// patience is how long a program may take to tell its version.
const patience = 10 * time.Second

// Available returns the name and version of the installed program, such as
// "HAProxy 2.6.12", or an error that says what to install. Sluice is this
// program itself if that is its name, or else the one that is installed.
func (k Kind) Available() (string, error) {
	path, err := k.find()
	if err != nil {
		return "", err
	}
	return k.versionOf(context.Background(), path)
}

// Can returns an error that says what to install if the installed program
// cannot do what a mode asks for.
func (k Kind) Can(mode string) error {
	path, err := k.find()
	if err == nil {
		_, err = k.streamModule(context.Background(), path, mode)
	}
	return err
}

// find returns the path of the program.
func (k Kind) find() (string, error) {
	if self, err := os.Executable(); err == nil && filepath.Base(self) == k.program {
		return self, nil
	}
	if path, err := exec.LookPath(k.program); err == nil {
		return path, nil
	}
	// Servers are often where only the administrator looks.
	for _, dir := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, k.program)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed: %s", k.title, k.missing)
}

func (k Kind) versionOf(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, k.asked).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", path, k.asked, err, end(out))
	}
	m := k.version.FindSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("%s %s does not tell a version: %s", path, k.asked, end(out))
	}
	return k.title + " " + string(m[1]), nil
}

// end returns the last lines of a text, without white space around them.
func end(text []byte) string {
	const most = 2 << 10
	s := strings.TrimSpace(string(text))
	if len(s) <= most {
		return s
	}
	s = s[len(s)-most:]
	if _, whole, ok := strings.Cut(s, "\n"); ok {
		s = whole
	}
	return "... " + s
}
