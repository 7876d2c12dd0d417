// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/sluice-mesh/sluice/cmd/internal/edge"
	"github.com/sluice-mesh/sluice/cmd/internal/verb"
)

// Exit codes, the same for every verb.
const (
	exitOK    = verb.OK
	exitError = verb.Failed
	exitUsage = verb.Wrong // wrong use, or files that were refused

	exitDiff    = 3 // something differs
	exitTimeout = 5 // what was waited for did not come in time
)

// exit is an error that knows its exit code. A nil Err was told already.
type exit = verb.Exit

// usage marks an error as one of how the command was called.
func usage(err error) error { return verb.Usage(err) }

func usagef(format string, args ...any) error { return verb.Usagef(format, args...) }

// arguments makes what check refuses a matter of usage.
func arguments(check cobra.PositionalArgs) cobra.PositionalArgs { return verb.Arguments(check) }

// execute runs the command line and returns the exit code.
func execute(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	return verb.Execute(newRoot(), args, stdin, stdout, stderr)
}

func newRoot() *cobra.Command {
	root := verb.Prepare(&cobra.Command{
		Use:   "sluice",
		Short: "A gateway mesh: weighted and conditional routes, without a proxy to configure",
		Long: `Sluice takes traffic on gateways and spreads it over versions of services, by
weight and by condition. Gateways are written in YAML; changes are live at
once and cut no request.

Every flag may also be given by an environment variable: --log-level by
SLUICE_LOG_LEVEL, and so on. Flags win.

Exit codes: 0 done, 1 failed, 2 wrong use or refused files, 3 something differs
(sluice diff), 5 what was waited for did not come in time (--wait).`,
		Example: `  sluice lab                     # see it work: a shop in two versions
  sluice run -f gateways/        # serve the gateways of a directory
  sluice validate gateways/      # check them without serving
  sluice explain GET http://shop.example/cart -f gateways/   # who takes this?`,
	})
	root.AddCommand(newBench(), newControl(), newExplain(), newLab(), newMigrate(), newPKI(), edge.Command("proxy", "sluice proxy"), newRun(), newValidate(), newVersion())
	addGroup(root, "Ask and change a control plane:", newApply(), newBackup(), newConfig(), newDelete(), newDiff(), newEvents(),
		newGet(), newHistory(), newRestore(), newRollback(), newWeight())
	addGroup(root, "As Vamp's client has them:", newDescribe(), newEmit(), newList(), newUpdateGateway())
	return root
}

// addGroup adds verbs that the help shows together.
func addGroup(root *cobra.Command, title string, verbs ...*cobra.Command) {
	root.AddGroup(&cobra.Group{ID: title, Title: title})
	for _, v := range verbs {
		v.GroupID = title
	}
	root.AddCommand(verbs...)
}
