// SPDX-License-Identifier: Apache-2.0

package http1_test

import (
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/proxy/http1"
)

func TestNewSecret(t *testing.T) {
	const good = "0123456789abcdef"
	for _, tt := range []struct{ name, header, value, want string }{
		{"a name and a secret", "X-Explain", good, ""},
		{"a name of our own family", "Sluice-Key", good, ""},
		{"no name", "", good, "no name"},
		{"a name that is none", "X Explain", good, `"X Explain" is not the name`},
		{"a name that has a meaning", "content-length", good, "means something else"},
		{"cookies", "cookie", good, "means something else"},
		{"credentials", "Authorization", good, "means something else"},
		{"what the proxy sets itself", "X-Forwarded-For", good, "means something else"},
		{"what the proxy answers", "Sluice-Explain", good, "means something else"},
		{"a short secret", "X-Explain", good[1:], "15 characters; at least 16"},
		{"a secret with a blank", "X-Explain", good + " x", "visible ASCII"},
		{"a secret outside ASCII", "X-Explain", good + "ä", "visible ASCII"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := http1.NewSecret(tt.header, tt.value)
			switch {
			case tt.want == "" && (err != nil || s == nil):
				t.Errorf("NewSecret(%q, %q) = %v, want none", tt.header, tt.value, err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("NewSecret(%q, %q) error = %v, want one with %q", tt.header, tt.value, err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), tt.value) {
				t.Errorf("the error %q tells the secret", err)
			}
		})
	}
}
