// SPDX-License-Identifier: Apache-2.0

package node

import (
	"crypto/rand"
	"os"
	"path/filepath"

	"github.com/sluice-mesh/sluice/proxy/tlsconf"
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
	n.secrets = tlsconf.NewSecrets(dir)
}

// secretsDir returns the folder of Secrets; empty if none may come.
func (n *Node) secretsDir() string {
	if n.secrets == nil {
		return ""
	}
	return n.secrets.Dir()
}

// closeSecrets removes what goes with the process.
func (n *Node) closeSecrets() error {
	if n.passing == "" {
		return nil
	}
	return os.RemoveAll(n.passing)
}

// PutSecrets makes files of all Secrets that gateways name, for tables that
// are published from then on. Files of others stay until no gateway that
// serves names them. What cannot be written is logged; what was there serves on.
func (n *Node) PutSecrets(all []*routing.Secret) {
	if n.secrets == nil {
		if len(all) > 0 {
			n.log.Error("Secrets have come, and nothing was set up for them", "secrets", len(all))
		}
		return
	}
	if err := n.secrets.Put(all); err != nil {
		n.log.Error("Secrets cannot be kept as files; what was there serves on", "error", err)
	}
}

// tidySecrets removes the files of Secrets that nobody needs any more.
func (n *Node) tidySecrets(s *routing.Snapshot) {
	if n.secrets == nil {
		return
	}
	named := make(map[string]bool)
	for _, g := range s.Gateways() {
		g.Asked.EachSecret(func(ref string) bool {
			named[ref] = true
			return true
		})
	}
	if err := n.secrets.Tidy(func(ref string) bool { return named[ref] }); err != nil {
		n.log.Error("files of Secrets that nobody needs cannot be removed", "error", err)
	}
}
