// SPDX-License-Identifier: Apache-2.0

package auth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// maxFile bounds a file that is read: hundreds of authorities fit.
const maxFile = 1 << 20

// othersMay are the permissions that a file with a secret must not give: all to
// everybody else, and writing to the group, by which Kubernetes lets read.
const othersMay fs.FileMode = 0o027

// readFile returns what a regular file holds. Errors name the file and nothing
// of what it holds.
func readFile(path string, secret bool) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // to open a pipe would wait for who writes to it
		return nil, fmt.Errorf("%s: is not a regular file", path)
	}
	if m := info.Mode().Perm(); secret && m&othersMay != 0 && runtime.GOOS != "windows" {
		return nil, fmt.Errorf("%s: its mode %04o lets other users read or change it; at most 0640 is accepted, such as after chmod 600", path, m)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxFile:
		return nil, fmt.Errorf("%s: is larger than %d MB", path, maxFile>>20)
	}
	return text, nil
}

// file is something to write.
type file struct {
	name string
	text []byte
	mode fs.FileMode // unless it replaces one that is there
}

// secret reports whether it is for nobody but its owner to begin with.
func (f file) secret() bool { return f.mode&0o077 == 0 }

// writeNew writes files to a folder that has none of them, or takes away what
// it wrote.
func writeNew(dir string, files []file) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for i, f := range files {
		if err = createFile(filepath.Join(dir, f.name), f); err != nil {
			for _, written := range files[:i] {
				_ = os.Remove(filepath.Join(dir, written.name))
			}
			return err
		}
	}
	return syncDir(dir)
}

// createFile writes a file that is not there yet.
func createFile(path string, f file) error {
	w, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.mode)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s: %w", path, ErrExists)
	}
	if err != nil {
		return err
	}
	if err := fill(w, f); err != nil {
		_ = os.Remove(path)
		return err
	}
	return nil
}

// fill writes what a file holds, durably, and closes it.
func fill(w *os.File, f file) error {
	_, err := w.Write(f.text)
	if err == nil {
		err = w.Chmod(f.mode) // whatever the umask has left
	}
	if err == nil {
		err = w.Sync()
	}
	return errors.Join(err, w.Close())
}

// writeOver writes files in the place of others, each at once, with the owner,
// group and mode of the one that was there: who was able to read it still is.
// Secrets stay such that they are taken: see othersMay. All are ready before
// the first one is replaced: a key is of no use beside the certificate of
// another.
func writeOver(dir string, files []file) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	var ready []string // those that are in no place yet
	defer func() {
		for _, path := range ready {
			_ = os.Remove(path)
		}
	}()
	for _, f := range files {
		path, err := prepare(dir, f)
		if err != nil {
			return err
		}
		ready = append(ready, path)
	}
	for _, f := range files {
		if err := os.Rename(ready[0], filepath.Join(dir, f.name)); err != nil {
			return err
		}
		ready = ready[1:]
	}
	return syncDir(dir)
}

// prepare writes a file that is to replace another, and returns its path.
func prepare(dir string, f file) (string, error) {
	path := filepath.Join(dir, f.name)
	old, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		old = nil
	case err != nil:
		return "", err
	case !old.Mode().IsRegular(): // a folder cannot be replaced
		return "", fmt.Errorf("%s: is not a regular file", path)
	}
	w, err := os.CreateTemp(dir, ".new-*") // with mode 0600
	if err != nil {
		return "", err
	}
	if old != nil {
		err = adopt(w, path, old, &f)
	}
	if err == nil {
		err = fill(w, f)
	} else {
		_ = w.Close()
	}
	if err != nil {
		_ = os.Remove(w.Name())
		return "", err
	}
	return w.Name(), nil
}

// adopt gives a file that is to replace an old one its owner and group, and has
// it get its mode.
func adopt(w *os.File, path string, old fs.FileInfo, f *file) error {
	mode := old.Mode().Perm()
	if f.secret() {
		mode &^= othersMay
	}
	f.mode = mode
	now, err := w.Stat()
	if err != nil || sameOwner(now, old) {
		return err
	}
	if err := chown(w, old); err != nil {
		return fmt.Errorf("%s: its owner and group cannot be kept, and whoever uses it might not be able to read it any more; do this as its owner or as root: %w", path, err)
	}
	return nil
}

// syncDir has the names in a folder outlast the machine.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if runtime.GOOS == "windows" {
		err = nil // it has no such thing
	}
	return errors.Join(err, d.Close())
}

var (
	errNoCertificate = errors.New("holds no certificate in PEM")
	errCut           = errors.New("ends inside a block of PEM")
	errNoKey         = errors.New("holds no private key of ECDSA on P-256 in PEM (PKCS #8)")
)

// parseCertificates returns the certificates in PEM, at least one. A block that
// is not whole is an error: the file may be about to be written.
func parseCertificates(b []byte) (list []*x509.Certificate, err error) {
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("holds a certificate that cannot be read: %w", err)
		}
		list = append(list, c)
	}
	switch {
	case bytes.Contains(b, []byte("-----BEGIN")):
		return nil, errCut
	case len(list) == 0:
		return nil, errNoCertificate
	}
	return list, nil
}

// parseKey returns the private key in PEM. Errors repeat nothing of it.
func parseKey(b []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(b)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errNoKey
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errNoKey
	}
	k, ok := key.(*ecdsa.PrivateKey)
	if !ok || k.Curve != elliptic.P256() {
		return nil, errNoKey
	}
	return k, nil
}
