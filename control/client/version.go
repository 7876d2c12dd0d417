// SPDX-License-Identifier: Apache-2.0

package client

import (
	"encoding/json"

	"github.com/sluice-mesh/sluice/routing"
)

// TableVersion is the version of a table, as text: epoch.revision. It is empty
// if there is none.
type TableVersion string

// UnmarshalJSON reads a text, or an object of epoch and revision.
func (v *TableVersion) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) == nil {
		*v = TableVersion(text)
		return nil
	}
	var version routing.Version
	if err := json.Unmarshal(b, &version); err != nil {
		return err
	}
	*v = ""
	if version != (routing.Version{}) {
		*v = TableVersion(version.String())
	}
	return nil
}
