// SPDX-License-Identifier: Apache-2.0

package lastgood

import (
	"bytes"
	"time"

	"github.com/sluice-mesh/sluice/routing"
)

// OpenOn is Open on a disk that asks before each operation, by its name:
// create, write, fsync, rename, remove, extend, append or sync. One that is
// given an error is not done; half of a failed write is.
func OpenOn(dir string, o Options, before func(operation string) error) (*Keeper, error) {
	return open(dir, o, asking{onDisk(dir), before})
}

type asking struct {
	onDisk

	before func(string) error
}

func (a asking) create(name string) (file, error) {
	if err := a.before("create"); err != nil {
		return nil, err
	}
	f, err := a.onDisk.create(name)
	return askingFile{f, a.before, "write"}, err
}

func (a asking) extend(name string) (file, error) {
	if err := a.before("extend"); err != nil {
		return nil, err
	}
	f, err := a.onDisk.extend(name)
	return askingFile{f, a.before, "append"}, err
}

func (a asking) rename(from, to string) error {
	if err := a.before("rename"); err != nil {
		return err
	}
	return a.onDisk.rename(from, to)
}

func (a asking) remove(name string) error {
	if err := a.before("remove"); err != nil {
		return err
	}
	return a.onDisk.remove(name)
}

func (a asking) sync() error {
	if err := a.before("sync"); err != nil {
		return err
	}
	return a.onDisk.sync()
}

type askingFile struct {
	file

	before func(string) error
	write  string
}

func (f askingFile) Write(b []byte) (int, error) {
	if err := f.before(f.write); err != nil {
		n, _ := f.file.Write(b[:len(b)/2])
		return n, err
	}
	return f.file.Write(b)
}

func (f askingFile) Sync() error {
	if err := f.before("fsync"); err != nil {
		return err
	}
	return f.file.Sync()
}

// Recode returns the file that b is, read and written again.
func Recode(b []byte) ([]byte, error) {
	f, err := decode(b)
	if err != nil {
		return nil, err
	}
	var again bytes.Buffer
	err = f.write(&again, len(b))
	return again.Bytes(), err
}

// Relate returns the shortest journal that tells the same as b.
func Relate(b []byte) []byte { return replay(b).journal() }

// Reline returns the line of a journal that s is, read and written again.
func Reline(s string) (string, bool) {
	r, ok := parseRecord(s)
	return string(r.line()), ok
}

// Words are those of a journal.
var Words = words

// Line returns a line of a journal.
func Line(word string, v routing.Version, at time.Time) []byte { return record{word, v, at}.line() }
