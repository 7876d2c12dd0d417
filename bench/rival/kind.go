// SPDX-License-Identifier: Apache-2.0

package rival

import (
	"errors"
	"fmt"
	"strings"
)

// Kind is a program that can be measured. The zero Kind is none.
type Kind struct {
	Name string // haproxy, nginx or sluice
}

// Kinds returns all that are known, in the order of reports.
func Kinds() []Kind {
	return []Kind{{Name: "sluice"}, {Name: "haproxy"}, {Name: "nginx"}}
}

// Find returns the kind of a name. Its error lists the names that are known.
func Find(name string) (Kind, error) {
	var known []string
	for _, k := range Kinds() {
		if k.Name == name {
			return k, nil
		}
		known = append(known, k.Name)
	}
	return Kind{}, fmt.Errorf("unknown program %q, want one of %s", name, strings.Join(known, ", "))
}

// Available returns the name and version of the installed program, such as
// "HAProxy 2.6.12", or an error that says what to install.
func (k Kind) Available() (string, error) {
	return "", errors.New("not installed")
}
