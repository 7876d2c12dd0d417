// SPDX-License-Identifier: Apache-2.0

package tlsconf

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/sluice-mesh/sluice/routing"
)

// The files of a Secret, in a folder NAMESPACE/NAME. A certificate and its key
// share one, so that they change together.
const (
	secretPair      = "pair.pem"
	secretAuthority = "ca.pem"
)

// draftPrefix begins the names of files that are being written.
const draftPrefix = ".draft-"

// errNoSecret takes the place of what the file system says, which nobody wrote.
var errNoSecret = errors.New("has not come: there is no such Secret of type kubernetes.io/tls, or no control plane that reads it")

// Secrets keeps Secrets as files that nobody else may read, where a Store with
// their folder as its SecretsDir finds them. Its methods may be called from any
// goroutine.
type Secrets struct {
	dir string

	mu      sync.Mutex                 // guards the fields below, and the files
	swept   bool                       // nothing is left of an end in the middle of writing
	present map[string]*routing.Secret // those of the last Put that are files, by Ref; nil before it
}

// NewSecrets returns what keeps Secrets in a folder, which is made with the
// first of them. Those that are there already stay.
func NewSecrets(dir string) *Secrets { return &Secrets{dir: dir} }

// Dir returns the folder.
func (s *Secrets) Dir() string { return s.dir }

// Put has files for all Secrets of a list. Those that hold what they should
// are not touched. An error names the Secrets that have none, or an old one,
// and is tried again by the next Put. The first removes what an end in the middle
// of writing left.
func (s *Secrets) Put(all []*routing.Secret) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	present := make(map[string]*routing.Secret, len(all))
	errs := []error{s.sweep()}
	for _, one := range all {
		ref := one.Ref()
		if !routing.SameSecret(s.present[ref], one) {
			if err := s.write(one); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", ref, err))
				continue
			}
		}
		present[ref] = one
	}
	s.present = present
	return errors.Join(errs...)
}

// sweep removes drafts that nobody writes any more: they may hold keys.
func (s *Secrets) sweep() error {
	if s.swept {
		return nil
	}
	drafts, err := filepath.Glob(filepath.Join(globbed(s.dir), "*", "*", draftPrefix+"*"))
	errs := []error{err}
	for _, draft := range drafts {
		if err := os.Remove(draft); err != nil {
			errs = append(errs, bare(err))
		}
	}
	err = errors.Join(errs...)
	s.swept = err == nil
	return err
}

// Tidy removes the files of Secrets that were not in the last Put, unless they
// are named. It removes nothing before the first Put.
func (s *Secrets) Tidy(named func(ref string) bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.present == nil {
		return nil
	}
	folders, err := filepath.Glob(filepath.Join(globbed(s.dir), "*", "*"))
	errs := []error{err}
	for _, folder := range folders {
		one := routing.Secret{Namespace: filepath.Base(filepath.Dir(folder)), Name: filepath.Base(folder)}
		if ref := one.Ref(); s.present[ref] == nil && !named(ref) {
			errs = append(errs, os.RemoveAll(folder))
			_ = os.Remove(filepath.Dir(folder)) // others may be in it
		}
	}
	return errors.Join(errs...)
}

// globbed writes a path so that it means itself in a pattern.
func globbed(path string) string {
	var b bytes.Buffer
	for _, c := range []byte(path) {
		if bytes.IndexByte([]byte(`*?[\`), c) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	return b.String()
}

// write writes the files of a Secret. One that has become empty goes.
func (s *Secrets) write(one *routing.Secret) error {
	if !routing.IsSecretName(one.Namespace, one.Name) {
		return errors.New("is no name of a Secret")
	}
	folder := filepath.Join(s.dir, one.Namespace, one.Name)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return bare(err)
	}
	var pair []byte
	if len(one.Certificate)+len(one.Key) > 0 {
		pair = bytes.Join([][]byte{one.Certificate, one.Key}, []byte("\n"))
	}
	return errors.Join(replaceFile(folder, secretPair, pair), replaceFile(folder, secretAuthority, one.CA))
}

// replaceFile makes a file hold something, at once. It is not touched if it
// does; it goes if there is nothing to hold.
func replaceFile(folder, name string, data []byte) error {
	path := filepath.Join(folder, name)
	if len(data) == 0 {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return bare(err)
		}
		return nil
	}
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, data) {
		return nil
	}
	draft, err := os.CreateTemp(folder, draftPrefix) // for its owner alone
	if err != nil {
		return bare(err)
	}
	_, err = draft.Write(data)
	if err == nil {
		err = draft.Sync()
	}
	if failed := draft.Close(); err == nil {
		err = failed
	}
	if err == nil {
		err = os.Rename(draft.Name(), path)
	}
	if err != nil {
		_ = os.Remove(draft.Name())
		return bare(err)
	}
	return nil
}

// secretPath returns the file of a Secret below a folder; empty, which is none,
// if Secrets are not files here.
func secretPath(dir, namespace, name string, authority bool) string {
	file := secretPair
	if authority {
		file = secretAuthority
	}
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, namespace, name, file)
}
