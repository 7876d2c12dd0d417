// SPDX-License-Identifier: Apache-2.0

//go:build linux

package control

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
)

// kept is a file with a table that a proxy keeps on disk, as package lastgood
// writes it.
type kept struct {
	path    string
	number  uint64
	version version
	text    []byte
}

// keeps returns the tables that a proxy keeps, newest first.
func (p *proxy) keeps(t *testing.T) []kept {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(p.data, "*"))
	if err != nil {
		t.Fatal(err)
	}
	var all []kept
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil || len(text) < 52 || !bytes.HasPrefix(text, []byte("sluiceT")) {
			continue // another file, or one that is replaced just now
		}
		epoch := strconv.FormatUint(binary.BigEndian.Uint64(text[20:]), 16)
		all = append(all, kept{path, binary.BigEndian.Uint64(text[12:]), version{epoch, binary.BigEndian.Uint64(text[28:])}, text})
	}
	slices.SortFunc(all, func(a, b kept) int { return cmp.Compare(b.number, a.number) })
	return all
}

// onDisk reports whether what the proxy serves is on disk.
func (p *proxy) onDisk(t *testing.T) bool {
	t.Helper()
	all := p.keeps(t)
	return len(all) > 0 && all[0].version == p.version(t)
}

// A byte that the disk has changed, wherever in the newest table, is noticed:
// the table before it serves, and an alarm is set off.
func TestTableDamagedOnDisk(t *testing.T) { //nolint:tparallel // one proxy through all of them
	long(t)
	t.Parallel()
	m := everything(t, 1)
	p, shop := m.proxies[0], m.gateways[0]
	for share := range 3 {
		m.change(t, shop, 41+share)
		p.await(t, "the table is on disk", func() bool { return p.onDisk(t) })
	}
	p.stop(t, 1)
	p.end(t)
	m.control.end(t)
	all := p.keeps(t)
	if len(all) < 2 {
		t.Fatalf("%d tables on disk, want more than one", len(all))
	}
	newest, before := all[0], all[1]
	size := len(newest.text)
	for _, at := range []int{0, 9, 15, 25, 35, 45, 52, size / 2, size - 33, size - 1} {
		t.Run(fmt.Sprintf("byte %d of %d", at, size), func(t *testing.T) {
			damaged := bytes.Clone(newest.text)
			damaged[at] ^= 0x10
			p.rewrite(t, newest.path, damaged)
			p.up(t)
			p.ready(t)
			if v := p.version(t); v != before.version {
				t.Errorf("the proxy serves %v, want %v, the one before %v", v, before.version, newest.version)
			}
			p.counts(t, "sluice_table_disk_damaged", 1)
			p.beginLoad(t)
			p.load.stop(t)
			p.end(t)
		})
	}
	p.rewrite(t, newest.path, newest.text)
	p.up(t)
	p.ready(t)
	if v := p.version(t); v != newest.version {
		t.Errorf("the proxy serves %v, want %v once the file is whole again", v, newest.version)
	}
	p.end(t)
}

// rewrite puts a text in place of a file.
func (p *proxy) rewrite(t *testing.T, path string, text []byte) {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
