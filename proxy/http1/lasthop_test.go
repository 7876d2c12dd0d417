// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"math/big"
	"strings"
	"testing"
)

func TestCountDown(t *testing.T) {
	for _, tt := range []struct {
		name, number, want string
		zero               bool
	}{
		{"one digit", "5", "4", false},
		{"the last one", "1", "0", false},
		{"none left", "0", "0", true},
		{"none left in many digits", "000", "000", true},
		{"a digit less", "10", " 9", false},
		{"two nines", "100", " 99", false},
		{"in the middle", "1200", "1199", false},
		{"zeros in front stay", "0010", "0009", false},
		{"more digits than any integer has", "1" + strings.Repeat("0", 40), " " + strings.Repeat("9", 40), false},
		{"nothing", "", "", false},
		{"a sign", "+5", "+5", false},
		{"a list", "5, 5", "5, 5", false},
		{"letters", "five", "five", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := []byte(tt.number)
			if zero := countDown(b); zero != tt.zero || string(b) != tt.want {
				t.Errorf("countDown(%q) = %v and leaves %q, want %v and %q", tt.number, zero, b, tt.zero, tt.want)
			}
		})
	}
}

func FuzzCountDown(f *testing.F) {
	for _, s := range []string{"0", "1", "10", "007", "1000000000000000000000", "x", "-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b := []byte(s)
		zero := countDown(b)
		if s == "" || strings.Trim(s, "0123456789") != "" {
			if zero || string(b) != s {
				t.Errorf("%q is no number: %v, %q", s, zero, b)
			}
			return
		}
		before, _ := new(big.Int).SetString(s, 10)
		after, ok := new(big.Int).SetString(strings.TrimPrefix(string(b), " "), 10)
		if !ok {
			t.Fatalf("countDown(%q) leaves %q", s, b)
		}
		if zero != (before.Sign() == 0) || !zero && before.Sub(before, after).Cmp(big.NewInt(1)) != 0 {
			t.Errorf("countDown(%q) = %v and leaves %q", s, zero, b)
		}
	})
}
