// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"

	"github.com/spf13/cobra"
)

func newConfig() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Say which control plane is asked, and why that one",
		Long: `Verbs that ask a control plane take its URL, the namespace and a token from
flags, from the environment (SLUICE_HOST, SLUICE_NAMESPACE, SLUICE_TOKEN and so
on), or from a context, in this order. Contexts stand in a file of YAML,
` + configDefault + ` unless --config or SLUICE_CONFIG names another:

  context: prod            # the one that counts without --context
  contexts:
    prod:
      host: https://control.example:8090
      namespace: acme/prod
      token_file: prod.token   # beside this file, unless it begins with / or ~/
      ca: prod-ca.crt
    local:
      host: http://127.0.0.1:8090

The token file of a context is shown to the host of that context alone.`,
		Example: `  sluice config view
  sluice config view --context prod -o json`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newConfigView())
	return cmd
}

// settingReport is a setting for people and programs.
type settingReport struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	From  string `json:"from"`
}

func newConfigView() *cobra.Command {
	var c connection
	var output string
	cmd := &cobra.Command{
		Use:   "view",
		Short: "Show what verbs would ask, and where it was said",
		Long: `View shows which control plane the other verbs would ask, in which namespace and
with which token, each with where it was said. Tokens are not shown.`,
		Example: `  sluice config view
  SLUICE_NAMESPACE=acme/dev sluice config view -o json`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "text" && output != "json" {
				return unknownOutput(output)
			}
			s, err := c.settle(os.LookupEnv)
			if err != nil {
				return err
			}
			if output == "json" {
				return printJSON(cmd.OutOrStdout(), s.report())
			}
			t := newTable(cmd.OutOrStdout(), false, "SETTING", "VALUE", "FROM")
			for _, r := range s.report() {
				t.row(r.Name, r.Value, r.From)
			}
			return t.flush()
		},
	}
	c.flags(cmd)
	outputFlag(cmd, &output)
	return cmd
}

func (s settings) report() []settingReport {
	if s.token.value != "" {
		s.token.value = "(not shown)"
	}
	var all []settingReport
	for _, named := range [...]struct {
		name string
		setting
	}{
		{"context", s.context},
		{"host", s.host},
		{"namespace", s.namespace},
		{"token", s.token},
		{"token-file", s.tokenFile},
		{"ca", s.ca},
	} {
		if named.value != "" {
			all = append(all, settingReport{named.name, named.value, named.from})
		}
	}
	return all
}
