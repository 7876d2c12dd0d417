// SPDX-License-Identifier: Apache-2.0

package verb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/sluice-mesh/sluice/cmd/internal/boot"
)

// Exit codes, the same for every verb.
const (
	OK     = 0
	Failed = 1
	Wrong  = 2 // wrong use, or files that were refused
)

// Exit is an error that knows its exit code. A nil Err was told already.
type Exit struct { //nolint:errname // it is what becomes of the process
	Code int
	Err  error
}

// Error returns what is to be told, empty if nothing is.
func (e *Exit) Error() string {
	if e.Err == nil {
		return ""
	}
	return e.Err.Error()
}

// Unwrap returns what is to be told.
func (e *Exit) Unwrap() error { return e.Err }

// Usage marks an error as one of how the command was called; nil stays nil.
func Usage(err error) error {
	if err == nil {
		return nil
	}
	return &Exit{Wrong, err}
}

// Usagef is Usage of an error of fmt.Errorf.
func Usagef(format string, args ...any) error { return Usage(fmt.Errorf(format, args...)) }

// Arguments makes what check refuses a matter of usage.
func Arguments(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error { return Usage(check(cmd, args)) }
}

// Prepare makes a command the top of a command line: flags may come from the
// environment, unknown ones are told with what was probably meant, and errors
// are left to Execute.
func Prepare(root *cobra.Command) *cobra.Command {
	build := boot.ReadBuild()
	root.Version = build.Version
	root.SetVersionTemplate(build.String() + "\n")
	root.SilenceErrors, root.SilenceUsage = true, true
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error {
		return Usage(boot.ReadEnviron(cmd.Flags(), os.LookupEnv))
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return Usage(withFlagSuggestion(cmd, err))
	})
	return root
}

// Execute runs the command line of a command that was prepared, tells its
// error, and returns the exit code.
func Execute(root *cobra.Command, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(context.Background())
	if err == nil {
		return OK
	}
	code := Failed
	if e, ok := errors.AsType[*Exit](err); ok {
		code = e.Code
	} else if !cmd.HasParent() && cmd.HasSubCommands() {
		code = Wrong // cobra found no such verb
	}
	if text := err.Error(); text != "" {
		fmt.Fprintf(stderr, "%s: %s\n", cmd.CommandPath(), text)
		if code == Wrong {
			fmt.Fprintf(stderr, "Try '%s --help'.\n", cmd.CommandPath())
		}
	}
	return code
}
