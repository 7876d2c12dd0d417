// SPDX-License-Identifier: Apache-2.0

package kubernetes_test

import (
	"bytes"
	"testing"

	"github.com/sluice-mesh/sluice/discovery/kubernetes"
)

// What can be read of a file is written, and read again, as it is.
func FuzzMemory(f *testing.F) {
	for _, text := range []string{
		`{"Format": 1}`, `{"Format": 2}`, `{`, `{"Format": 1, "Updates": [{"Key": "configmaps/a/b/c", "Text": "name: shop"}]}`,
		`{"Format": 1, "Updates": [{"Key": "pods/a/Pod/b", "Namespace": "acme/prod", "Instances": [
			{"Name": "c", "Address": "10.0.0.1", "Port": 8080, "Labels": [{"Name": "app", "Value": "shop"}], "Ready": true, "Since": "2026-11-21T12:00:00Z"}]}]}`,
		`{"Format": 1, "Updates": [{"Instances": [{"Address": "fe80::1%eth0", "Port": 65535}]}]}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		once, err := kubernetes.RewriteMemory(text)
		if err != nil {
			return
		}
		twice, err := kubernetes.RewriteMemory(once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Errorf("%s\nis read as\n%s, %v", once, twice, err)
		}
	})
}
