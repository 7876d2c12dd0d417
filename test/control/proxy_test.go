// SPDX-License-Identifier: Apache-2.0

//go:build linux

package control

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// proxy is one proxy of a mesh, through all of its processes.
type proxy struct {
	*process
	m       *mesh
	address string // on which gateways listen
	admin   string // host:port
	data    string // directory of its last good tables
	args    []string
	alone   bool // it is sluice-proxy, which can do nothing else
	watch   *watch
	load    *load
}

// status is what is read of /status.
type status struct {
	Table *struct {
		Version string `json:"version"`
	} `json:"table"`
	Gateways []struct {
		Name     string `json:"name"`
		Deployed bool   `json:"deployed"`
		Routes   []struct {
			Path   string `json:"path"`
			Weight string `json:"weight"`
		} `json:"routes"`
	} `json:"gateways"`
	Control struct {
		Connected bool `json:"connected"`
		HeldBack  []struct {
			Gateway string `json:"gateway"`
		} `json:"held_back"`
	} `json:"control"`
	text string
}

// holds reports whether these gateways are held back, and no others; they are
// sorted.
func (s status) holds(names ...string) bool {
	return slices.EqualFunc(s.Control.HeldBack, names, func(h struct {
		Gateway string `json:"gateway"`
	}, name string,
	) bool {
		return h.Gateway == name
	})
}

// serves reports whether a gateway is served, its first route with a share.
func (s status) serves(g *gateway, share int) bool {
	for _, served := range s.Gateways {
		if served.Name == g.name {
			return served.Deployed && len(served.Routes) == len(g.addrs) && served.Routes[0].Weight == fmt.Sprintf("%d%%", share)
		}
	}
	return false
}

// up runs the proxy. It does not wait for anything.
func (p *proxy) up(t *testing.T) {
	t.Helper()
	line := []string{program, "proxy"}
	if p.alone {
		line = []string{proxyProgram}
	}
	args := []string{
		"--name", p.name, "--gateway-address", p.address, "--admin", p.admin,
		"--data-dir", p.data, "--drain", "1s",
	}
	name := p.name
	p.process = startLine(t, name, p.m.dir, slices.Concat(line, args, p.args))
	p.name = name
}

// ask gets a page of the admin server over a connection of its own.
func (p *proxy) ask(ctx context.Context, path string) (code int, body string, err error) {
	return ask(ctx, http.MethodGet, "http://"+p.admin+path)
}

func (p *proxy) status(ctx context.Context) (status, error) {
	var s status
	code, body, err := p.ask(ctx, "/status")
	if err != nil || code != http.StatusOK {
		return s, fmt.Errorf("status %d: %w", code, err)
	}
	s.text = body
	return s, json.Unmarshal([]byte(body), &s)
}

// table asks which table serves. It is told by a proxy that is connected.
func (p *proxy) table(ctx context.Context) (string, error) {
	code, body, err := p.ask(ctx, "/readyz?verbose")
	if err != nil {
		return "", err
	}
	_, rest, told := strings.Cut(body, "[+] control: table ")
	v, _, whole := strings.Cut(rest, "\n")
	if !told || !whole {
		return "", fmt.Errorf("/readyz tells no table: status %d: %s", code, body)
	}
	return v, nil
}

// ready waits until the proxy says that it is.
func (p *proxy) ready(t *testing.T) {
	t.Helper()
	p.await(t, "it is ready", func() bool {
		code, _, err := p.ask(t.Context(), "/readyz")
		return err == nil && code == http.StatusOK
	})
}

// shows waits until /status is as a claim has it.
func (p *proxy) shows(t *testing.T, what string, claim func(status) bool) {
	t.Helper()
	p.await(t, "/status shows "+what, func() bool {
		s, err := p.status(t.Context())
		return err == nil && claim(s)
	})
}

func (p *proxy) connected(t *testing.T) {
	t.Helper()
	p.shows(t, "that it is connected", func(s status) bool { return s.Control.Connected })
}

// stale waits until the proxy has noticed that it has no control plane, and
// checks that it serves on and says so.
func (p *proxy) stale(t *testing.T) {
	t.Helper()
	p.shows(t, "that it is not connected", func(s status) bool { return !s.Control.Connected })
	if code, body, err := p.ask(t.Context(), "/readyz?verbose"); err != nil || code != http.StatusOK || !strings.Contains(body, "stale since") {
		t.Errorf("%s: /readyz: status %d, %v, want 200 and since when it is stale:\n%s", p.name, code, err, body)
	}
	p.counts(t, "sluice_control_connected", 0)
}

// await waits until a claim holds, as long as the proxy lives.
func (p *proxy) await(t *testing.T, what string, claim func() bool) {
	t.Helper()
	await(t, p.name+": "+what, func() bool {
		if p.ended() {
			t.Fatalf("%s ended: %v\n%s", p.name, p.err, p.log)
		}
		return claim()
	}, func() string {
		s, err := p.status(t.Context())
		return fmt.Sprintf("%s %v\n%s", s.text, err, last(p.log.String(), 3000))
	})
}

// version returns what the proxy serves.
func (p *proxy) version(t *testing.T) version {
	t.Helper()
	s, err := p.status(t.Context())
	if err != nil || s.Table == nil {
		t.Fatalf("%s: no table: %v %s\n%s", p.name, err, s.text, p.log)
	}
	v, err := readVersion(s.Table.Version)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// counts waits until the sum of the series of a name is n. Series follow what
// /status shows.
func (p *proxy) counts(t *testing.T, name string, n float64) {
	t.Helper()
	p.await(t, fmt.Sprintf("%s is %v", name, n), func() bool { return p.metric(t, name) == n })
}

// metric returns the sum of the series of a name.
func (p *proxy) metric(t *testing.T, name string) float64 {
	t.Helper()
	code, text, err := p.ask(t.Context(), "/metrics")
	if err != nil || code != http.StatusOK {
		t.Fatalf("%s: /metrics: status %d, %v", p.name, code, err)
	}
	sum, found := 0.0, false
	for line := range strings.Lines(text) {
		at := strings.LastIndexByte(line, ' ')
		if at < 0 {
			continue
		}
		series, value := line[:at], strings.TrimSpace(line[at:])
		family, _, _ := strings.Cut(series, "{")
		if family != name {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		sum, found = sum+v, true
	}
	if !found {
		t.Fatalf("%s: there is no series %s", p.name, name)
	}
	return sum
}

// begin starts the load and the watch of the proxy.
func (p *proxy) begin(t *testing.T) {
	t.Helper()
	p.beginLoad(t)
	ctx, cancel := context.WithCancel(context.Background())
	p.watch = &watch{name: p.name, cancel: cancel}
	p.watch.wg.Go(func() { p.watch.run(ctx, p) })
	t.Cleanup(func() { cancel(); p.watch.wg.Wait() })
}

func (p *proxy) beginLoad(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{name: p.name, cancel: cancel, by: map[string]int{}}
	for _, g := range p.m.gateways {
		l.ask(ctx, g.at(p), g.names...)
	}
	p.load = l
	t.Cleanup(func() { cancel(); l.wg.Wait() })
	l.among(t, 20)
}

// stop ends load and watch.
func (p *proxy) stop(t *testing.T, epochs int) {
	t.Helper()
	p.load.stop(t)
	p.watch.stop(t, epochs)
}

// ask sends one request over a connection of its own.
func ask(ctx context.Context, method, url string, fields ...string) (code int, text string, err error) {
	code, _, text, err = askAll(ctx, method, url, "", fields...)
	return code, text, err
}

// asker never tries anything twice.
var asker = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: new(net.Dialer).DialContext}}

func askAll(ctx context.Context, method, url, body string, fields ...string) (code int, header http.Header, text string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, nil, "", err
	}
	for i := 0; i+1 < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	resp, err := asker.Do(r)
	if err != nil {
		return 0, nil, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(b), err
}

// dataDir returns where a proxy keeps its tables.
func dataDir(m *mesh, name string) string { return filepath.Join(m.dir, name) }
