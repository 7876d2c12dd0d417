// SPDX-License-Identifier: Apache-2.0

//go:build slow

package siege

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/bench/load"
)

const (
	// attackers is how many connections slowhttptest opens, attackTime for how
	// long.
	attackers  = 500
	attackTime = 12 * time.Second
)

var available = regexp.MustCompile(`service available:[^A-Z]*([A-Z]+)`)

// slowhttptest attacks in the three ways that it knows; its own probes and
// other clients must find the service available all the time.
func TestSlowhttptestFindsTheServiceAvailable(t *testing.T) {
	program, err := exec.LookPath("slowhttptest")
	if err != nil {
		if os.Getenv("FORBID_SKIPS") != "" {
			t.Fatal(err)
		}
		t.Skipf("needs slowhttptest: %v", err)
	}
	for _, tt := range []struct {
		name, path string
		flags      []string
	}{
		{"slow headers", "/", []string{"-H", "-i", "2", "-x", "24"}},
		{"slow bodies", "/", []string{"-B", "-i", "2", "-s", "8192", "-x", "10"}},
		{"slow reading", "/bytes/4194304", []string{"-X", "-w", "512", "-y", "1024", "-n", "2", "-z", "32", "-k", "3"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, fast(t))
			args := append([]string{
				"-c", strconv.Itoa(attackers), "-r", "250", "-l", strconv.Itoa(int(attackTime.Seconds())), "-p", "2",
				"-u", "http://" + s.gateway + tt.path,
			}, tt.flags...)
			attack, end := context.WithTimeout(t.Context(), attackTime+patience)
			defer end()
			said := make(chan []byte, 1)
			go func() {
				out, _ := exec.CommandContext(attack, program, args...).CombinedOutput() // what it says counts
				said <- out
			}()
			s.eventually("it is under attack", func() bool {
				return s.metric("sluice_connections_open") >= attackers/2
			})
			r := offer(t, load.Plan{Address: s.gateway, Connections: 8, Rate: 200, Duration: attackTime / 2})
			if r.Status[2] != r.Requests || r.Failed() > 0 {
				t.Errorf("other clients: %v by class of status, failed %v", r.Status, r.Errors)
			}
			out := <-said
			found := available.FindAllSubmatch(out, -1)
			if len(found) == 0 {
				t.Fatalf("slowhttptest did not say whether the service was available:\n%s", out)
			}
			for _, f := range found {
				if string(f[1]) != "YES" {
					t.Fatalf("service available: %s\n%s", f[1], out)
				}
			}
			s.eventually("its connections are gone", func() bool { return s.metric("sluice_connections_open") < 10 })
			if status, _ := s.ask("/readyz"); status != http.StatusOK {
				t.Errorf("/readyz: %d", status)
			}
			t.Logf("available in all %d reports; p99 of others %v", len(found), time.Duration(r.Latency.ValueAtQuantile(99)))
		})
	}
}
