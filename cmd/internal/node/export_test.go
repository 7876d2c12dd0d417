// SPDX-License-Identifier: Apache-2.0

package node

import (
	"log/slog"
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

// SecretFiles lets tests keep Secrets.
type SecretFiles struct{ s *secretFiles }

// NewSecretFiles returns what waits for no longer than a time.
func NewSecretFiles(dir string, patience time.Duration, log *slog.Logger) *SecretFiles {
	s := newSecretFiles(dir, log)
	s.patience = patience
	return &SecretFiles{s}
}

func (f *SecretFiles) Take(all ...*routing.Secret) { f.s.take(all) }
func (f *SecretFiles) Tidy(named ...string)        { f.s.tidy(set(named)) }
func (f *SecretFiles) Await(named ...string)       { f.s.await(set(named)) }
func (f *SecretFiles) Rest() bool                  { return f.s.rest() }

func set(all []string) map[string]bool {
	is := make(map[string]bool)
	for _, one := range all {
		is[one] = true
	}
	return is
}
