// SPDX-License-Identifier: Apache-2.0

package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	bolt "go.etcd.io/bbolt"
)

// The format of bbolt's pages, version 2, in the byte order of the machine.
const (
	pageHeader   = 16 // id 8, flags 2, count 2, overflow 4
	pageElement  = 16 // of a branch: pos 4, ksize 4, id 8; of a leaf: flags 4, pos 4, ksize 4, vsize 4
	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10
	metaRoot     = pageHeader + 16
	metaFreelist = pageHeader + 32
	metaTxid     = pageHeader + 48
	metaEnd      = pageHeader + 64
)

// pages walks over the pages of a file without trusting any of them: bbolt
// itself would follow a circle until there is no memory left.
type pages struct {
	r    io.ReaderAt
	size int    // of a page
	end  uint64 // the first page behind all others
	used map[uint64]bool
}

// verifyPages finds that each page is in use once, or free.
func verifyPages(tx *bolt.Tx, r io.ReaderAt) error {
	size := tx.DB().Info().PageSize
	p := &pages{r: r, size: size, end: uint64(tx.Size()) / uint64(size), used: make(map[uint64]bool)}
	root, free, err := p.meta(uint64(tx.ID()))
	if err != nil {
		return err
	}
	if err := p.tree(root); err != nil {
		return err
	}
	if err := p.free(free); err != nil {
		return err
	}
	if uint64(len(p.used)) != p.end-2 {
		return fmt.Errorf("%d pages are lost", p.end-2-uint64(len(p.used)))
	}
	return nil
}

// meta returns the root and the list of free pages of a transaction. bbolt
// has chosen it by its checksum.
func (p *pages) meta(txid uint64) (root, free uint64, err error) {
	for id := range uint64(2) {
		b := make([]byte, metaEnd)
		if _, err := p.r.ReadAt(b, int64(id)*int64(p.size)); err != nil {
			return 0, 0, err
		}
		if word(b, metaTxid) == txid {
			return word(b, metaRoot), word(b, metaFreelist), nil
		}
	}
	return 0, 0, errors.New("no page begins the file")
}

func word(b []byte, at int) uint64 { return binary.NativeEndian.Uint64(b[at:]) }
func half(b []byte, at int) uint64 { return uint64(binary.NativeEndian.Uint32(b[at:])) }

// take reads a page with those that belong to it, and marks them as used.
func (p *pages) take(id uint64) ([]byte, error) {
	header := make([]byte, pageHeader)
	if id < 2 || id >= p.end {
		return nil, fmt.Errorf("page %d is out of bounds", id)
	}
	if _, err := p.r.ReadAt(header, int64(id)*int64(p.size)); err != nil {
		return nil, err
	}
	n := half(header, 12) + 1
	if word(header, 0) != id || n > p.end-id {
		return nil, fmt.Errorf("page %d is none", id)
	}
	for i := range n {
		if err := p.mark(id + i); err != nil {
			return nil, err
		}
	}
	b := make([]byte, n*uint64(p.size))
	_, err := p.r.ReadAt(b, int64(id)*int64(p.size))
	return b, err
}

func (p *pages) mark(id uint64) error {
	if id < 2 || id >= p.end || p.used[id] {
		return fmt.Errorf("page %d is out of bounds, or in use twice", id)
	}
	p.used[id] = true
	return nil
}

// tree walks over a page and all below it.
func (p *pages) tree(id uint64) error {
	b, err := p.take(id)
	if err != nil {
		return err
	}
	flags, count := binary.NativeEndian.Uint16(b[8:]), int(binary.NativeEndian.Uint16(b[10:]))
	if (flags != branchPage && flags != leafPage) || pageHeader+count*pageElement > len(b) {
		return fmt.Errorf("page %d is neither branch nor leaf", id)
	}
	for i := range count {
		at := pageHeader + i*pageElement
		if flags == branchPage {
			if uint64(at)+half(b, at)+half(b, at+4) > uint64(len(b)) {
				return fmt.Errorf("page %d: key %d is out of bounds", id, i)
			}
			err = p.tree(word(b, at+8))
		} else {
			err = p.record(b, at)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// record looks at one record of a leaf, and walks on if it is a bucket.
func (p *pages) record(b []byte, at int) error {
	value := uint64(at) + half(b, at+4) + half(b, at+8)
	size := half(b, at+12)
	if value+size > uint64(len(b)) {
		return errors.New("a record is out of bounds")
	}
	if half(b, at)&1 == 0 {
		return nil
	}
	if size < 16 { // root 8, sequence 8
		return errors.New("a bucket is too short")
	}
	if root := word(b, int(value)); root != 0 {
		return p.tree(root)
	}
	return inline(b[value+16 : value+size])
}

// inline looks at a small bucket, which is a leaf within a record and has no
// buckets itself.
func inline(b []byte) error {
	if len(b) < pageHeader || binary.NativeEndian.Uint16(b[8:]) != leafPage {
		return errors.New("a small bucket is no leaf")
	}
	count := int(binary.NativeEndian.Uint16(b[10:]))
	if pageHeader+count*pageElement > len(b) {
		return errors.New("a small bucket is too short")
	}
	for i := range count {
		at := pageHeader + i*pageElement
		if half(b, at)&1 != 0 || uint64(at)+half(b, at+4)+half(b, at+8)+half(b, at+12) > uint64(len(b)) {
			return errors.New("a small bucket reaches out of itself")
		}
	}
	return nil
}

// free reads the list of free pages.
func (p *pages) free(id uint64) error {
	b, err := p.take(id)
	if err != nil {
		return err
	}
	if binary.NativeEndian.Uint16(b[8:]) != freelistPage {
		return fmt.Errorf("page %d is no list of free pages", id)
	}
	n, at := uint64(binary.NativeEndian.Uint16(b[10:])), pageHeader
	if n == 0xffff { // the number did not fit and comes first
		n, at = word(b, at), at+8
	}
	if n > uint64(len(b)-at)/8 {
		return fmt.Errorf("page %d: %d free pages do not fit", id, n)
	}
	for i := range int(n) {
		if err := p.mark(word(b, at+8*i)); err != nil {
			return err
		}
	}
	return nil
}
