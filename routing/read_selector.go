// SPDX-License-Identifier: Apache-2.0

package routing

import "errors"

// checkSelector refuses the text of a selector that does not parse, at the
// place of what is wrong with it.
func (r *reader) checkSelector(v *value, path string) bool {
	_, err := ParseSelector(v.text)
	if e, ok := errors.AsType[*SelectorError](err); ok {
		r.refuse(codeSelector, v.at(e.Offset), path, e.Problem, e.Allowed)
	}
	return err == nil
}
