// SPDX-License-Identifier: Apache-2.0

package marathontest

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// What health and readiness checks are by default, as Marathon has it.
const (
	checkGrace       = 300 * time.Second
	checkInterval    = 60 * time.Second
	checkTimeout     = 20 * time.Second
	checkFailures    = 3
	readinessEvery   = 30 * time.Second
	readinessTimeout = 10 * time.Second
)

// probe has the checks of a task made until it leaves. The lock is held.
func (c *Cluster) probe(t *task) {
	for i, check := range t.checks {
		if target := c.target(t, check); target != "" {
			c.later(func(ctx context.Context) { c.probeHealth(ctx, t, i, check, target) })
		}
	}
	for _, check := range t.app.definition.ReadinessChecks {
		if address := c.named(t, check.PortName); address != "" {
			c.later(func(ctx context.Context) { c.probeReadiness(ctx, t, check, address) })
		}
	}
}

// target returns the host:port that a check asks, or nothing if the check is not
// of that kind. The lock is held.
func (c *Cluster) target(t *task, k check) string {
	if k.Protocol == "COMMAND" {
		return ""
	}
	if k.Port != nil {
		return net.JoinHostPort(c.listenHost(t), strconv.Itoa(*k.Port))
	}
	return c.listening(t, deref(k.PortIndex))
}

// listening returns the host:port of a port of a task by its index.
func (c *Cluster) listening(t *task, index int) string {
	ports := t.ports
	if t.app.networking == containerNetwork {
		ports = t.listens
	}
	if index < 0 || index >= len(ports) {
		return ""
	}
	return net.JoinHostPort(c.listenHost(t), strconv.Itoa(ports[index]))
}

func (c *Cluster) listenHost(t *task) string {
	if t.app.networking == containerNetwork {
		return t.ip
	}
	return t.agent.Host
}

// named returns the host:port of a port of a task by its name; no name is that
// of the first port.
func (c *Cluster) named(t *task, name string) string {
	if name == "" {
		return c.listening(t, 0)
	}
	return c.listening(t, slices.IndexFunc(t.app.ports, func(p port) bool { return p.name == name }))
}

// probeHealth makes one health check until the task leaves. What fails within
// the grace period of a task that has never been alive says nothing. A task that
// has failed too often is killed.
func (c *Cluster) probeHealth(ctx context.Context, t *task, index int, k check, address string) {
	grace := time.Now().Add(seconds(k.Grace, checkGrace))
	limit := checkFailures
	if k.MaxFailures != nil {
		limit = *k.MaxFailures
	}
	client := prober(seconds(k.Timeout, checkTimeout))
	defer client.CloseIdleConnections()
	c.every(ctx, t, c.interval(k.Interval, checkInterval), func() bool {
		cause := ask(ctx, client, k, address)
		c.mu.Lock()
		h := t.health[index]
		if t.gone || ctx.Err() != nil || cause != "" && h.firstSuccess.IsZero() && time.Now().Before(grace) {
			c.mu.Unlock()
			return true
		}
		c.examined(t, index, cause == "", cause)
		dead := limit > 0 && t.health[index].failures >= limit
		if dead {
			c.emit("unhealthy_task_kill_event", map[string]any{
				"appId": t.app.id, "taskId": t.id, "instanceId": t.instance, "version": t.version, "reason": cause,
				"host": t.agent.Host, "slaveId": t.agentID,
			})
		}
		c.mu.Unlock()
		if dead {
			c.lost(t, "failed its health check "+strconv.Itoa(limit)+" times in a row", true)
		}
		return !dead
	})
}

// probeReadiness makes one readiness check until the task is ready or leaves.
func (c *Cluster) probeReadiness(ctx context.Context, t *task, k readinessCheck, address string) {
	client := prober(seconds(k.Timeout, readinessTimeout))
	defer client.CloseIdleConnections()
	ready := k.Statuses
	if len(ready) == 0 {
		ready = []int{http.StatusOK}
	}
	c.every(ctx, t, c.interval(k.Interval, readinessEvery), func() bool {
		status, err := fetch(ctx, client, "http://"+address+slashed(k.Path))
		if err != nil || !slices.Contains(ready, status) {
			return true
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if t.ready == nil {
			t.ready = make(map[string]bool)
		}
		t.ready[k.Name] = true
		t.app.touch()
		c.note()
		return false
	})
}

// every calls f now and then until it returns false, the task leaves, or ctx
// ends.
func (c *Cluster) every(ctx context.Context, t *task, interval time.Duration, f func() bool) {
	tick := time.NewTicker(max(interval, 10*time.Millisecond))
	defer tick.Stop()
	for f() {
		select {
		case <-ctx.Done():
			return
		case <-t.left:
			return
		case <-tick.C:
		}
	}
}

// interval is how often a check is made.
func (c *Cluster) interval(given *float64, otherwise time.Duration) time.Duration {
	d := seconds(given, otherwise)
	if c.o.ProbeEvery > 0 {
		d = min(d, c.o.ProbeEvery)
	}
	return d
}

// prober returns a client that makes checks: it follows no redirect, and asks
// for no certificate that it knows.
func prober(timeout time.Duration) *http.Client {
	return &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // Marathon does not verify either
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// ask makes a check once and returns why it failed, or nothing.
func ask(ctx context.Context, client *http.Client, k check, address string) string {
	switch k.Protocol {
	case "TCP", "MESOS_TCP":
		ctx, cancel := context.WithTimeout(ctx, client.Timeout)
		defer cancel()
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err != nil {
			return err.Error()
		}
		_ = conn.Close()
		return ""
	}
	scheme := "http://"
	if k.Protocol == "HTTPS" || k.Protocol == "MESOS_HTTPS" {
		scheme = "https://"
	}
	status, err := fetch(ctx, client, scheme+address+slashed(k.Path))
	switch {
	case err != nil:
		return err.Error()
	case status < 200 || status > 399:
		return fmt.Sprintf("%d %s", status, http.StatusText(status))
	}
	return ""
}

func fetch(ctx context.Context, client *http.Client, url string) (status int, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Accept", "*/*")
	resp, err := client.Do(r)
	if err != nil {
		return 0, err
	}
	_ = resp.Body.Close()
	return resp.StatusCode, nil
}

// slashed is a path, which is the root if there is none.
func slashed(path string) string {
	if path == "" || path[0] != '/' {
		return "/" + path
	}
	return path
}
