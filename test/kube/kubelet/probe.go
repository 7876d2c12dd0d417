// SPDX-License-Identifier: Apache-2.0

//go:build linux

package kubelet

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// eager is how long a container that is not ready waits for its next probe. A
// real kubelet takes the period that is asked for, which is a second at least.
const eager = 50 * time.Millisecond

// probe probes the container's process until probing ends. Until a startup
// probe has succeeded there are no others.
func (c *container) probe(ctx, probing context.Context) {
	c.started, c.ready = false, false
	p := c.spec.StartupProbe
	if p == nil {
		c.begun(ctx, probing)
		return
	}
	c.pod.kubelet.wait.Go(func() {
		c.watch(probing, p, eager, func(ok bool) {
			if ok && !c.started {
				c.begun(ctx, probing)
			}
		})
	})
}

// begun notes that the container has started, and begins with its other
// probes.
func (c *container) begun(ctx, probing context.Context) {
	c.started, c.ready = true, c.spec.ReadinessProbe == nil
	wait := &c.pod.kubelet.wait
	if p := c.spec.ReadinessProbe; p != nil {
		wait.Go(func() { c.watch(probing, p, eager, func(ok bool) { c.ready = ok }) })
	}
	if p := c.spec.LivenessProbe; p != nil {
		wait.Go(func() {
			c.watch(probing, p, period(p), func(ok bool) {
				if !ok && c.pod.deadline == nil {
					c.signal(syscall.SIGTERM)
				}
			})
		})
	}
	c.pod.advance(ctx)
}

// period returns the time between probes.
func period(p *corev1.Probe) time.Duration {
	return time.Duration(max(p.PeriodSeconds, 1)) * time.Second
}

// watch probes by p until ctx ends, and has the pod call changed when enough
// probes in a row say something else than before. Until the first success, and
// while probes fail, the time between them is retry: what is not yet listened
// on has failed for good if it is asked too often for its life.
func (c *container) watch(ctx context.Context, p *corev1.Probe, retry time.Duration, changed func(ok bool)) {
	next := time.NewTimer(time.Duration(p.InitialDelaySeconds)*time.Second + retry)
	defer next.Stop()
	var told, once bool
	var row int32 // how many probes in a row said something else
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		ok := c.ask(ctx, p)
		if row++; once && ok == told {
			row = 0
		}
		if row >= threshold(p, ok) {
			told, once, row = ok, true, 0
			c.pod.note(func() {
				if ctx.Err() == nil { // or it is about a process that has ended
					changed(ok)
				}
			})
		}
		next.Reset(retry)
		if told {
			next.Reset(period(p))
		}
	}
}

// threshold returns how many probes in a row have to be like ok.
func threshold(p *corev1.Probe, ok bool) int32 {
	if ok {
		return max(p.SuccessThreshold, 1)
	}
	return max(p.FailureThreshold, 1)
}

// ask probes once. What is not HTTP or TCP succeeds.
func (c *container) ask(ctx context.Context, p *corev1.Probe) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(max(p.TimeoutSeconds, 1))*time.Second)
	defer cancel()
	switch {
	case p.HTTPGet != nil:
		return c.askHTTP(ctx, p.HTTPGet)
	case p.TCPSocket != nil:
		var d net.Dialer
		conn, err := d.DialContext(ctx, "tcp", c.address(p.TCPSocket.Port))
		if err != nil {
			return false
		}
		return conn.Close() == nil
	default:
		return true
	}
}

// probes is the client of all probes. As with a real kubelet, each has a
// connection of its own, and certificates are not verified.
var probes = &http.Client{
	Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // see above
	},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// askHTTP reports whether the answer to a probe is a success or a redirect.
func (c *container) askHTTP(ctx context.Context, get *corev1.HTTPGetAction) bool {
	scheme := "http"
	if get.Scheme == corev1.URISchemeHTTPS {
		scheme = "https"
	}
	url := scheme + "://" + c.address(get.Port) + "/" + strings.TrimPrefix(get.Path, "/")
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false
	}
	for _, h := range get.HTTPHeaders {
		request.Header.Add(h.Name, h.Value)
	}
	response, err := probes.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	return response.StatusCode >= 200 && response.StatusCode < 400
}

// address returns where a port of the container, maybe a named one, is reached.
func (c *container) address(port intstr.IntOrString) string {
	number := port.IntValue()
	for _, p := range c.spec.Ports {
		if port.Type == intstr.String && p.Name == port.StrVal {
			number = int(p.ContainerPort)
		}
	}
	return net.JoinHostPort(c.pod.box.ip.String(), strconv.Itoa(number))
}
