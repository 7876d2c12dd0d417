// SPDX-License-Identifier: Apache-2.0

package node

import (
	"crypto/rand"
	"os"
	"path/filepath"

	"github.com/sluice-mesh/sluice/routing"
)

// openSecrets says where Secrets are kept, if any may come: in a folder that
// goes with the process, unless the options name another. It is made with the
// first of them; nobody can guess its name and be there before.
func (n *Node) openSecrets() {
	if !n.o.Secrets {
		return
	}
	dir := n.o.SecretsDir
	if dir == "" {
		dir = filepath.Join(os.TempDir(), "sluice-secrets-"+rand.Text())
		n.passing = dir
	}
	n.secrets = newSecretFiles(dir, n.log)
}

// secretsDir returns the folder of Secrets; empty if none may come.
func (n *Node) secretsDir() string {
	if n.secrets == nil {
		return ""
	}
	return n.secrets.files.Dir()
}

// closeSecrets waits for what is being written, for a bounded time, and removes
// what goes with the process.
func (n *Node) closeSecrets() error {
	if n.secrets != nil && !n.secrets.rest() {
		n.log.Error("the disk does not take Secrets; what was there is left", "dir", n.secrets.files.Dir())
		return nil
	}
	if n.passing == "" {
		return nil
	}
	return os.RemoveAll(n.passing)
}

// PutSecrets has files made of all Secrets that gateways name, for tables that
// are published from then on, and does not wait for it: a table that names one
// does, for 5 s at most. Files of others stay until no gateway that serves names
// them. What cannot be written is logged; what was there serves on.
func (n *Node) PutSecrets(all []*routing.Secret) {
	switch {
	case n.secrets != nil:
		n.secrets.take(all)
	case len(all) > 0:
		n.log.Error("Secrets have come, and nothing was set up for them", "secrets", len(all))
	}
}

// awaitSecrets waits until the Secrets that gateways name are files, or are late.
func (n *Node) awaitSecrets(gateways func(yield func(*routing.Gateway) bool)) {
	if n.secrets != nil {
		n.secrets.await(secretsOf(gateways))
	}
}

// tidySecrets has the files of Secrets removed that nobody needs any more.
func (n *Node) tidySecrets(s *routing.Snapshot) {
	if n.secrets != nil {
		n.secrets.tidy(secretsOf(asked(s)))
	}
}

// asked returns the gateways of a snapshot as they were asked for.
func asked(s *routing.Snapshot) func(yield func(*routing.Gateway) bool) {
	return func(yield func(*routing.Gateway) bool) {
		for _, g := range s.Gateways() {
			if !yield(g.Asked) {
				return
			}
		}
	}
}

// secretsOf returns which Secrets gateways name.
func secretsOf(gateways func(yield func(*routing.Gateway) bool)) map[string]bool {
	named := make(map[string]bool)
	for g := range gateways {
		g.EachSecret(func(ref string) bool {
			named[ref] = true
			return true
		})
	}
	return named
}
