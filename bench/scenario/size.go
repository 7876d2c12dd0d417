// SPDX-License-Identifier: Apache-2.0

package scenario

import (
	"fmt"
	"strconv"
	"strings"
)

// units of sizes, longest first.
var units = []struct {
	name  string
	bytes int
}{
	{"KiB", 1 << 10},
	{"MiB", 1 << 20},
	{"KB", 1e3},
	{"MB", 1e6},
	{"B", 1},
}

// ParseSize reads the size of a body in bytes: a whole number, maybe with a
// unit of B, KB, KiB, MB or MiB behind it, up to MaxBody.
func ParseSize(text string) (int, error) {
	number, factor := text, 1
	for _, u := range units {
		if rest, ok := strings.CutSuffix(text, u.name); ok {
			number, factor = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	n, err := strconv.ParseUint(number, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("%q is not a size; bytes such as 512, 10KB or 1MiB", text)
	}
	if n > uint64(MaxBody/factor) {
		return 0, fmt.Errorf("%s is too large for a body; at most 64MiB", text)
	}
	return int(n) * factor, nil
}

// ParseHeader reads a header field as it is given on a command line, NAME:VALUE
// with or without blanks around the value.
func ParseHeader(text string) (Header, error) {
	name, value, found := strings.Cut(text, ":")
	if !found {
		return Header{}, fmt.Errorf("%q has no colon; NAME:VALUE", text)
	}
	return Header{Name: name, Value: strings.Trim(value, " \t")}, nil
}
