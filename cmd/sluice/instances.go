// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/sluice-mesh/sluice/routing"
)

// instanceFlags say which instances there are, and how selectors find them.
type instanceFlags struct {
	paths     []string
	base      string
	namespace string
	keep      time.Duration
}

func (f *instanceFlags) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.paths, "instances", nil, "file or directory with the instances that selectors find; may be repeated")
	flags.StringVar(&f.base, "base-selector", "true", "selector that every other one is combined with by and")
	flags.StringVar(&f.namespace, "namespace", "default", "what $namespace stands for in selectors")
	flags.DurationVar(&f.keep, "keep-vanished", routing.KeepVanished, "how long a route that lost its instances has a claim to its weight; 0 for not at all")
}

// options returns what the flags say of selectors.
func (f *instanceFlags) options() (routing.SelectOptions, error) {
	base, err := routing.ParseBaseSelector(cmp.Or(f.base, "true"))
	if err != nil {
		return routing.SelectOptions{}, usagef("--base-selector: %w", err)
	}
	keep := f.keep
	if keep == 0 {
		keep = -1
	}
	return routing.SelectOptions{Base: base, Namespace: f.namespace, Keep: keep}, nil
}

// find has the selectors of a table find the instances that the flags name.
// Without any, the table stays as it is written.
func (v *validation) find(table *routing.Table, f instanceFlags, stdin io.Reader) (*routing.Table, error) {
	if len(f.paths) == 0 {
		return table, nil
	}
	options, err := f.options()
	if err != nil {
		return nil, err
	}
	var list []*routing.Instance
	for _, arg := range f.paths {
		paths, err := listFiles(arg)
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			source, data, err := readFile(path, stdin)
			if err != nil {
				return nil, err
			}
			more, faults := routing.ReadInstances(source, data)
			list = append(list, more...)
			v.sources = append(v.sources, source)
			v.faults = append(v.faults, faults...)
		}
	}
	table, _, faults := routing.Select(nil, table, routing.NewInstances(list), time.Time{}, options)
	v.faults = append(v.faults, faults...)
	return table, nil
}
