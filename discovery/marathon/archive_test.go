// SPDX-License-Identifier: Apache-2.0

package marathon

import (
	"bytes"
	"maps"
	"testing"
)

// TestWhatIsRememberedIsWhatWasKnown, also of apps of which something is to be
// warned.
func TestWhatIsRememberedIsWhatWasKnown(t *testing.T) {
	for _, answer := range answers(t) {
		apps, _, err := readApps(bytes.NewReader(answer), defaultMaxAnswer)
		if err != nil {
			t.Fatal(err)
		}
		maps.DeleteFunc(apps, func(_ string, a *app) bool { return a == nil })
		var file bytes.Buffer
		if err := (archive{preface: preface{Format: archiveFormat}, apps: apps}).encode(&file); err != nil {
			t.Fatal(err)
		}
		m, err := parseArchive(bytes.NewReader(file.Bytes()))
		if err != nil || !maps.EqualFunc(m.apps, apps, sameApp) {
			t.Errorf("%q is remembered as\n%s\nwhich is read with %v", answer, file.Bytes(), err)
		}
	}
}
