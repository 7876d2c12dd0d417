// SPDX-License-Identifier: Apache-2.0

package remember_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/discovery/remember"
)

// text returns what writes s.
func text(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

// broken writes a part and fails.
func broken(w io.Writer) error {
	_, _ = io.WriteString(w, "a part")
	return errors.New("no more")
}

func TestWhatIsKept(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		before string // in the file; empty means that there is none
		take   func(io.Writer) error
		want   string
		lost   bool
	}{
		{"what is known at the end is written", "", text("new"), "new", false},
		{"it takes the place of what was known before", "old", text("new"), "new", false},
		{"nothing new leaves the file as it is", "old", nil, "old", false},
		{"nothing new makes no file", "", nil, "", false},
		{"what cannot be written whole leaves the file as it is", "old", broken, "old", true},
		{"what cannot be written whole makes no file", "", broken, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			dir := t.TempDir()
			lost := false
			k := remember.Keeper{
				Path: filepath.Join(dir, "known.json"), Log: slog.New(slog.NewTextHandler(&log, nil)),
				Take: func() func(io.Writer) error { return tt.take },
				Lost: func() { lost = true },
			}
			if tt.before != "" {
				if err := os.WriteFile(k.Path, []byte(tt.before), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, end := k.Start(t.Context())
			end()
			got, err := os.ReadFile(k.Path)
			if err != nil && (tt.want != "" || !errors.Is(err, os.ErrNotExist)) {
				t.Fatal(err)
			}
			if string(got) != tt.want || lost != tt.lost {
				t.Errorf("the file holds %q and lost is %t, want %q and %t", got, lost, tt.want, tt.lost)
			}
			if told := strings.Contains(log.String(), "what is known is not remembered"); told != tt.lost {
				t.Errorf("the log says %q", log.String())
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "*.new")); len(left) > 0 {
				t.Errorf("%v is left behind", left)
			}
			if info, err := os.Stat(k.Path); err == nil && info.Mode().Perm() != 0o600 {
				t.Errorf("the file has mode %v, want 0600", info.Mode().Perm())
			}
		})
	}
}

func TestWhatIsKnownIsWrittenAtOnceWhenItIsAll(t *testing.T) {
	t.Parallel()
	written := make(chan struct{}, 2)
	k := remember.Keeper{
		Path: filepath.Join(t.TempDir(), "known.json"), Log: slog.New(slog.DiscardHandler), Lost: func() {},
		Take: func() func(io.Writer) error {
			return func(io.Writer) error {
				written <- struct{}{}
				return nil
			}
		},
	}
	full, end := k.Start(t.Context())
	defer end()
	full()
	<-written
}

func TestNothingIsKeptWithoutAPath(t *testing.T) {
	t.Parallel()
	k := remember.Keeper{Take: func() func(io.Writer) error {
		t.Error("it is asked what is known")
		return nil
	}}
	full, end := k.Start(t.Context())
	full()
	end()
}
