// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/sluice-mesh/sluice/routing"
)

// bundle is files made into one text, to be written by one change.
type bundle struct {
	text  []byte
	parts []part // in the order of the text
	lines int
	docs  []*routing.Document // of all files, in their order
	// faults are those of single documents, at their places in files.
	faults []*routing.Fault
}

// part is a file within a bundle.
type part struct {
	source string
	line   int // of the bundle, on which the file begins
}

// readBundle reads all files that args name.
func readBundle(args []string, stdin io.Reader) (*bundle, error) {
	b := &bundle{}
	for _, arg := range args {
		paths, err := listFiles(arg)
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			source, data, err := readFile(path, stdin)
			if err != nil {
				return nil, err
			}
			b.add(source, data)
		}
	}
	return b, nil
}

// add appends a file.
func (b *bundle) add(source string, data []byte) {
	docs, faults := routing.Read(source, data)
	b.docs = append(b.docs, docs...)
	b.faults = append(b.faults, faults...)
	if len(docs) == 0 && len(faults) == 0 {
		return // comments, or nothing at all
	}
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	if len(b.parts) > 0 {
		// A document ends with "...", and a new one begins with "---", unless
		// the file says that itself.
		b.write([]byte("\n...\n"))
		if !beginsDocument(data) {
			b.write([]byte("---\n"))
		}
	}
	b.parts = append(b.parts, part{source, b.lines + 1})
	b.write(data)
}

func (b *bundle) write(text []byte) {
	b.text = append(b.text, text...)
	b.lines += countLines(text)
}

// beginsDocument reports whether a text says itself where its first document
// begins, by "---" or by a directive before it.
func beginsDocument(text []byte) bool {
	for line := range bytes.Lines(text) {
		trimmed := bytes.TrimSpace(line)
		if len(trimmed) == 0 || trimmed[0] == '#' {
			continue
		}
		return line[0] == '%' || bytes.HasPrefix(line, []byte("---"))
	}
	return false
}

// countLines counts the line breaks of YAML 1.1 in a text.
func countLines(text []byte) int {
	n := 0
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		switch r {
		case '\n', '\u0085', '\u2028', '\u2029':
			n++
		case '\r':
			if i+1 == len(text) || text[i+1] != '\n' {
				n++
			}
		}
		i += size
	}
	return n
}

// place moves a fault from its place in the bundle, which has no name, to that
// in the file. Faults of other texts stay where they are.
func (b *bundle) place(f *routing.Fault) *routing.Fault {
	if f.At.Source != "" || f.At.Line < 1 || len(b.parts) == 0 {
		return f
	}
	i, exact := slices.BinarySearchFunc(b.parts, f.At.Line, func(p part, line int) int { return p.line - line })
	if !exact {
		i--
	}
	moved := *f
	p := b.parts[max(i, 0)]
	moved.At.Source, moved.At.Line = p.source, f.At.Line-p.line+1
	return &moved
}

// refused returns the faults that keep something from taking effect.
func refused(faults []*routing.Fault) []*routing.Fault {
	return slices.DeleteFunc(slices.Clone(faults), func(f *routing.Fault) bool { return f.Severity != routing.Refused })
}

// telling puts faults below each other.
func telling(faults []*routing.Fault) string {
	var b strings.Builder
	for _, f := range faults {
		b.WriteString(f.Error())
		b.WriteByte('\n')
	}
	return b.String()
}

// unseen returns those warnings of the control plane that were not told
// already, of single documents, with their places in the files.
func (b *bundle) unseen(warnings []string) []string {
	var out []string
	for _, w := range warnings {
		var f routing.Fault
		var text string
		if n, _ := fmt.Sscanf(w, "%d:%d:", &f.At.Line, &f.At.Column); n == 2 {
			_, text, _ = strings.Cut(w, ": ")
			w = b.place(&f).At.String() + ": " + text
		}
		if !slices.ContainsFunc(b.faults, func(told *routing.Fault) bool { return sameWarning(told.Error(), w) }) {
			out = append(out, w)
		}
	}
	return out
}

// sameWarning reports whether a warning is one that was told, as fields of
// headers have it: in ASCII, and cut.
func sameWarning(told, w string) bool {
	start, cut := strings.CutSuffix(w, "...")
	told = plainASCII(told)
	return told == plainASCII(w) || cut && strings.HasPrefix(told, plainASCII(start))
}

func plainASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
}
