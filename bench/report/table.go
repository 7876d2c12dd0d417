// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// table is rows of cells below a head. The first column is flush left, and so
// are those in words; figures are flush right.
type table struct {
	head  []string
	words []int // columns
	rows  [][]string
}

// left reports whether a column is flush left.
func (t *table) left(column int) bool { return column == 0 || slices.Contains(t.words, column) }

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// widths returns how many characters each column takes.
func (t *table) widths() []int {
	w := make([]int, len(t.head))
	for _, row := range append([][]string{t.head}, t.rows...) {
		for i, cell := range row {
			w[i] = max(w[i], utf8.RuneCountInString(cell))
		}
	}
	return w
}

// text writes the table for a terminal.
func (t *table) text(w io.Writer) {
	widths := t.widths()
	for n, row := range append([][]string{t.head}, t.rows...) {
		var b strings.Builder
		for i, cell := range row {
			if n == 0 {
				cell = strings.ToUpper(cell)
			}
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if t.left(i) {
				cell += pad
			} else {
				cell = pad + cell
			}
			if i > 0 {
				b.WriteString("  ")
			}
			b.WriteString(cell)
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
}

// markdown writes the table as GitHub reads it.
func (t *table) markdown(w io.Writer) {
	line := func(cells []string) { fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")) }
	line(t.head)
	rule := make([]string, len(t.head))
	for i := range rule {
		rule[i] = "---:"
		if t.left(i) {
			rule[i] = "---"
		}
	}
	line(rule)
	for _, row := range t.rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = special.Replace(cell)
		}
		line(cells)
	}
}

// special are the characters that would end a cell or begin a tag.
var special = strings.NewReplacer("|", `\|`, "<", "&lt;")
