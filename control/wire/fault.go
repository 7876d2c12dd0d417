// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxFaults bounds the faults that are told of one gateway.
const maxFaults = 100

// FieldError locates a fault in a message.
type FieldError struct {
	Field   string // path in the message, such as routes[0].tls.min_version
	Problem string // what is wrong, lower case
}

// Error returns the path and the problem.
func (e *FieldError) Error() string { return e.Field + ": " + e.Problem }

// path is where in a message something stands. It is put into words only if
// something is wrong there.
type path struct {
	up    *path
	name  string
	index int // of an element, from 1; 0 if it is none
}

func (p *path) String() string {
	var parts []string
	for ; p != nil; p = p.up {
		name := p.name
		if p.index > 0 {
			name += "[" + strconv.Itoa(p.index-1) + "]"
		}
		parts = append(parts, name)
	}
	slices.Reverse(parts)
	return strings.Join(parts, ".")
}

// faults are the first faults of a message.
type faults struct{ list []error }

// fault notes a fault of a field below p, or of what p is itself if the field
// is empty.
func (f *faults) fault(p *path, field, format string, args ...any) {
	if len(f.list) >= maxFaults {
		return
	}
	where := p.String()
	if where != "" && field != "" {
		where += "."
	}
	f.list = append(f.list, &FieldError{where + field, fmt.Sprintf(format, args...)})
}

func (f *faults) err() error { return errors.Join(f.list...) }
