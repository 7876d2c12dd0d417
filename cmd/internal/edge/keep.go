// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sluice-mesh/sluice/control/agent"
	"github.com/sluice-mesh/sluice/control/agent/lastgood"
)

// namespacesFile says whose tables a data directory keeps: versions of the same
// store do not compare between proxies of different namespaces.
const namespacesFile = "namespaces"

// secretsDir is the folder of Secrets in a data directory.
const secretsDir = "secrets"

// openKeeper opens a data directory, which is of the namespaces alone.
func openKeeper(dir string, namespaces []string, wrote func(lastgood.Write)) (*lastgood.Keeper, error) {
	k, err := lastgood.Open(dir, lastgood.Options{Schema: agent.Schema, OldestSchema: agent.Schema, Wrote: wrote})
	if err != nil {
		return nil, err
	}
	if err := claim(dir, namespaces); err != nil {
		return nil, errors.Join(err, k.Close())
	}
	return k, nil
}

// claim checks whose tables a directory keeps, and notes it in one that is new.
// A directory that cannot be written can still be read.
func claim(dir string, namespaces []string) error {
	want := strings.Join(slices.Sorted(slices.Values(namespaces)), "\n") + "\n"
	path := filepath.Join(dir, namespacesFile)
	have, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && len(have) == 0: // a full disk left it empty
		if os.WriteFile(path, []byte(want), 0o600) != nil {
			_ = os.Remove(path)
		}
		return nil
	case err != nil:
		return err
	case string(have) != want:
		return fmt.Errorf("it keeps tables of %s, not of %s; use another directory, or remove this one",
			strings.Join(strings.Fields(string(have)), ", "), strings.Join(strings.Fields(want), ", "))
	}
	return nil
}
