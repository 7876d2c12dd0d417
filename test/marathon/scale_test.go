// SPDX-License-Identifier: Apache-2.0

//go:build linux

package marathon

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/discovery/marathon/marathontest"
)

// events is how many changes of health TestScale measures.
const events = 20

// TestScale measures a control plane that watches a large Marathon: how long
// its first table takes, what memory it has, and what one event costs until the
// proxy serves what it says. It holds nothing to limits.
func TestScale(t *testing.T) {
	agents := []marathontest.Agent{{Host: "127.0.0.1"}} // that of the task which answers, and a few others
	for i := range 200 {
		agents = append(agents, marathontest.Agent{Host: fmt.Sprintf("10.0.0.%d", 1+i)})
	}
	m := marathontest.Start(t, marathontest.Options{Runner: newTasks(), Agents: agents})
	m.Deploy(web(`{"protocol": "MESOS_HTTP", "path": "/"}`))
	m.Fill(*scale, 4)
	x := newMesh(t, m)
	x.apply(t, webGateway(x.gateway))
	await(t, "the task answers", func() bool { return x.answered(t, "/web") }, func() string {
		return x.readiness(t) + metric(t, x.api, `sluice_discovery_objects{resource="apps"}`) + " apps\n" + x.control.log.String()
	})
	x.control.end(t)

	// The file that remembers would answer before Marathon does.
	if err := os.Remove(filepath.Join(x.dir, "control", "marathon.json")); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	x.startControl(t)
	t.Logf("%d apps with %d tasks", *scale+1, *scale*4+1)
	t.Logf("first table: %v after the start of the process", time.Since(begin).Round(time.Millisecond))
	t.Logf("memory: %s resident, %s at most", x.control.memory(t, "VmRSS"), x.control.memory(t, "VmHWM"))

	task := m.Tasks("/web")[0].ID
	before := x.control.cpu(t)
	var longest, sum time.Duration
	for i := range events {
		healthy := i%2 == 1
		begin := time.Now()
		m.SetHealth(task, healthy)
		await(t, "the proxy serves what the event says", func() bool { return x.answered(t, "/web") == healthy }, x.control.log.String)
		took := time.Since(begin)
		longest, sum = max(longest, took), sum+took
	}
	t.Logf("an event: %v until it is served, %v at most; %v of CPU",
		(sum / events).Round(time.Millisecond), longest.Round(time.Millisecond), (x.control.cpu(t)-before)/events)
	t.Logf("memory: %s resident", x.control.memory(t, "VmRSS"))
}

// memory returns a line of what the kernel says of a process's memory.
func (p *process) memory(t *testing.T, line string) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), line+":")
	value, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(value)
}

// cpu returns how long a process has had processors.
func (p *process) cpu(t *testing.T) time.Duration {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	ticks := 0
	for _, i := range []int{11, 12} { // in user mode, and in the kernel
		n, err := strconv.Atoi(fields[i])
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond // the kernel counts hundredths
}
