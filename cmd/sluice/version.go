// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/sluice-mesh/sluice/cmd/internal/boot"
)

func newVersion() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Say which version this is",
		Example: `  sluice version
  sluice version -o json`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			build := boot.ReadBuild()
			switch output {
			case "text":
				fmt.Fprintln(cmd.OutOrStdout(), build)
				return nil
			case "json":
				return printJSON(cmd.OutOrStdout(), build)
			default:
				return unknownOutput(output)
			}
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

// outputFlag adds -o to a verb whose result is for people or for programs.
func outputFlag(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVarP(output, "output", "o", "text", "form of the result: text or json")
}

func unknownOutput(output string) error {
	return usagef("--output: %q is not a form; text or json", output)
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
