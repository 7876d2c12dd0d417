// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"testing"

	"github.com/sluice-mesh/sluice/control/client"
	"github.com/sluice-mesh/sluice/routing"
)

func TestParseWeight(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       routing.Weight
		refused    bool
	}{
		{"a whole percentage", "50%", 5000, false},
		{"the sign may be left out", "50", 5000, false},
		{"blanks do not count", " 7 % ", 700, false},
		{"a tenth of a percent", "0.1%", 10, false},
		{"a hundredth of a percent", "12.34", 1234, false},
		{"the whole", "100%", routing.FullWeight, false},
		{"nothing", "0", 0, false},
		{"more than the whole is refused", "100.01", 0, true},
		{"less than a hundredth of a percent is refused", "0.001%", 0, true},
		{"a sign is refused", "-1", 0, true},
		{"a plus is refused", "+1", 0, true},
		{"a point without a digit is refused", "1.", 0, true},
		{"a point without a whole is refused", ".5", 0, true},
		{"no number is refused", "half", 0, true},
		{"an empty text is refused", "", 0, true},
		{"two signs are refused", "5%%", 0, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := client.ParseWeight(tt.text)
			if got != tt.want || (err != nil) != tt.refused {
				t.Errorf("ParseWeight(%q) = %v, %v; want %v, refused %v", tt.text, got, err, tt.want, tt.refused)
			}
		})
	}
}

// FuzzParseWeight holds that what is read is a weight, and that the text of a
// weight is read as that weight.
func FuzzParseWeight(f *testing.F) {
	for _, text := range []string{"50%", "12.5", "0.01%", "100", "1e2", "٣"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		w, err := client.ParseWeight(text)
		if err != nil {
			return
		}
		if w < 0 || w > routing.FullWeight {
			t.Errorf("ParseWeight(%q) = %d, which is no weight", text, w)
		}
		if again, err := client.ParseWeight(w.String()); err != nil || again != w {
			t.Errorf("ParseWeight(%q) = %v, %v; want %v", w.String(), again, err, w)
		}
	})
}
