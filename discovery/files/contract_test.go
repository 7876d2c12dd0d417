// SPDX-License-Identifier: Apache-2.0

package files_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sluice-mesh/sluice/discovery/discoverytest"
	"github.com/sluice-mesh/sluice/discovery/files"
)

func TestSourceKeepsTheContract(t *testing.T) {
	discoverytest.Test(t, func(t *testing.T) discoverytest.Bed {
		t.Helper()
		dir := t.TempDir()
		key := func(object string) string { return filepath.Join(dir, object+".yaml") }
		put := func(object, name string) { write(t, key(object), gateway(name)) }
		put("a", "a1")
		put("b", "b1")
		return discoverytest.Bed{
			Source: files.New([]string{dir}, files.Options{Poll: never}),
			Put:    put,
			Remove: func(object string) {
				if err := os.Remove(key(object)); err != nil {
					t.Error(err)
				}
			},
			Key: key,
		}
	})
}
