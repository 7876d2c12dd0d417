// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/control/auth"
)

// failing is a file that cannot be written to, or not to its end.
type failing struct {
	bytes.Buffer
	write, end error
	closed     int
}

func (f *failing) Write(p []byte) (int, error) {
	if f.write != nil {
		return 0, f.write
	}
	return f.Buffer.Write(p)
}

func (f *failing) Close() error {
	f.closed++
	return f.end
}

// A token that nobody has got does not count.
func TestTokensThatAreNotWrittenAreTakenBack(t *testing.T) {
	full := errors.New("no space left on device")
	join := auth.Token{Kind: auth.Join, Namespaces: []string{"a/b"}}
	for _, tt := range []struct {
		name       string
		write, end error
		token      auth.Token
		made       int
	}{
		{"one that is written counts", nil, nil, join, 1},
		{"one that cannot be written does not", full, nil, join, 1},
		{"nor one whose file cannot be closed", nil, full, join, 1},
		{"nor one that cannot be made", nil, full, auth.Token{}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tokens := auth.NewTokens(auth.DirVault(t.TempDir()), nil)
			w := &failing{write: tt.write, end: tt.end}
			made, err := issueTo(t.Context(), w, tokens, tt.token, time.Hour)
			if want := errors.Join(tt.write, tt.end); (err == nil) != (want == nil) || want != nil && !errors.Is(err, full) {
				t.Errorf("issueTo() error = %v, want %v", err, want)
			}
			if w.closed != 1 {
				t.Errorf("it was closed %d times", w.closed)
			}
			list, listErr := tokens.List(t.Context())
			if listErr != nil || len(list) != tt.made {
				t.Fatalf("List() = %+v, %v; want %d", list, listErr, tt.made)
			}
			for _, one := range list {
				if one.Revoked.IsZero() != (err == nil) {
					t.Errorf("the token is %+v, and the error %v", one, err)
				}
			}
			if err == nil && made.ID != list[0].ID {
				t.Errorf("issueTo() = %+v, want %+v", made, list[0])
			}
		})
	}
}

func TestQuoted(t *testing.T) {
	for word, want := range map[string]string{
		"pki/control": "pki/control", "a.example,[::1]": "'a.example,[::1]'", "*": "'*'", "my pki": "'my pki'",
		"": "''", "it's": `'it'\''s'`, "$(x)": "'$(x)'", "grün": "'grün'",
	} {
		if got := quoted(word); got != want {
			t.Errorf("quoted(%q) = %s, want %s", word, got, want)
		}
	}
}
