// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"
)

// Variable returns the name of the environment variable that sets a flag,
// such as SLUICE_LOG_LEVEL for log-level.
func Variable(flag string) string {
	return "SLUICE_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// ReadEnviron sets each flag that was not given on the command line from its
// environment variable, so that flags win over the environment and the
// environment over defaults. A variable that is set but empty counts as not
// set. Flags that take lists read several values as PATH does. lookup is
// os.LookupEnv, or what stands for it.
func ReadEnviron(flags *pflag.FlagSet, lookup func(string) (string, bool)) error {
	var first error
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "help" || first != nil {
			return
		}
		name := Variable(f.Name)
		value, ok := lookup(name)
		if !ok || value == "" {
			return
		}
		if err := set(flags, f, value); err != nil {
			first = fmt.Errorf("%s=%q: %w", name, value, err)
		}
	})
	return first
}

func set(flags *pflag.FlagSet, f *pflag.Flag, value string) error {
	if list, ok := f.Value.(pflag.SliceValue); ok {
		f.Changed = true
		return list.Replace(filepath.SplitList(value))
	}
	return flags.Set(f.Name, value)
}
