// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// table prints rows in columns. Columns never get narrower, so that rows which
// are printed later stay below those before.
type table struct {
	w      io.Writer
	widths []int
	rows   [][]string // not printed yet
}

// newTable returns a table whose first row is the header, unless it is not
// wanted.
func newTable(w io.Writer, bare bool, header ...string) *table {
	t := &table{w: w, widths: make([]int, len(header))}
	for i, h := range header {
		t.widths[i] = utf8.RuneCountInString(h)
	}
	if !bare {
		t.rows = append(t.rows, header)
	}
	return t
}

// row adds a row; empty cells become dashes. Cells may hold anything that
// somebody wrote, so that characters which move the cursor are replaced.
func (t *table) row(cells ...string) {
	for i, c := range cells {
		c = strings.Map(func(r rune) rune {
			if unicode.IsPrint(r) {
				return r
			}
			return ' '
		}, c)
		cells[i] = cmp.Or(strings.TrimSpace(c), "-")
		t.widths[i] = max(t.widths[i], utf8.RuneCountInString(cells[i]))
	}
	t.rows = append(t.rows, cells)
}

// flush prints what was added.
func (t *table) flush() error {
	var b strings.Builder
	for _, row := range t.rows {
		for i, c := range row {
			b.WriteString(c)
			if i < len(row)-1 {
				b.WriteString(strings.Repeat(" ", t.widths[i]-utf8.RuneCountInString(c)+2))
			}
		}
		b.WriteByte('\n')
	}
	t.rows = nil
	_, err := io.WriteString(t.w, b.String())
	return err
}
