// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-mesh/sluice/bench"
	"github.com/sluice-mesh/sluice/bench/report"
	"github.com/sluice-mesh/sluice/bench/scenario"
	"github.com/sluice-mesh/sluice/cmd/internal/boot"
)

// benchFlags are the flags of sluice bench URL.
type benchFlags struct {
	// load holds those that scenarios have, too. They win over the file's.
	load     scenario.Scenario
	headers  []string
	method   string
	data     string
	bodySize string

	scenario string
	compare  []string
	rounds   int
	insecure bool
	output   string
}

func newBench() *cobra.Command {
	var f benchFlags
	cmd := &cobra.Command{
		Use:   "bench URL",
		Short: "Measure how fast something answers, alone or beside others",
		Long: `Bench sends requests to a URL and tells how many were answered a second, how
long that took by quantile, and what went wrong. Without --rate each connection
sends its next request when it has its answer (a closed loop: how much can it
take?). With --rate requests are due at an even pace, and latency counts from
when a request was due (an open loop: how long do users wait?), so that a stall
counts for every request that it delays.

With --compare the same load is offered to several URLs in rounds that take
turns; it tells which is faster, by what ratio, and whether that is more than
the rounds differ among themselves. A URL to compare that has no path has that
of the first one.

A scenario is a YAML file with a mix of requests; docs/benchmarking.md has its
keys. Flags win over it. Do not measure what is not yours.

It exits with 0 if requests were answered with a status below 400 wherever any
were sent, with 1 if not, and with 2 for wrong use.`,
		Example: `  sluice bench http://127.0.0.1:9050/
  sluice bench http://127.0.0.1:9050/ --rate 2000 --duration 30s
  sluice bench http://127.0.0.1:9050/order --data '{"id": 1}' --header Content-Type:application/json
  sluice bench http://127.0.0.1:9050/ --compare http://127.0.0.1:9061 --rounds 5
  sluice bench http://127.0.0.1:9050 --scenario shop.yaml -o json
  sluice bench http://127.0.0.1:9050/ --requests-per-connection 1   # a new connection each`,
		Args: arguments(func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("which URL? one such as http://127.0.0.1:9050/; further ones with --compare")
			}
			return nil
		}),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	flags := cmd.Flags()
	flags.Float64Var(&f.load.Rate, "rate", 0, "requests a second at an even pace; 0 for as fast as answers come")
	flags.DurationVar(&f.load.Duration, "duration", 10*time.Second, "how long each round is measured, at most 24h")
	flags.DurationVar(&f.load.Warmup, "warmup", 0, "how long load is offered before each round without being measured")
	flags.DurationVar(&f.load.Timeout, "timeout", 10*time.Second, "how long a request may take")
	flags.IntVar(&f.load.Connections, "connections", 64, "connections at once")
	flags.Int64Var(&f.load.Requests, "requests", 0, "end a round after so many requests; 0 for no bound")
	flags.IntVar(&f.load.PerConnection, "requests-per-connection", 0, "requests that a connection carries; 1 for a new one each, 0 for no bound")
	flags.StringArrayVarP(&f.headers, "header", "H", nil, "header, NAME:VALUE; may be repeated")
	flags.StringVar(&f.method, "method", "", "method (default GET, and POST with a body)")
	flags.StringVar(&f.data, "data", "", "body of the request")
	flags.StringVar(&f.bodySize, "body-size", "", "size of a body that is made up, such as 512, 10KB or 1MiB")
	flags.StringVar(&f.scenario, "scenario", "", "YAML file with a mix of requests, - for standard input")
	flags.StringArrayVar(&f.compare, "compare", nil, "URL to measure beside the first one; may be repeated")
	flags.IntVar(&f.rounds, "rounds", 0, "rounds for each URL (default 1, and 5 with --compare)")
	flags.BoolVar(&f.insecure, "insecure", false, "accept any certificate")
	flags.StringVarP(&f.output, "output", "o", "table", "form of the result: table, json or yaml")
	cmd.AddCommand(newBenchOrigin(), newBenchSuite())
	return cmd
}

// mostRounds bounds --rounds: more tell nothing new.
const mostRounds = 1000

func (f *benchFlags) run(cmd *cobra.Command, first string) error {
	if err := checkBenchOutput(f.output); err != nil {
		return err
	}
	if f.rounds < 0 || f.rounds > mostRounds {
		return usagef("--rounds: %d is not a number of rounds; 1 to %d", f.rounds, mostRounds)
	}
	s, err := f.read(cmd)
	if err != nil {
		return err
	}
	targets, err := f.targets(s, first)
	if err != nil {
		return err
	}
	if f.rounds == 0 {
		f.rounds = 1
		if len(targets) > 1 {
			f.rounds = bench.Enough
		}
	}
	ctx, signals := boot.Notify(cmd.Context())
	defer signals.Release()
	line := progressLine{w: cmd.ErrOrStderr(), on: f.output == "table" && isTerminal(cmd.ErrOrStderr())}
	c, err := bench.Compare(ctx, targets, bench.CompareOptions{Rounds: f.rounds, Progress: line.compare})
	line.clear()
	switch {
	case c == nil:
		return unreachable(err)
	case len(c.Targets) == 0:
		return fmt.Errorf("ended before anything was measured: %w", err)
	}
	if printErr := printComparison(cmd.OutOrStdout(), c, f.output); printErr != nil {
		return printErr
	}
	if err != nil {
		return fmt.Errorf("ended early: %w; what was measured until then counts", err)
	}
	return succeeded(c)
}

func checkBenchOutput(output string) error {
	if output != "table" && output != "json" && output != "yaml" {
		return usagef("--output: %q is not a form; table, json or yaml", output)
	}
	return nil
}

// read returns the scenario of the file with the flags put over it, or the
// one that flags alone make.
func (f *benchFlags) read(cmd *cobra.Command) (*scenario.Scenario, error) {
	s := &scenario.Scenario{}
	if f.scenario != "" {
		if f.method != "" || f.data != "" || f.bodySize != "" {
			return nil, usagef("--method, --data and --body-size are for one kind of request; with --scenario they stand in its mix")
		}
		var err error
		if s, err = readScenario(f.scenario, cmd.InOrStdin()); err != nil {
			return nil, err
		}
	} else if err := f.kind(s); err != nil {
		return nil, err
	}
	flags := cmd.Flags()
	over(flags.Changed("rate"), &s.Rate, f.load.Rate)
	over(flags.Changed("duration"), &s.Duration, f.load.Duration)
	over(flags.Changed("warmup"), &s.Warmup, f.load.Warmup)
	over(flags.Changed("timeout"), &s.Timeout, f.load.Timeout)
	over(flags.Changed("connections"), &s.Connections, f.load.Connections)
	over(flags.Changed("requests"), &s.Requests, f.load.Requests)
	over(flags.Changed("requests-per-connection"), &s.PerConnection, f.load.PerConnection)
	for _, text := range f.headers {
		h, err := scenario.ParseHeader(text)
		if err != nil {
			return nil, usagef("--header: %w", err)
		}
		if strings.EqualFold(h.Name, "Host") {
			s.Host = h.Value
			continue
		}
		s.Headers = append(s.Headers, h)
	}
	return s, nil
}

// over replaces a value if a flag gives another one.
func over[T any](given bool, value *T, flag T) {
	if given {
		*value = flag
	}
}

// kind adds the kind of request that flags describe.
func (f *benchFlags) kind(s *scenario.Scenario) error {
	k := scenario.Kind{Method: f.method}
	switch {
	case f.data != "" && f.bodySize != "":
		return usagef("--data and --body-size both give the body; one of the two")
	case f.data != "":
		k.Body = []byte(f.data)
	case f.bodySize != "":
		n, err := scenario.ParseSize(f.bodySize)
		if err != nil {
			return usagef("--body-size: %w", err)
		}
		k.Body = scenario.MadeUp(n)
	}
	s.Mix = []scenario.Kind{k}
	return nil
}

// readScenario reads a scenario file. What is wrong in it is a matter of
// usage, as in gateway files.
func readScenario(path string, stdin io.Reader) (*scenario.Scenario, error) {
	name, r := "standard input", stdin
	if path != "-" {
		text, err := os.ReadFile(path) //nolint:gosec // the user names it
		if err != nil {
			return nil, fmt.Errorf("--scenario: %w", err)
		}
		name, r = path, bytes.NewReader(text)
	}
	s, err := scenario.Parse(name, r)
	if _, wrong := errors.AsType[*scenario.Fault](err); wrong {
		return nil, usage(err)
	}
	return s, err
}

// targets returns what is offered to each URL.
func (f *benchFlags) targets(s *scenario.Scenario, first string) ([]bench.Target, error) {
	var targets []bench.Target
	var base *url.URL
	for _, text := range append([]string{first}, f.compare...) {
		u, err := parseURL(text)
		if err != nil {
			return nil, err
		}
		if base == nil {
			base = u
		}
		if u.Path == "" && u.RawQuery == "" {
			u.Path, u.RawPath, u.RawQuery = base.Path, base.RawPath, base.RawQuery
		}
		t, err := f.target(s, u)
		if err != nil {
			return nil, err
		}
		targets = append(targets, t)
	}
	distinguish(targets)
	return targets, nil
}

// parseURL reads a URL whose scheme may be missing.
func parseURL(text string) (*url.URL, error) {
	whole := text
	if !strings.Contains(text, "://") {
		whole = "http://" + text
	}
	u, err := url.Parse(whole)
	switch {
	case err != nil || u.Hostname() == "":
		return nil, usagef("%q is not a URL; http://HOST:PORT/PATH", text)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, usagef("%q: %s is not spoken; http or https", text, u.Scheme)
	case u.User != nil:
		return nil, usagef("%q: a name and a password are sent as --header 'Authorization: Basic ...'", text)
	}
	return u, nil
}

// target returns what is offered to one URL.
func (f *benchFlags) target(s *scenario.Scenario, u *url.URL) (bench.Target, error) {
	own := *s
	own.Host = cmp.Or(s.Host, u.Host)
	if f.scenario == "" {
		own.Mix = slices.Clone(s.Mix)
		own.Mix[0].Path = u.RequestURI()
	} else if u.Path != "" && u.Path != "/" || u.RawQuery != "" {
		return bench.Target{}, usagef("%s: the paths stand in the scenario; the URL has none then", u)
	}
	port := "80"
	if u.Scheme == "https" {
		port = "443"
	}
	p, err := own.Plan(net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port)))
	if err != nil {
		return bench.Target{}, toldByFlag(err)
	}
	if u.Scheme == "https" {
		p.TLS = &tls.Config{ServerName: u.Hostname(), InsecureSkipVerify: f.insecure} //nolint:gosec // the user asks for it
	}
	return bench.Target{Name: u.Host, Plan: p}, nil
}

// toldByFlag names the flag that a fault of a plan came from. The keys of
// scenarios are the names of flags.
func toldByFlag(err error) error {
	fault, ok := errors.AsType[*scenario.Fault](err)
	if !ok {
		return err
	}
	key := strings.TrimPrefix(fault.Path, "mix[0].")
	names := map[string]string{"headers": "header", "path": "", "host": "header Host", "body": "data"}
	name, special := names[key]
	if !special {
		name = strings.ReplaceAll(key, "_", "-")
	}
	if name == "" {
		return usagef("URL: %s", fault.Problem)
	}
	return usagef("--%s: %s", name, fault.Problem)
}

// distinguish has no two targets have the same name.
func distinguish(targets []bench.Target) {
	seen := make(map[string]int)
	for i := range targets {
		name := targets[i].Name
		if seen[name]++; seen[name] > 1 {
			targets[i].Name = fmt.Sprintf("%s (%d)", name, seen[name])
		}
	}
}

// unreachable says what to do where nothing could be measured.
func unreachable(err error) error {
	return fmt.Errorf("%w; is it running, and is the port right? try curl with the same URL", err)
}

// succeeded returns an error if no request to some target succeeded.
func succeeded(c *bench.Comparison) error {
	for _, t := range c.Targets {
		if t.Median.Succeeded() == 0 {
			return fmt.Errorf("%s: no request succeeded, so there is nothing to go by; look at one answer with curl -i", t.Name)
		}
	}
	return nil
}

func printComparison(w io.Writer, c *bench.Comparison, output string) error {
	if output == "table" {
		return report.Comparison(w, c)
	}
	return printResult(w, struct {
		*bench.Comparison
		Verdict []string `json:"verdict"`
	}{c, report.Verdict(c)}, output)
}

// printResult prints v for programs.
func printResult(w io.Writer, v any, output string) error {
	if output == "yaml" {
		return printYAML(w, v)
	}
	return printJSON(w, v)
}

// progressLine is a line of a terminal that is written over and over.
type progressLine struct {
	w     io.Writer
	on    bool // w is a terminal and people read it
	width int  // of what is written
}

func (l *progressLine) write(text string) {
	if !l.on {
		return
	}
	fmt.Fprintf(l.w, "\r%-*s", l.width, text)
	l.width = len(text)
}

// clear leaves the line empty, for what comes after.
func (l *progressLine) clear() {
	l.write("")
	if l.on {
		fmt.Fprint(l.w, "\r")
	}
}

func (l *progressLine) compare(p bench.Progress) {
	doing := ""
	if p.Load.Warmup {
		doing = ", warming up"
	}
	l.write(fmt.Sprintf("%s round %d of %d, %v of %v%s: %d answered, %d failed, p50 %v, p99 %v",
		p.Target, p.Round, p.Rounds, p.Load.Elapsed.Round(time.Second), p.Load.Total.Round(time.Second), doing,
		p.Load.Requests, p.Load.Failed, p.Load.P50.Round(time.Microsecond), p.Load.P99.Round(time.Microsecond)))
}

// plotFolder returns the folder beside a document in which its plots are.
func plotFolder(document string) string {
	return strings.TrimSuffix(document, filepath.Ext(document))
}
