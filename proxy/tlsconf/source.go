// SPDX-License-Identifier: Apache-2.0

package tlsconf

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

// maxFile bounds a file: thousands of certificates fit.
const maxFile = 4 << 20

// source is what was made of a certificate and its key, or of a file of
// authorities. The store's lock guards it, but for its names.
type source struct {
	pair  routing.KeyPair // names as written; no Key if it is of authorities
	paths []string
	// secrets is the folder of Secrets, whose files are not to be named.
	secrets string

	stamps []stamp // of the files, when they were read last
	err    error   // why what was read last is of no use; nil if it is in use

	// The last good ones. serial counts them, 0 for none.
	serial      uint64
	certificate *tls.Certificate
	authorities *x509.CertPool
	members     []*x509.Certificate // of authorities
	sum         [sha256.Size]byte   // of what they were made of

	used time.Time // when it was last asked for, or in use
	late bool      // it is known that the certificate has ended
}

// stamp tells versions of a file apart without reading it. The zero stamp is
// that of a file that is not there.
type stamp struct {
	info    fs.FileInfo // nil if there is none
	settled bool        // it was old enough for a later change to show
}

// same reports whether the file is as it was then.
func (s stamp) same(info fs.FileInfo) bool {
	if s.info == nil || info == nil {
		return s.info == nil && info == nil
	}
	return s.settled && os.SameFile(s.info, info) && s.info.ModTime().Equal(info.ModTime()) && s.info.Size() == info.Size()
}

// settling is how old a change must be at least so that the next one has
// another time: no file system that is in use counts coarser.
const settling = 3 * time.Second

func stampOf(path string, now time.Time) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{info: info, settled: now.Sub(info.ModTime()) > settling}
}

// changed reports whether a file of the source may be another one than was
// read.
func (s *source) changed(stamps []stamp) bool {
	for i, path := range s.paths {
		info, err := os.Stat(path)
		if err != nil {
			info = nil
		}
		if !stamps[i].same(info) {
			return true
		}
	}
	return false
}

// reading is what the files of a source held at one time.
type reading struct {
	stamps []stamp
	files  [][]byte
	err    error
}

// read reads the files of the source.
func (s *source) read(now time.Time) (r reading) {
	for i, path := range s.paths {
		at := stampOf(path, now)
		b, err := s.readOwn(i, path)
		if err != nil {
			at.settled = false // a right to read it that is given later shows in no stamp
		}
		if _, _, secret := routing.SecretOf(s.name(i)); secret && errors.Is(err, fs.ErrNotExist) {
			err = errNoSecret
		}
		if err != nil && r.err == nil {
			r.err = fmt.Errorf("%s: %w", s.name(i), err)
		}
		r.stamps = append(r.stamps, at)
		r.files = append(r.files, b)
	}
	return r
}

// readOwn returns what the file of a name holds. Secrets have names of their
// own, by which it is known who may use them; the names of their files are
// nobody's.
func (s *source) readOwn(i int, path string) ([]byte, error) {
	if _, _, secret := routing.SecretOf(s.name(i)); !secret && within(path, s.secrets) {
		return nil, errSecretFile
	}
	return readFile(path)
}

// within reports whether a file is in a folder, by whatever way that path
// leads there.
func within(path, folder string) bool {
	if folder == "" {
		return false
	}
	rel, err := filepath.Rel(resolved(folder), resolved(path))
	return err == nil && filepath.IsLocal(rel)
}

// resolved returns where a path leads; as it is if that cannot be said.
func resolved(path string) string {
	if whole, err := filepath.Abs(path); err == nil {
		path = whole
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		return target
	}
	return path
}

// name returns how the file was written in the table.
func (s *source) name(i int) string { return []string{s.pair.Certificate, s.pair.Key}[i] }

// readFile returns what a file holds, and why not in few words: paths are the
// caller's to name.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, bare(err)
	}
	if !info.Mode().IsRegular() { // to open a pipe would wait for who writes to it
		return nil, errNotRegular
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, bare(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, bare(err)
	}
	if len(b) > maxFile {
		return nil, fmt.Errorf("is larger than %d MB", maxFile>>20)
	}
	return b, nil
}

func bare(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}

// sumOf tells contents apart.
func (r *reading) sumOf() [sha256.Size]byte {
	h := sha256.New()
	for _, b := range r.files {
		fmt.Fprintf(h, "%d\n", len(b))
		h.Write(b)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func (r *reading) equal(o *reading) bool {
	return (r.err == nil) == (o.err == nil) && slices.EqualFunc(r.files, o.files, bytes.Equal)
}

// take makes what was read the source's, if it is of use, and reports whether
// it is another one than before.
func (s *source) take(r reading) (fresh bool) {
	s.stamps = r.stamps
	if s.err = r.err; s.err != nil {
		return false
	}
	content := r.sumOf()
	if s.serial > 0 && content == s.sum {
		return false // touched, or as good as it was again
	}
	if s.pair.Key == "" {
		s.err = s.takeAuthorities(r.files[0])
	} else {
		s.err = s.takePair(r.files[0], r.files[1])
	}
	if s.err != nil {
		return false
	}
	s.sum = content
	s.serial++
	s.late = false
	return true
}

func (s *source) takePair(certificate, key []byte) error {
	chain, err := certificatesOf(certificate)
	if err != nil {
		return fmt.Errorf("%s: %w", s.pair.Certificate, err)
	}
	if err := isKey(key); err != nil {
		return fmt.Errorf("%s: %w", s.pair.Key, err)
	}
	c, err := tls.X509KeyPair(certificate, key)
	switch {
	case err == nil:
	case strings.Contains(err.Error(), "does not match"):
		return fmt.Errorf("%s: is not the key of %s", s.pair.Key, s.pair.Certificate)
	default: // nothing of what the file holds is repeated
		return fmt.Errorf("%s: holds no private key that can be used", s.pair.Key)
	}
	c.Leaf = chain[0]
	s.certificate = &c
	return nil
}

func (s *source) takeAuthorities(b []byte) error {
	members, err := certificatesOf(b)
	if err != nil {
		return fmt.Errorf("%s: %w", s.pair.Certificate, err)
	}
	pool := x509.NewCertPool()
	for _, c := range members {
		pool.AddCert(c)
	}
	s.authorities, s.members = pool, members
	return nil
}

var (
	errNotRegular    = errors.New("is not a regular file")
	errSecretFile    = errors.New("is the file of a Secret: name it as secret:NAMESPACE/NAME")
	errNoCertificate = errors.New("holds no certificate in PEM")
	errNoKey         = errors.New("holds no private key in PEM")
	errEncrypted     = errors.New("holds a private key that is encrypted: only one in clear can be used")
	errCut           = errors.New("ends inside a block of PEM")
)

// certificatesOf returns the certificates in PEM, at least one. A block that is
// not whole is an error: the file may be about to be written.
func certificatesOf(b []byte) (list []*x509.Certificate, err error) {
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

// isKey reports what is wrong with a private key in PEM, as far as that can be
// told without its certificate.
func isKey(b []byte) error {
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			break
		}
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY", strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
			return errEncrypted
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			return nil
		}
	}
	if bytes.Contains(b, []byte("-----BEGIN")) {
		return errCut
	}
	return errNoKey
}
