// SPDX-License-Identifier: Apache-2.0

package load

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// HTTP2 is the protocol of plans that are offered by h2load.
const HTTP2 = "h2"

// H2Load returns the path and the version of h2load, such as "h2load 1.52.0",
// or an error that says what to install.
func H2Load(ctx context.Context) (path, version string, err error) {
	path, err = exec.LookPath("h2load")
	if err != nil {
		return "", "", errors.New("h2load is not installed: install it, such as with apt-get install nghttp2-client")
	}
	ctx, cancel := context.WithTimeout(ctx, h2loadPatience)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").CombinedOutput()
	if err != nil {
		return "", "", fmt.Errorf("%s --version: %w: %s", path, err, bytes.TrimSpace(out))
	}
	return path, strings.TrimSpace(strings.Replace(string(out), "nghttp2/", "", 1)), nil
}

// h2loadPatience is how long h2load may take to tell its version, and to end once
// the time is over.
const h2loadPatience = 10 * time.Second

// runHTTP2 offers a plan over HTTP/2, by h2load in a process of its own: this
// package does not speak it.
func runHTTP2(ctx context.Context, p Plan) (*Result, error) {
	args, err := p.h2load()
	if err != nil {
		return nil, err
	}
	path, _, err := H2Load(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "sluice-h2load-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	log := filepath.Join(dir, "log")
	within, cancel := context.WithTimeout(ctx, p.Warmup+p.Duration+p.Timeout+h2loadPatience)
	defer cancel()
	out, err := exec.CommandContext(within, path, append([]string{"--log-file=" + log}, args...)...).CombinedOutput() //nolint:gosec // the path is h2load's, the arguments are ours
	if err != nil {
		return nil, fmt.Errorf("h2load: %w: %s", cmp.Or(context.Cause(ctx), err), lastLine(out))
	}
	r, err := readSummary(out)
	if err != nil {
		return nil, err
	}
	r.Elapsed, r.Connections = p.Duration, int64(p.Connections)
	return r, r.readLog(log)
}

// h2load returns the arguments that have h2load offer the plan, or why it
// cannot.
func (p Plan) h2load() ([]string, error) {
	if len(p.Mix) != 1 || p.Rate > 0 || p.PerConnection > 0 || p.Requests > 0 {
		return nil, errors.New("load: over HTTP/2 there is one kind of request, in a closed loop over connections that stay")
	}
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(p.Mix[0].Wire)))
	if err != nil {
		return nil, fmt.Errorf("load: the request is not one of HTTP/1.1: %w", err)
	}
	if r.Method != http.MethodGet || r.ContentLength != 0 {
		return nil, fmt.Errorf("load: over HTTP/2 only GET is sent, not %s", r.Method)
	}
	scheme := "http"
	if p.TLS != nil {
		scheme = "https"
	}
	args := []string{
		"-c", strconv.Itoa(p.Connections), "-m", strconv.Itoa(p.Streams), "-D", fmt.Sprint(p.Duration.Milliseconds(), "ms"),
		"--warm-up-time", fmt.Sprint(p.Warmup.Milliseconds(), "ms"), "--connect-to", p.Address,
	}
	for name, values := range r.Header {
		for _, v := range values {
			args = append(args, "-H", strings.ToLower(name)+": "+v)
		}
	}
	return append(args, scheme+"://"+r.Host+r.RequestURI), nil
}

// What h2load prints of its requests, their answers and the bytes of these.
var (
	requestsPrinted = regexp.MustCompile(`requests: (\d+) total, (\d+) started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout`)
	statusPrinted   = regexp.MustCompile(`status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx`)
	trafficPrinted  = regexp.MustCompile(`traffic: \S+ \((\d+)\) total`)
)

// errNoSummary reports an h2load that does not say what became of its
// requests.
var errNoSummary = errors.New("h2load does not tell what became of its requests")

// readSummary reads what h2load prints at the end. Requests that have no
// answer when the time is over are not counted, as ever in a closed loop.
func readSummary(out []byte) (*Result, error) {
	requests, status, traffic := numbers(requestsPrinted, out), numbers(statusPrinted, out), numbers(trafficPrinted, out)
	if requests == nil || status == nil || traffic == nil {
		return nil, fmt.Errorf("%w: %s", errNoSummary, lastLine(out))
	}
	r := &Result{Errors: make(map[string]int64), BytesIn: traffic[0], Latency: newHistogram(3)}
	copy(r.Status[2:], status)
	for _, n := range status {
		r.Requests += n
	}
	// Failed are both those that were broken off and those whose status is one
	// of failure, which are answers.
	if timeout, broken := requests[6], requests[5]; timeout+broken > 0 {
		r.Errors["timeout"], r.Errors["reset"] = timeout, max(0, broken-timeout)
	}
	return r, nil
}

// numbers returns the numbers that an expression finds, or nil.
func numbers(find *regexp.Regexp, in []byte) (all []int64) {
	m := find.FindSubmatch(in)
	for _, text := range m[min(1, len(m)):] {
		n, err := strconv.ParseInt(string(text), 10, 64)
		if err != nil {
			return nil
		}
		all = append(all, n)
	}
	return all
}

// readLog reads the latencies from the log: lines with when a request began,
// its status, and how many microseconds it took.
func (r *Result) readLog(file string) error {
	f, err := os.Open(file) //nolint:gosec // it is in a directory of ours
	if err != nil {
		return fmt.Errorf("h2load: %w", err)
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		columns := strings.Split(lines.Text(), "\t")
		if len(columns) < 3 {
			return fmt.Errorf("h2load: its log has a line %q", lines.Text())
		}
		took, err := strconv.ParseInt(columns[2], 10, 64)
		if err != nil {
			return fmt.Errorf("h2load: its log has a line %q", lines.Text())
		}
		if columns[1] == "-1" {
			continue // it has failed
		}
		latency := min(max(time.Duration(took)*time.Microsecond, shortest), longest)
		if err := r.Latency.RecordValue(int64(latency)); err != nil {
			return fmt.Errorf("h2load: %w", err)
		}
	}
	return lines.Err()
}

// lastLine returns the last line of a text.
func lastLine(text []byte) []byte {
	text = bytes.TrimSpace(text)
	return text[bytes.LastIndexByte(text, '\n')+1:]
}
