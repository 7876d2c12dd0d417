// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/sluice-mesh/sluice/control/client"
)

func newDiff() *cobra.Command {
	var f applyFlags
	cmd := &cobra.Command{
		Use:   "diff -f FILE|DIR",
		Short: "Show what sluice apply would change",
		Long: `Diff shows how what the control plane has differs from what files ask for, with
all defaults, as 'sluice get -o yaml' shows it. Nothing is written.

It exits with 0 if nothing differs, with 3 if something does, and with 2 if the
files would be refused.`,
		Example: `  sluice diff -f gateways/
  sluice diff -f shop.yaml && echo nothing to do`,
		Args: arguments(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := f.bundle(cmd.InOrStdin(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			c, err := f.open()
			if err != nil {
				return err
			}
			defer c.Close()
			written, err := c.Apply(cmd.Context(), b.text, client.Write{DryRun: true})
			if err != nil {
				return b.told(err, cmd.ErrOrStderr())
			}
			differs := false
			for _, i := range written.Items {
				text, err := difference(cmd.Context(), c, i)
				if err != nil {
					return advised(err)
				}
				if differs = differs || len(text) > 0; len(text) > 0 {
					fmt.Fprintf(cmd.OutOrStdout(), "%s", text)
				}
			}
			if differs {
				return &exit{Code: exitDiff}
			}
			return nil
		},
	}
	f.flags(cmd)
	fileFlag(cmd, &f.files)
	return cmd
}

// difference shows how an artifact differs from what is there; nothing if it
// does not.
func difference(ctx context.Context, c *client.Client, i client.Item) ([]byte, error) {
	present, err := c.Get(ctx, i.Kind, i.Name)
	if err != nil && !isNotFound(err) {
		return nil, err
	}
	before, err := wanted(present.Body)
	if err != nil {
		return nil, err
	}
	after, err := wanted(i.Body)
	if err != nil {
		return nil, err
	}
	name := i.Kind + "/" + i.Name
	return diff.Diff(name+" (control plane)", before, name+" (files)", after), nil
}

// reported are the keys of gateways and their routes that the control plane
// tells, and nobody asks for.
var reported = []string{"lookup_name", "internal", "deployed", "service", "targets"}

// wanted returns what an artifact asks for, as YAML; nothing if there is none.
func wanted(body json.RawMessage) ([]byte, error) {
	if len(body) == 0 {
		return nil, nil
	}
	doc, err := parseJSON(body)
	if err != nil {
		return nil, err
	}
	doc.remove(reported...)
	if routes := doc.at("routes"); routes != nil {
		for _, route := range routes.values() {
			route.remove(reported...)
		}
	}
	var b bytes.Buffer
	err = doc.write(&b)
	return b.Bytes(), err
}
