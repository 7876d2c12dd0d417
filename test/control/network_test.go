// SPDX-License-Identifier: Apache-2.0

//go:build linux

package control

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// askVariable makes this binary one that gets a page and prints it, which is
// how to ask what listens in another network: URL, file of the
// authority and token.
const askVariable = "SLUICE_CONTROL_ASK"

func askFromHere(what string) int {
	words := strings.Fields(what)
	trusted, err := os.ReadFile(words[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(trusted)
	asker.Transport = &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}}
	code, text, err := ask(context.Background(), http.MethodGet, words[0], "Authorization", "Bearer "+words[2])
	if err != nil || code != http.StatusOK {
		fmt.Fprintln(os.Stderr, code, err, text)
		return 1
	}
	fmt.Print(text)
	return 0
}

// network is one of its own, which has this one as its only neighbour.
type network struct {
	name        string
	here, there string   // addresses
	link        string   // our end
	macs        []string // of our end and of the other
	ca, token   string   // by which the control plane there is asked: a file, and the token itself
}

// newNetwork makes a network until the test ends.
func newNetwork(t *testing.T) *network {
	t.Helper()
	if os.Geteuid() != 0 {
		lack(t, "a network of our own takes root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		lack(t, "a network of our own takes the ip command: %v", err)
	}
	pid := os.Getpid()
	n := &network{
		name: fmt.Sprintf("sluice%d", pid), link: fmt.Sprintf("slc%d", pid),
		here: fmt.Sprintf("10.%d.%d.1", 64+pid>>8&63, pid&255), there: fmt.Sprintf("10.%d.%d.2", 64+pid>>8&63, pid&255),
	}
	peer := n.link + "x"
	run(t, "ip netns add %s", n.name)
	t.Cleanup(func() {
		_ = exec.CommandContext(context.Background(), "ip", "netns", "delete", n.name).Run() // and the link with it
		_ = exec.CommandContext(context.Background(), "ip", "link", "delete", n.link).Run()
	})
	run(t, "ip link add %s type veth peer name %s netns %s", n.link, peer, n.name)
	run(t, "ip address add %s/30 dev %s", n.here, n.link)
	run(t, "ip link set %s up", n.link)
	run(t, "ip -n %s address add %s/30 dev %s", n.name, n.there, peer)
	run(t, "ip -n %s link set %s up", n.name, peer)
	run(t, "ip -n %s link set lo up", n.name)
	n.macs = []string{
		strings.TrimSpace(run(t, "cat /sys/class/net/%s/address", n.link)),
		strings.TrimSpace(run(t, "ip netns exec %s cat /sys/class/net/%s/address", n.name, peer)),
	}
	return n
}

// nobody is an address that no interface has: what is sent to it is lost
// without a word, as by a switch that fails.
const nobody = "02:00:00:00:00:99"

// deaf has what is sent there from here be lost, or no longer.
func (n *network) deaf(t *testing.T, lost bool) {
	t.Helper()
	mac := n.macs[1]
	if lost {
		mac = nobody
	}
	run(t, "ip neighbour replace %s lladdr %s nud permanent dev %s", n.there, mac, n.link)
}

// mute has what is sent here from there be lost, or no longer.
func (n *network) mute(t *testing.T, lost bool) {
	t.Helper()
	mac := n.macs[0]
	if lost {
		mac = nobody
	}
	run(t, "ip -n %s neighbour replace %s lladdr %s nud permanent dev %sx", n.name, n.here, mac, n.link)
}

// inside returns what runs a command there.
func (n *network) inside() []string { return []string{"ip", "netns", "exec", n.name} }

// ask gets a page from there.
func (n *network) ask(t *testing.T, url string) (string, error) {
	t.Helper()
	before := n.inside()
	cmd := exec.CommandContext(t.Context(), before[0], append(before[1:], os.Args[0])...)
	cmd.Env = append(os.Environ(), askVariable+"="+url+" "+n.ca+" "+n.token)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// run runs a command and returns what it printed.
func run(t *testing.T, format string, args ...any) string {
	t.Helper()
	words := strings.Fields(fmt.Sprintf(format, args...))
	out, err := exec.CommandContext(t.Context(), words[0], words[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(words, " "), err, out)
	}
	return string(out)
}
