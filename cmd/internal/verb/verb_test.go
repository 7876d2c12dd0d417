// SPDX-License-Identifier: Apache-2.0

package verb_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/sluice-mesh/sluice/cmd/internal/verb"
)

// tree returns a command with one verb below it, both of which end with err.
func tree(err error) *cobra.Command {
	run := func(*cobra.Command, []string) error { return err }
	root := verb.Prepare(&cobra.Command{Use: "top"})
	below := &cobra.Command{Use: "below", Args: verb.Arguments(cobra.NoArgs), RunE: run}
	below.Flags().Int("number", 0, "")
	root.AddCommand(below)
	return root
}

func TestExecute(t *testing.T) {
	failed := errors.New("it failed")
	for _, tt := range []struct {
		name string
		root *cobra.Command
		args []string
		code int
		want string // on standard error, exactly
	}{
		{"what goes well says nothing", tree(nil), []string{"below"}, verb.OK, ""},
		{"a failure is told once", tree(failed), []string{"below"}, verb.Failed, "top below: it failed\n"},
		{"wrong use says where to look", tree(verb.Usage(failed)), []string{"below"}, verb.Wrong, "top below: it failed\nTry 'top below --help'.\n"},
		{"what was told already is not told again", tree(&verb.Exit{Code: verb.Wrong}), []string{"below"}, verb.Wrong, ""},
		{"an argument too many is wrong use", tree(nil), []string{"below", "x"}, verb.Wrong, "top below: unknown command \"x\" for \"top below\"\nTry 'top below --help'.\n"},
		{"a verb that is not there is wrong use", tree(nil), []string{"above"}, verb.Wrong, "top: unknown command \"above\" for \"top\"\nTry 'top --help'.\n"},
		{"a flag that is not there is told with the one that was meant", tree(nil), []string{"below", "--numbre", "1"}, verb.Wrong, "top below: unknown flag: --numbre; did you mean --number?\nTry 'top below --help'.\n"},
		{"a failure of a binary that is one verb is no wrong use", verb.Prepare(&cobra.Command{Use: "one", RunE: func(*cobra.Command, []string) error { return failed }}), nil, verb.Failed, "one: it failed\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := verb.Execute(tt.root, tt.args, strings.NewReader(""), &stdout, &stderr)
			if code != tt.code || stderr.String() != tt.want || stdout.Len() > 0 {
				t.Errorf("Execute(%q) = %d, prints %q and tells %q; want %d and %q", tt.args, code, &stdout, &stderr, tt.code, tt.want)
			}
		})
	}
}

func TestUsageOfNothingIsNothing(t *testing.T) {
	if err := verb.Usage(nil); err != nil {
		t.Errorf("Usage(nil) = %v, want nil", err)
	}
	if err := verb.Usagef("a %w", errors.ErrUnsupported); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("Usagef() = %v, which does not wrap", err)
	}
}
