// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sluice-mesh/sluice/bench"
	"github.com/sluice-mesh/sluice/bench/report"
	"github.com/sluice-mesh/sluice/cmd/internal/boot"
)

// suiteFlags are the flags of sluice bench suite.
type suiteFlags struct {
	only     []string
	short    bool
	rounds   int
	duration time.Duration
	settle   time.Duration
	out      string
	output   string
}

// What --short sets, unless flags say otherwise: about eight minutes in all.
const (
	shortRounds = bench.Enough
	shortRound  = 1200 * time.Millisecond
)

func newBenchSuite() *cobra.Command {
	var f suiteFlags
	var keys []string
	for _, row := range bench.Rows() {
		keys = append(keys, fmt.Sprintf("  %-11s %s", row.Key, row.Title))
	}
	cmd := &cobra.Command{
		Use:   "suite",
		Short: "Measure Sluice beside HAProxy and nginx",
		Long: `Suite starts an origin and, of Sluice, HAProxy and nginx, what is installed,
all configured to do the same work, and measures them row by row in rounds that
take turns. It tells rates, latencies, memory and the CPU time of each proxy,
and holds the ratios against the goals of the project. Where there are two CPUs,
proxies are pinned to the first and the generator and the origin to the second.
Leave the machine alone meanwhile: in full it takes about 22 minutes, with
--short about eight.

The rows:
` + strings.Join(keys, "\n"),
		Example: `  sluice bench suite --short
  sluice bench suite --only small,half
  sluice bench suite --out docs/benchmarks.md   # a document, with plots in docs/benchmarks/
  sluice bench suite --short -o json | jq '.goals'`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&f.only, "only", nil, "rows to run, by key (default all)")
	flags.BoolVar(&f.short, "short", false, "fewer and shorter rounds")
	flags.IntVar(&f.rounds, "rounds", 11, "rounds of each proxy in each row")
	flags.DurationVar(&f.duration, "duration", 2*time.Second, "how long a round lasts")
	flags.DurationVar(&f.settle, "settle", 30*time.Second, "how long idle connections are left alone before memory is looked at")
	flags.StringVar(&f.out, "out", "", "Markdown file to write, with plots in a folder of its name")
	flags.StringVarP(&f.output, "output", "o", "table", "form of the result: table, json or yaml")
	return cmd
}

func (f *suiteFlags) run(cmd *cobra.Command) error {
	if err := f.check(cmd); err != nil {
		return err
	}
	program, err := os.Executable()
	if err != nil {
		return err
	}
	ctx, signals := boot.Notify(cmd.Context())
	defer signals.Release()
	build := boot.ReadBuild()
	progress := suiteProgress{line: progressLine{w: cmd.ErrOrStderr(), on: isTerminal(cmd.ErrOrStderr())}}
	r, err := bench.Run(ctx, bench.Options{
		Sluice: program, Version: build.Version,
		Rows: f.only, Rounds: f.rounds, Round: f.duration, Settle: f.settle,
		Commit: build.Revision, Command: commandLine(cmd),
		Progress: progress.tell,
	})
	progress.line.clear()
	if errors.Is(err, bench.ErrUnknownRow) {
		return usagef("--only: %w", err)
	}
	if r == nil || len(r.Rows) == 0 {
		return err
	}
	return errors.Join(f.print(cmd, r), f.write(r), err)
}

// check sets what --short says, and refuses what makes no run.
func (f *suiteFlags) check(cmd *cobra.Command) error {
	if f.short {
		over(!cmd.Flags().Changed("rounds"), &f.rounds, shortRounds)
		over(!cmd.Flags().Changed("duration"), &f.duration, shortRound)
	}
	switch {
	case f.rounds < 1 || f.rounds > mostRounds:
		return usagef("--rounds: %d is not a number of rounds; 1 to %d", f.rounds, mostRounds)
	case f.duration < 10*time.Millisecond || f.duration > time.Hour:
		return usagef("--duration: a round lasts between 10ms and 1h, not %v", f.duration)
	case f.settle <= 0 || f.settle > time.Hour:
		return usagef("--settle: %v is no time to wait; up to 1h", f.settle)
	case f.out != "" && filepath.Ext(f.out) != ".md":
		return usagef("--out: %q does not end in .md, which tells the document from the folder of its plots", f.out)
	}
	return checkBenchOutput(f.output)
}

func (f *suiteFlags) print(cmd *cobra.Command, r *bench.Results) error {
	if f.output == "table" {
		return report.Suite(cmd.OutOrStdout(), r)
	}
	return printResult(cmd.OutOrStdout(), r, f.output)
}

// write writes the document and its plots, if they are wanted.
func (f *suiteFlags) write(r *bench.Results) error {
	if f.out == "" {
		return nil
	}
	var b bytes.Buffer
	folder := plotFolder(f.out)
	if err := report.Markdown(&b, r, filepath.Base(folder)); err != nil {
		return err
	}
	if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // documents are for all to read
		return fmt.Errorf("--out: %w", err)
	}
	for _, p := range report.Plots(r) {
		if err := os.WriteFile(filepath.Join(folder, p.Name), p.SVG, 0o644); err != nil { //nolint:gosec // as above
			return fmt.Errorf("--out: %w", err)
		}
	}
	if err := os.WriteFile(f.out, b.Bytes(), 0o644); err != nil { //nolint:gosec // as above
		return fmt.Errorf("--out: %w", err)
	}
	return nil
}

// commandLine returns the command with the flags that were given, however
// that was.
func commandLine(cmd *cobra.Command) string {
	words := []string{cmd.CommandPath()}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		value := f.Value.String()
		switch {
		case f.Value.Type() == "bool" && value == "true":
			words = append(words, "--"+f.Name)
		case f.Value.Type() == "stringSlice":
			words = append(words, "--"+f.Name, strings.Trim(value, "[]"))
		default:
			words = append(words, "--"+f.Name, cmp.Or(value, `""`))
		}
	})
	return strings.Join(words, " ")
}

// suiteProgress tells on one line of a terminal what is done, and elsewhere
// on a line for each row.
type suiteProgress struct {
	line progressLine
	row  string
}

func (s *suiteProgress) tell(p bench.SuiteProgress) {
	if s.line.on {
		s.line.write(fmt.Sprintf("row %d of %d, %s: %s", p.Done+1, p.All, p.Row, p.Doing))
		return
	}
	if p.Row != s.row {
		s.row = p.Row
		fmt.Fprintf(s.line.w, "row %d of %d: %s\n", p.Done+1, p.All, p.Row)
	}
}
