// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	marathonflags "github.com/sluice-mesh/sluice/cmd/internal/marathon"
	"github.com/sluice-mesh/sluice/discovery/marathon"
)

// maxMarathonFile bounds the apps of a Marathon that are read from a file.
const maxMarathonFile = 256 << 20

// migrateFlags are the flags of sluice migrate marathon.
type migrateFlags struct {
	access       marathonflags.Access
	groups       []string
	certificates []string
	output       string
	gateways     bool
}

func newMigrate() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Tell what becomes of what another load balancer was told",
		Args:  arguments(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			return usagef("from what? 'sluice migrate marathon' reads the labels of apps")
		},
	}
	cmd.AddCommand(newMigrateMarathon())
	return cmd
}

func newMigrateMarathon() *cobra.Command {
	var f migrateFlags
	cmd := &cobra.Command{
		Use:   "marathon URL|FILE|-",
		Short: "Tell what becomes of the labels of apps that marathon-lb reads",
		Long: `Migrate marathon reads the apps of a Marathon and tells of each of their labels
for marathon-lb what becomes of it here: it is translated, approximated (and how),
or not supported (why, and what to write instead); wrong ones are wrong for
marathon-lb, too. Labels of Traefik are not read; what to write instead is told.

The apps come from a Marathon, from a file with what GET /v2/apps answers, or from
standard input. Nothing is written to Marathon.

With --gateways it prints the gateways that the labels ask for, for those who
rather keep them in files. 'sluice run --marathon URL --marathon-lb-groups GROUPS'
makes the same ones, and keeps up with changes of the labels.`,
		Example: `  sluice migrate marathon http://marathon.mesos:8080
  curl -s http://marathon.mesos:8080/v2/apps | sluice migrate marathon -
  sluice migrate marathon apps.json --marathon-lb-groups external -o json | jq '.labels[] | select(.result != "translated")'
  sluice migrate marathon apps.json --gateways > gateways.yaml`,
		Args: arguments(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.output != "text" && f.output != "json" && f.output != "yaml" {
				return usagef("--output: %q is not a form; text, json or yaml", f.output)
			}
			report, err := f.report(cmd.Context(), args[0], cmd.InOrStdin())
			if err != nil {
				return err
			}
			if f.gateways {
				return f.printGateways(cmd.OutOrStdout(), report)
			}
			return f.print(cmd.OutOrStdout(), report)
		},
	}
	f.flags(cmd)
	return cmd
}

func (f *migrateFlags) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	f.access.Flags(flags)
	flags.StringSliceVar(&f.groups, "marathon-lb-groups", nil, "groups of marathon-lb whose apps are offered, separated by commas; * for all (default all that labels name)")
	flags.StringSliceVar(&f.certificates, "marathon-lb-certificates", nil, "PEM files with certificate and key, as the proxies have them, that hosts show; separated by commas")
	flags.StringVarP(&f.output, "output", "o", "text", "form of the result: text, json or yaml")
	flags.BoolVar(&f.gateways, "gateways", false, "print the gateways that labels ask for, instead of what becomes of each label")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
}

// report reads the apps of a URL or a file.
func (f *migrateFlags) report(ctx context.Context, from string, stdin io.Reader) (*marathon.Report, error) {
	o := marathon.MigrateOptions{Groups: f.groups, Certificates: f.certificates, MaxAnswer: maxMarathonFile}
	if strings.HasPrefix(from, "http://") || strings.HasPrefix(from, "https://") {
		at := f.access.Options([]string{from})
		at.MaxAnswer = maxMarathonFile
		if err := at.Check(); err != nil {
			return nil, usage(err)
		}
		return marathon.MigrateFrom(ctx, at, o)
	}
	if from == "-" {
		return readReport("standard input", stdin, o)
	}
	file, err := os.Open(from)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	return readReport(from, file, o)
}

func readReport(called string, r io.Reader, o marathon.MigrateOptions) (*marathon.Report, error) {
	report, err := marathon.Migrate(r, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; what GET /v2/apps answers is expected", called, err)
	}
	return report, nil
}

// print prints what becomes of each label.
func (f *migrateFlags) print(w io.Writer, report *marathon.Report) error {
	switch f.output {
	case "json":
		return printJSON(w, report)
	case "yaml":
		return printYAML(w, report)
	}
	t := newTable(w, false, "APP", "PORT", "LABEL", "RESULT", "NOTE")
	counts := make(map[marathon.Result]int)
	for _, l := range report.Labels {
		port := ""
		if l.Port != nil {
			port = strconv.Itoa(*l.Port)
		}
		counts[l.Result]++
		t.row(l.App, port, l.Label, l.Result.String(), l.Note)
	}
	if len(report.Labels) > 0 {
		if err := t.flush(); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s of %s: %d translated, %d approximated, %d not supported, %d wrong; %s\n",
		count(len(report.Labels), "label"), count(report.Apps, "app"), counts[marathon.Translated], counts[marathon.Approximated],
		counts[marathon.NotSupported], counts[marathon.Wrong], count(len(report.Gateways), "gateway"))
	for _, note := range report.Notes {
		fmt.Fprintf(&b, "- %s\n", note)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// printGateways prints the gateways that labels ask for.
func (f *migrateFlags) printGateways(w io.Writer, report *marathon.Report) error {
	if f.output == "json" {
		return printJSON(w, report.Gateways)
	}
	for i, g := range report.Gateways {
		if i > 0 {
			if _, err := io.WriteString(w, "---\n"); err != nil {
				return err
			}
		}
		if err := printYAML(w, g); err != nil {
			return err
		}
	}
	return nil
}
