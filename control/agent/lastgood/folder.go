// SPDX-License-Identifier: Apache-2.0

package lastgood

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// folder is what a Keeper asks of the disk where it writes. Tests put one in
// its place that is full, read-only or cut off in the middle.
type folder interface {
	// create opens a file to write it from its beginning, mode 0600.
	create(name string) (file, error)
	// extend opens a file to append to it, mode 0600.
	extend(name string) (file, error)
	rename(from, to string) error
	remove(name string) error
	// sync makes durable which names there are.
	sync() error
}

type file interface {
	io.Writer
	Sync() error
	Close() error
}

// replace gives the file name what write writes as its content: a reader sees
// the former one or the new one, whole, also after a loss of power.
func replace(in folder, name, draft string, write func(io.Writer) error) error {
	f, err := in.create(draft)
	if err != nil {
		return err
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = in.rename(draft, name)
	}
	if err != nil {
		// A full disk needs the room. That it fails is told by what follows.
		_ = in.remove(draft)
		return err
	}
	return in.sync()
}

// onDisk is the folder of a path.
type onDisk string

func (d onDisk) create(name string) (file, error) {
	return os.OpenFile(filepath.Join(string(d), name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
}

func (d onDisk) extend(name string) (file, error) {
	return os.OpenFile(filepath.Join(string(d), name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
}

func (d onDisk) rename(from, to string) error {
	return os.Rename(filepath.Join(string(d), from), filepath.Join(string(d), to))
}

func (d onDisk) remove(name string) error { return os.Remove(filepath.Join(string(d), name)) }

func (d onDisk) sync() error {
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
