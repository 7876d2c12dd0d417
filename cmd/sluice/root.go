// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sluice-mesh/sluice/cmd/internal/boot"
)

// Exit codes, the same for every verb.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2 // wrong use, or files that were refused
)

// exit is an error that knows its exit code. A nil err was told already.
type exit struct {
	code int
	err  error
}

func (e *exit) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exit) Unwrap() error { return e.err }

// usage marks an error as one of how the command was called.
func usage(err error) error { return &exit{exitUsage, err} }

func usagef(format string, args ...any) error { return usage(fmt.Errorf(format, args...)) }

// execute runs the command line and returns the exit code.
func execute(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(context.Background())
	if err == nil {
		return exitOK
	}
	code := exitError
	if e, ok := errors.AsType[*exit](err); ok {
		code = e.code
	} else if !cmd.HasParent() {
		code = exitUsage // cobra found no such verb
	}
	if text := err.Error(); text != "" {
		fmt.Fprintf(stderr, "%s: %s\n", cmd.CommandPath(), text)
		if code == exitUsage {
			fmt.Fprintf(stderr, "Try '%s --help'.\n", cmd.CommandPath())
		}
	}
	return code
}

func newRoot() *cobra.Command {
	build := boot.ReadBuild()
	root := &cobra.Command{
		Use:   "sluice",
		Short: "A gateway mesh: weighted and conditional routes, without a proxy to configure",
		Long: `Sluice takes traffic on gateways and spreads it over versions of services, by
weight and by condition. Gateways are written in YAML; changes are live at
once and cut no request.

Every flag may also be given by an environment variable: --log-level by
SLUICE_LOG_LEVEL, and so on. Flags win.

Exit codes: 0 done, 1 failed, 2 wrong use or refused files.`,
		Example: `  sluice lab                     # see it work: a shop in two versions
  sluice run -f gateways/        # serve the gateways of a directory
  sluice validate gateways/      # check them without serving
  sluice explain GET http://shop.example/cart -f gateways/   # who takes this?`,
		SilenceErrors: true, // execute tells them, once
		SilenceUsage:  true,
		Version:       build.Version,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return usageOrNil(boot.ReadEnviron(cmd.Flags(), os.LookupEnv))
		},
	}
	root.SetVersionTemplate(build.String() + "\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usage(withFlagSuggestion(cmd, err))
	})
	root.AddCommand(newBench(), newExplain(), newLab(), newPKI(), newRun(), newValidate(), newVersion())
	return root
}

func usageOrNil(err error) error {
	if err == nil {
		return nil
	}
	return usage(err)
}

// arguments makes what check refuses a matter of usage.
func arguments(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error { return usageOrNil(check(cmd, args)) }
}

// withFlagSuggestion adds the flag that an unknown one was probably meant to
// be.
func withFlagSuggestion(cmd *cobra.Command, err error) error {
	unknown, ok := errors.AsType[*pflag.NotExistError](err)
	if !ok {
		return err
	}
	typed := unknown.GetSpecifiedName()
	best, least := "", 1+max(2, len(typed)/3)
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		d := distance(typed, f.Name)
		if strings.HasPrefix(f.Name, typed) && len(typed) > 1 {
			d = min(d, 1)
		}
		if d < least && !f.Hidden {
			best, least = f.Name, d
		}
	})
	if best == "" {
		return err
	}
	return fmt.Errorf("%w; did you mean --%s?", err, best)
}

// distance is how many characters have to be put in, taken out or changed to
// make b of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
