// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// Level is how binding a requirement is.
type Level string

// The levels: the words of the section, or a choice of ours where the
// sections leave one.
const (
	Must   Level = "MUST"
	Should Level = "SHOULD"
	Ours   Level = "OURS"
)

// Case is one parsed case. It does not change, and may be run at several
// gateways at a time.
type Case struct {
	Name        string // TOPIC/WHAT, from the file
	Requirement string // section and what it asks for
	Level       Level
	Why         string // empty if nothing needs to be said
	Departs     string // the section that is not followed; empty for none
	Flags       string // of sluice run; empty for none

	blocks []block
}

// block is one part of a case.
type block struct {
	kind   kind
	client int // the connection, from 1; of client blocks
	text   string
}

type kind string

// The kinds of blocks, as they are written without a number.
const (
	gatewayBlock  kind = "gateway"
	clientSends   kind = "client"
	clientSees    kind = "client sees"
	clientReads   kind = "client reads"
	originSees    kind = "origin sees"
	originMaySee  kind = "origin may see"
	originNothing kind = "origin sees nothing"
	originSends   kind = "origin"
	originAtOnce  kind = "origin at once"
	originReads   kind = "origin reads"
)

// maxClients bounds the connections of a case.
const maxClients = 9

// Topic returns the part of the name before the slash.
func (c *Case) Topic() string {
	topic, _, _ := strings.Cut(c.Name, "/")
	return topic
}

// Gateway returns the YAML that stands below the gateway's key sluice; empty
// if the case needs none.
func (c *Case) Gateway() string {
	for _, b := range c.blocks {
		if b.kind == gatewayBlock {
			return b.text
		}
	}
	return ""
}

// Load parses all files *.txt below the root, in the order of their names.
func Load(root fs.FS) ([]*Case, error) {
	var cases []*Case
	var faults []error
	err := fs.WalkDir(root, ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(file) != ".txt" {
			return err
		}
		text, err := fs.ReadFile(root, file)
		if err != nil {
			return err
		}
		c, err := Parse(strings.TrimSuffix(file, ".txt"), text)
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", file, err))
		}
		cases = append(cases, c)
		return nil
	})
	return cases, errors.Join(append(faults, err)...)
}

// Parse parses the text of a case. A case that it accepts can be run.
func Parse(name string, text []byte) (*Case, error) {
	c := &Case{Name: name}
	rest := string(text)
	if strings.ContainsRune(rest, '\r') {
		return nil, errors.New("a carriage return in the file: write \\r")
	}
	for rest != "" {
		line, after, _ := strings.Cut(rest, "\n")
		if isMarker(line) {
			break
		}
		rest = after
		if line == "" {
			continue
		}
		if err := c.header(line); err != nil {
			return nil, err
		}
	}
	if err := c.readBlocks(rest); err != nil {
		return nil, err
	}
	return c, c.check()
}

// header takes in one line of the header.
func (c *Case) header(line string) error {
	key, value, ok := strings.Cut(strings.TrimPrefix(line, "# "), ": ")
	if !ok || !strings.HasPrefix(line, "# ") || value != strings.TrimSpace(value) || value == "" {
		return fmt.Errorf("%q is neither # KEY: VALUE nor a block", line)
	}
	var field *string
	switch key {
	case "requirement":
		field = &c.Requirement
	case "level":
		field = (*string)(&c.Level)
	case "why":
		field = &c.Why
	case "departs":
		field = &c.Departs
	case "flags":
		field = &c.Flags
	default:
		return fmt.Errorf("unknown key %q in the header", key)
	}
	if *field != "" {
		return fmt.Errorf("key %q is written twice", key)
	}
	*field = value
	return nil
}

const markerFrom, markerTo = "--- ", " ---"

func isMarker(line string) bool {
	return len(line) > len(markerFrom)+len(markerTo) && strings.HasPrefix(line, markerFrom) && strings.HasSuffix(line, markerTo)
}

// readBlocks cuts what follows the header.
func (c *Case) readBlocks(rest string) error {
	for line := range strings.Lines(rest) {
		whole := strings.HasSuffix(line, "\n")
		bare := strings.TrimSuffix(line, "\n")
		if isMarker(bare) {
			b, err := readMarker(bare[len(markerFrom) : len(bare)-len(markerTo)])
			if err != nil {
				return err
			}
			c.blocks = append(c.blocks, b)
			continue
		}
		if !whole {
			return errors.New("the last line does not end")
		}
		c.blocks[len(c.blocks)-1].text += line
	}
	return nil
}

// readMarker reads the name of a block.
func readMarker(name string) (block, error) {
	words := strings.Split(name, " ")
	b := block{client: 1}
	if len(words) > 1 && words[0] == "client" {
		if n, err := strconv.Atoi(words[1]); err == nil {
			if n < 2 || n > maxClients || strconv.Itoa(n) != words[1] {
				return b, fmt.Errorf("block %q: further connections are 2 to %d", name, maxClients)
			}
			b.client = n
			words = append(words[:1], words[2:]...)
		}
	}
	b.kind = kind(strings.Join(words, " "))
	switch b.kind {
	case clientSends, clientSees, clientReads:
		return b, nil
	case gatewayBlock, originSees, originMaySee, originNothing, originSends, originAtOnce, originReads:
		b.client = 0
		return b, nil
	default:
		return b, fmt.Errorf("unknown block %q", name)
	}
}

// check refuses cases that could not be played, or that claim nothing.
func (c *Case) check() error {
	switch c.Level {
	case Must, Should, Ours:
	default:
		return fmt.Errorf("level %q: want MUST, SHOULD or OURS", c.Level)
	}
	if section, what, ok := strings.Cut(c.Requirement, ": "); !ok || section == "" || what == "" {
		return fmt.Errorf("requirement %q: want SECTION: WHAT", c.Requirement)
	}
	if c.Departs != "" && c.Why == "" {
		return errors.New("a case that departs from a section says why")
	}
	_, err := c.compile(variables{port: 1})
	if err != nil {
		return err
	}
	seen := map[kind]int{}
	for _, b := range c.blocks {
		seen[b.kind]++
	}
	switch {
	case seen[clientSends] == 0:
		return errors.New("the client sends nothing")
	case seen[gatewayBlock] > 1:
		return errors.New("more than one gateway block")
	case seen[originNothing] > 1 || seen[originNothing] > 0 && seen[originSees]+seen[originMaySee] > 0:
		return errors.New("the origin sees nothing, or something")
	case seen[originNothing]+seen[originSees]+seen[originMaySee] == 0:
		return errors.New("nothing is said of what the origin sees")
	}
	return nil
}

// Format returns the case as text. Parsing that yields the same case.
func (c *Case) Format() []byte {
	var b bytes.Buffer
	for _, h := range [...]struct{ key, value string }{
		{"requirement", c.Requirement},
		{"level", string(c.Level)},
		{"why", c.Why},
		{"departs", c.Departs},
		{"flags", c.Flags},
	} {
		if h.value != "" {
			fmt.Fprintf(&b, "# %s: %s\n", h.key, h.value)
		}
	}
	for _, p := range c.blocks {
		name := string(p.kind)
		if p.client > 1 {
			name = fmt.Sprintf("client %d%s", p.client, strings.TrimPrefix(name, "client"))
		}
		fmt.Fprintf(&b, "%s%s%s\n%s", markerFrom, name, markerTo, p.text)
	}
	return b.Bytes()
}
