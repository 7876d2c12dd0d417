// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-mesh/sluice/routing"
)

// maxFileBytes is how much of a file is read: one byte more than may be
// accepted is enough to have it refused.
const maxFileBytes = 8<<20 + 1

func newValidate() *cobra.Command {
	var output string
	var instances instanceFlags
	cmd := &cobra.Command{
		Use:   "validate FILE|DIR...",
		Short: "Check gateway files without serving them",
		Long: `Validate reads all files together, as sluice run would, and prints every fault
as file:line:col: path: what is wrong; what is allowed. What is served but can
have no effect, such as a route that no request reaches, is a warning; each
has a code, which -o json shows and docs/findings.md explains. Of a directory
it reads *.yaml, *.yml and *.json directly inside; "-" is standard input.

It exits with 0 if everything would be served (warnings may be printed), with
2 if anything would be refused, and with 1 if a file cannot be read.`,
		Example: `  sluice validate gateways/
  sluice validate shop.yaml conditions.yaml
  sluice lab --print | sluice validate -
  sluice validate -o json gateways/ | jq '.faults[].problem'`,
		Args: arguments(func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("which files? name at least one FILE or DIR, or - for standard input")
			}
			return nil
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "text" && output != "json" {
				return unknownOutput(output)
			}
			v, err := validate(args, cmd.InOrStdin(), "", instances)
			if err != nil {
				return err
			}
			if output == "json" {
				err = printJSON(cmd.OutOrStdout(), v.report())
			} else {
				err = v.print(cmd.OutOrStdout())
			}
			if err == nil && v.refused > 0 {
				err = &exit{Code: exitUsage}
			}
			return err
		},
	}
	outputFlag(cmd, &output)
	instances.flags(cmd)
	return cmd
}

// validation is what validate found.
type validation struct {
	sources  []string // in the order read
	gateways int      // that would be served
	refused  int      // faults that refuse something
	faults   []*routing.Fault
	snapshot *routing.Snapshot
}

// validate reads, resolves and compiles everything that args name, and looks
// for what is without effect in it. The domain is that of automatic virtual
// hosts; empty for none. instances say what selectors find.
func validate(args []string, stdin io.Reader, domain string, instances instanceFlags) (*validation, error) {
	v := &validation{}
	var docs []*routing.Document
	for _, arg := range args {
		paths, err := listFiles(arg)
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			source, data, err := readFile(path, stdin)
			if err != nil {
				return nil, err
			}
			d, faults := routing.Read(source, data)
			docs = append(docs, d...)
			v.sources = append(v.sources, source)
			v.faults = append(v.faults, faults...)
		}
	}
	table, faults := routing.Resolve(docs)
	v.faults = append(v.faults, faults...)
	table, err := v.find(table, instances, stdin)
	if err != nil {
		return nil, err
	}
	table.Version = routing.Version{Epoch: 1, Revision: 1}
	v.snapshot, faults = routing.Compile(nil, table, routing.CompileOptions{VirtualHostsDomain: domain})
	v.faults = append(v.faults, faults...)
	v.faults = append(v.faults, routing.Findings(v.snapshot)...)
	v.gateways = len(v.snapshot.Gateways())
	v.order()
	return v, nil
}

// order sorts the faults by place, each told once.
func (v *validation) order() {
	rank := make(map[string]int, len(v.sources))
	for i, source := range v.sources {
		rank[source] = i
	}
	slices.SortStableFunc(v.faults, func(a, b *routing.Fault) int {
		return cmp.Or(
			cmp.Compare(rank[a.At.Source], rank[b.At.Source]),
			cmp.Compare(a.At.Line, b.At.Line),
			cmp.Compare(a.At.Column, b.At.Column),
		)
	})
	v.faults = slices.CompactFunc(v.faults, func(a, b *routing.Fault) bool { return *a == *b })
	for _, f := range v.faults {
		if f.Severity == routing.Refused {
			v.refused++
		}
	}
}

func (v *validation) print(w io.Writer) error {
	var b strings.Builder
	for _, f := range v.faults {
		b.WriteString(f.Error())
		b.WriteByte('\n')
	}
	warnings := len(v.faults) - v.refused
	switch {
	case v.refused > 0:
		fmt.Fprintf(&b, "%s", count(v.refused, "fault"))
		if warnings > 0 {
			fmt.Fprintf(&b, " and %s", count(warnings, "warning"))
		}
		fmt.Fprintf(&b, " in %s: refused\n", count(len(v.sources), "file"))
	case warnings > 0:
		fmt.Fprintf(&b, "%s in %s: good, with %s\n", count(v.gateways, "gateway"), count(len(v.sources), "file"), count(warnings, "warning"))
	default:
		fmt.Fprintf(&b, "%s in %s: good\n", count(v.gateways, "gateway"), count(len(v.sources), "file"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// count returns n and the noun, in the plural where it needs one.
func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// faultReport is a fault for programs.
type faultReport struct {
	Source   string `json:"source,omitempty"`
	Line     int    `json:"line,omitempty"`
	Column   int    `json:"column,omitempty"`
	Severity string `json:"severity"` // refused or warning
	Code     string `json:"code"`
	Path     string `json:"path,omitempty"`
	Problem  string `json:"problem"`
	Allowed  string `json:"allowed,omitempty"`
}

// validationReport is a validation for programs.
type validationReport struct {
	Good     bool          `json:"good"`
	Files    []string      `json:"files"`
	Gateways int           `json:"gateways"`
	Faults   []faultReport `json:"faults"`
}

func (v *validation) report() validationReport {
	r := validationReport{Good: v.refused == 0, Files: v.sources, Gateways: v.gateways, Faults: []faultReport{}}
	for _, f := range v.faults {
		severity := "refused"
		if f.Severity == routing.Warning {
			severity = "warning"
		}
		r.Faults = append(r.Faults, faultReport{
			Source: f.At.Source, Line: f.At.Line, Column: f.At.Column, Severity: severity,
			Code: f.Code, Path: f.FullPath(), Problem: f.Problem, Allowed: f.Allowed,
		})
	}
	return r
}

// listFiles returns the files that an argument names, sorted by name.
func listFiles(arg string) ([]string, error) {
	if arg == "-" {
		return []string{arg}, nil
	}
	info, err := os.Stat(arg)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{arg}, nil
	}
	entries, err := os.ReadDir(arg)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, entry := range entries {
		path := filepath.Join(arg, entry.Name())
		if !isGatewayFile(entry.Name()) {
			continue
		}
		// Follow symbolic links, of which Kubernetes makes such directories.
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			continue
		}
		paths = append(paths, path)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("%s: nothing to read; it holds no *.yaml, *.yml or *.json", arg)
	}
	return paths, nil
}

func isGatewayFile(name string) bool {
	if strings.HasPrefix(name, ".") {
		return false
	}
	switch filepath.Ext(name) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

// readFile returns the name to show and the content.
func readFile(path string, stdin io.Reader) (source string, data []byte, err error) {
	if path == "-" {
		data, err = io.ReadAll(io.LimitReader(stdin, maxFileBytes))
		return "stdin", data, err
	}
	f, err := os.Open(path)
	if err != nil {
		return path, nil, err
	}
	defer func() { _ = f.Close() }()
	data, err = io.ReadAll(io.LimitReader(f, maxFileBytes))
	return path, data, err
}
