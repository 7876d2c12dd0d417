// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"
)

const (
	// minTokenBytes is the length below which a token could be guessed.
	minTokenBytes = 16
	maxTokenBytes = 1 << 10
	// othersMay are the permissions that a file with a token must not give:
	// all to everybody else, and writing to the group.
	othersMay fs.FileMode = 0o027
)

// Token is what clients must show, as it stands in a file. The file is read
// anew when it has changed. It is safe for concurrent use.
type Token struct {
	path string

	mu    sync.Mutex // guards what follows
	sum   [sha256.Size]byte
	stamp stamp
	fault string // why the last change was not taken over
}

// stamp tells whether a file has changed. A file that was replaced has
// another change time, even where size and times of the two are the same.
type stamp struct {
	size     int64
	modified time.Time
	mode     fs.FileMode
	info     fs.FileInfo
}

func (s stamp) same(o stamp) bool {
	return s.size == o.size && s.modified.Equal(o.modified) && s.mode == o.mode && os.SameFile(s.info, o.info)
}

// ReadToken reads a token: 16 to 1024 visible ASCII characters, and white
// space around them. The file must be out of reach of other users.
func ReadToken(path string) (string, error) {
	token, _, err := readToken(path)
	return token, err
}

func readToken(path string) (token string, _ stamp, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", stamp{}, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return "", stamp{}, err
	}
	s := stamp{info.Size(), info.ModTime(), info.Mode(), info}
	if !info.Mode().IsRegular() {
		return "", s, fmt.Errorf("%s: not a file", path)
	}
	if m := info.Mode().Perm(); m&othersMay != 0 && runtime.GOOS != "windows" {
		return "", s, fmt.Errorf("%s: its mode %04o lets other users read or change it; at most 0640 is accepted, such as after chmod 600", path, m)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxTokenBytes+3)) // a line end, and one more
	if err != nil {
		return "", s, err
	}
	token = string(bytes.TrimSpace(text))
	switch {
	case len(token) < minTokenBytes:
		return "", s, fmt.Errorf("%s: a token of %d characters can be guessed; at least %d, such as from openssl rand -hex 32", path, len(token), minTokenBytes)
	case len(token) > maxTokenBytes:
		return "", s, fmt.Errorf("%s: the token is longer than %d characters", path, maxTokenBytes)
	case strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", s, fmt.Errorf("%s: a token is of visible ASCII characters, without blanks", path)
	}
	return token, s, nil
}

// NewToken returns the token in a file, as ReadToken reads it.
func NewToken(path string) (*Token, error) {
	token, s, err := readToken(path)
	if err != nil {
		return nil, err
	}
	return &Token{path: path, sum: sha256.Sum256([]byte(token)), stamp: s}, nil
}

// refresh reads the file if it has changed. What cannot be read leaves the
// token as it was: nobody is let in by a mistake, and nobody locked out. It
// returns the reason when it is a new one.
func (t *Token) refresh() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	info, err := os.Stat(t.path)
	if err == nil {
		if t.stamp.same(stamp{info.Size(), info.ModTime(), info.Mode(), info}) {
			return nil
		}
		var token string
		var s stamp
		if token, s, err = readToken(t.path); err == nil {
			t.sum, t.stamp, t.fault = sha256.Sum256([]byte(token)), s, ""
			return nil
		}
	}
	if err.Error() == t.fault {
		return nil
	}
	t.fault = err.Error()
	return err
}

// shown reports whether a request shows the token (RFC 6750 section 2.1). How
// long that takes tells nothing of it.
func (t *Token) shown(r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	sum := sha256.Sum256([]byte(strings.TrimSpace(token)))
	t.mu.Lock()
	defer t.mu.Unlock()
	return subtle.ConstantTimeCompare(sum[:], t.sum[:]) == 1
}

// probes are open to everybody: those who ask whether a proxy lives hold no
// secrets, and learn nothing but that.
var probes = map[string]bool{"/livez": true, "/readyz": true, "/startupz": true, "/healthz": true}

// trusted reports whether a request may see and change everything: whoever
// shows the token, or anybody if there is none.
func (s *Server) trusted(r *http.Request) bool {
	if s.o.Token == nil {
		return true
	}
	if err := s.o.Token.refresh(); err != nil {
		s.o.Log.ErrorContext(r.Context(), "the token of the admin server stays as it was", "error", err)
	}
	return s.o.Token.shown(r)
}

// challenge answers a request that does not show the token.
func (s *Server) challenge(w http.ResponseWriter, r *http.Request) {
	s.tellRefusal(r)
	w.Header().Set("WWW-Authenticate", `Bearer realm="sluice admin"`)
	http.Error(w, "show the token of --admin-token-file: Authorization: Bearer TOKEN", http.StatusUnauthorized)
}

// tellRefusal logs that somebody did not show the token, at most once a
// second.
func (s *Server) tellRefusal(r *http.Request) {
	now := time.Now().Unix()
	if s.refused.Swap(now) != now {
		s.o.Log.WarnContext(r.Context(), "a request to the admin server without its token", "client", r.RemoteAddr, "path", r.URL.Path)
	}
}

// errNoToken reports an address that others can reach, and nothing to tell
// them apart by.
var errNoToken = errors.New("not an address of the loopback interface, and without a token anybody could see and change everything there: " +
	"add --admin-token-file FILE")
