// SPDX-License-Identifier: Apache-2.0

package files

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// racyAfter is how old a file must be, when it is read, for an unchanged
// stamp to prove an unchanged text: a second write within the resolution of
// the file system's clock leaves the stamp as it was.
const racyAfter = 2 * time.Second

// state is what a name was found to be.
type state uint8

const (
	absent     state = iota // there is no such name
	text                    // a file that was read
	unreadable              // there is something that cannot be read
	listed                  // a directory with files
	empty                   // a directory without any
)

// mark is what one look tells of a name, as far as it takes to see whether
// that changed. Marks are compared with ==.
type mark struct {
	state   state
	sum     [sha256.Size]byte // of the text
	blank   bool              // the text has no byte
	code    string            // of the fault, if it is unreadable or a directory's absence
	problem string
	allowed string
}

// reading is the last reading of a file.
type reading struct {
	info fs.FileInfo
	at   time.Time
	mark mark
}

// holds reports whether a file with these facts has the text that was read.
func (r reading) holds(info fs.FileInfo) bool {
	return sameStamp(r.info, info) && r.at.Sub(stamp(info)) > racyAfter
}

// look is everything that stands in the paths at one time.
type look struct {
	marks  map[string]mark // of files, by key
	dirs   map[string]mark // of directories that were given, by key
	owners map[string]*root
	others map[*root]int // files with a text, by the path that they stand in
	denied error         // why a path as given cannot be looked at; nil if all can
	// homes are the directories, without symbolic links, in which a change
	// may concern us, and names the names that it then has.
	homes map[string]fs.FileInfo
	names map[string]bool
}

// look looks at every path. again says that no earlier reading counts.
func (s *Source) look(again bool) *look {
	l := &look{
		marks:  make(map[string]mark),
		dirs:   make(map[string]mark),
		owners: make(map[string]*root),
		others: make(map[*root]int),
		homes:  make(map[string]fs.FileInfo),
		names:  make(map[string]bool),
	}
	if again {
		clear(s.read)
	}
	for _, r := range s.roots {
		l.home(r.path)
		info, err := os.Stat(r.path)
		switch {
		case err == nil && info.IsDir():
			r.dir = true
			s.lookInto(l, r)
		case err == nil:
			r.dir = false
			if !info.Mode().IsRegular() {
				l.deny(fmt.Errorf("%s: neither a regular file nor a directory", r.path))
			}
			l.add(r, r.path, s.mark(r.path))
		default:
			s.lookInVain(l, r, err)
		}
	}
	for key := range s.read {
		if _, ok := l.marks[key]; !ok {
			delete(s.read, key)
		}
	}
	return l
}

// lookInto looks at the files of a directory.
func (s *Source) lookInto(l *look, r *root) {
	if target, err := filepath.EvalSymlinks(r.path); err == nil {
		l.watch(target)
	}
	entries, err := list(r.path, s.o.MaxFiles-len(l.marks))
	if err != nil {
		s.lookInVain(l, r, err)
		return
	}
	for _, e := range entries {
		key := filepath.Join(r.path, e.Name())
		if e.Type()&fs.ModeSymlink != 0 {
			l.home(key)
		}
		l.add(r, key, s.mark(key))
	}
	l.dirs[dirKey(r)] = mark{state: listed}
	if len(entries) == 0 {
		l.dirs[dirKey(r)] = mark{
			state: empty, code: "DirectoryEmpty", problem: "holds no gateway file",
			allowed: "their names end in .yaml, .yml or .json",
		}
	}
}

// lookInVain notes why a path cannot be looked at. What is in a directory
// that is there, but cannot be listed, is taken to be as it was.
func (s *Source) lookInVain(l *look, r *root, err error) {
	gone := vanished(r.path, err)
	if gone {
		l.deny(fmt.Errorf("%s: %w; create it, or name another path", r.path, reason(err)))
	} else {
		l.deny(fmt.Errorf("%s: %w", r.path, reason(err)))
	}
	switch {
	case !r.dir && gone:
	case !r.dir:
		l.add(r, r.path, unreadableMark(err))
	case gone:
		l.dirs[dirKey(r)] = mark{
			code: "DirectoryMissing", problem: "the directory is missing",
			allowed: "its gateways keep their last good form for a while",
		}
	default:
		m := unreadableMark(err)
		m.code = "DirectoryUnreadable"
		l.dirs[dirKey(r)] = m
		for key, f := range s.files {
			if f.owner == r {
				l.add(r, key, f.seen)
			}
		}
	}
}

// add notes a file, unless another path has it already.
func (l *look) add(r *root, key string, m mark) {
	if _, ok := l.marks[key]; ok || m.state == absent {
		return
	}
	l.marks[key] = m
	l.owners[key] = r
	if m.state == text && !m.blank {
		l.others[r]++
	}
}

func (l *look) deny(err error) {
	if l.denied == nil {
		l.denied = err
	}
}

// home has the directories watched in which path, or what it links to, may be
// replaced.
func (l *look) home(path string) {
	l.names[filepath.Base(path)] = true
	if dir, err := filepath.EvalSymlinks(filepath.Dir(path)); err == nil {
		l.watch(dir)
	}
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return
	}
	l.names[filepath.Base(target)] = true
	l.watch(filepath.Dir(target))
}

func (l *look) watch(dir string) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return
	}
	if info, err := os.Stat(dir); err == nil {
		l.homes[dir] = info
	}
}

// mark reads a file, or trusts its stamp where that proves that it is as it
// was read before.
func (s *Source) mark(key string) mark {
	info, err := os.Stat(key)
	if err != nil {
		return s.failed(key, err)
	}
	if last, ok := s.read[key]; ok && last.holds(info) {
		return last.mark
	}
	at := time.Now()
	data, err := readFile(key, s.o.MaxBytes)
	if err != nil {
		return s.failed(key, err)
	}
	m := textMark(data)
	s.read[key] = reading{info: info, at: at, mark: m}
	return m
}

// failed is the mark of a file that could not be read.
func (s *Source) failed(key string, err error) mark {
	delete(s.read, key)
	if vanished(key, err) {
		return mark{}
	}
	return unreadableMark(err)
}

func textMark(data []byte) mark {
	return mark{state: text, sum: sha256.Sum256(data), blank: len(data) == 0}
}

// errTooLarge, errTooMany and errIrregular refuse what is there.
var (
	errTooLarge  = errors.New("too large")
	errTooMany   = errors.New("too many files")
	errIrregular = errors.New("not a regular file")
)

func unreadableMark(err error) mark {
	m := mark{
		state: unreadable, code: "FileUnreadable",
		problem: "cannot be read: " + reason(err).Error(),
		allowed: "its last good form stays until it can be read",
	}
	switch {
	case errors.Is(err, errTooLarge):
		m.code, m.problem, m.allowed = "FileTooLarge", err.Error(), "split it into several files"
	case errors.Is(err, errTooMany):
		m.problem, m.allowed = err.Error(), "split the directory, or write several gateways into one file"
	}
	return m
}

// vanished tells a name that is no more from one that leads nowhere: a
// dangling link still asks for something that cannot be reached.
func vanished(path string, err error) bool {
	if !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	_, err = os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// reason strips the operation and the path, which the position of a fault
// names already.
func reason(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

// readFile reads a regular file of at most limit bytes.
func readFile(name string, limit int64) ([]byte, error) {
	// O_NONBLOCK keeps a named pipe from blocking until it has a writer.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, syscall.EISDIR
	}
	if !info.Mode().IsRegular() {
		return nil, errIrregular
	}
	if info.Size() > limit {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are read", errTooLarge, info.Size(), limit)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%w: more than %d bytes", errTooLarge, limit)
	}
	return data, err
}

// list returns the gateway files of a directory, sorted by name. It gives up
// at more than limit of them.
func list(dir string, limit int) ([]fs.DirEntry, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var found []fs.DirEntry
	for {
		entries, err := f.ReadDir(512)
		for _, e := range entries {
			if gatewayFile(e.Name()) {
				found = append(found, e)
			}
		}
		switch {
		case len(found) > limit:
			return nil, fmt.Errorf("%w: more than the %d that are still read", errTooMany, limit)
		case errors.Is(err, io.EOF):
			slices.SortFunc(found, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
			return found, nil
		case err != nil:
			return nil, err
		}
	}
}

// gatewayFile reports whether a directory's entry is read. Hidden ones are
// left out, among them the "..data" of a mounted ConfigMap.
func gatewayFile(name string) bool {
	if strings.HasPrefix(name, ".") {
		return false
	}
	switch filepath.Ext(name) {
	case ".yaml", ".yml", ".json":
		return true
	}
	return false
}

// dirKey is the key of a directory's own faults. No file has it.
func dirKey(r *root) string { return strings.TrimSuffix(r.path, "/") + "/" }
