// SPDX-License-Identifier: Apache-2.0

package keys

import (
	"context"
	"io/fs"
	"strings"

	"github.com/sluice-mesh/sluice/control/auth"
)

// vault is what is known of tokens, as a Secret has it: a key ID.json for each,
// which is a file of an auth.DirVault once it is mounted. Nobody else has it
// meanwhile.
type vault map[string][]byte

var _ auth.Vault = vault(nil)

// Load implements auth.Vault.
func (v vault) Load(_ context.Context, id string) ([]byte, error) {
	text, ok := v[id+recordSuffix]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return text, nil
}

// Add implements auth.Vault.
func (v vault) Add(_ context.Context, id string, text []byte) error {
	v[id+recordSuffix] = text
	return nil
}

// Replace implements auth.Vault.
func (v vault) Replace(ctx context.Context, id string, text []byte) error {
	return v.Add(ctx, id, text)
}

// IDs implements auth.Vault.
func (v vault) IDs(context.Context) (all []string, err error) {
	for key := range v {
		if id, ok := strings.CutSuffix(key, recordSuffix); ok {
			all = append(all, id)
		}
	}
	return all, nil
}
