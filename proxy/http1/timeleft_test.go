// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/proxy/socket"
	"github.com/sluice-mesh/sluice/routing"
)

func TestTheTimeLeftIsTheShorterOneOfBoth(t *testing.T) {
	for _, tt := range []struct {
		name, fields string
		total, want  time.Duration
	}{
		{"nothing is said", "", time.Minute, time.Minute},
		{"nothing is said, and there is no total", "", routing.Never, routing.Never},
		{"less is left", "Sluice-Timeout-Ms: 250\r\n", time.Minute, 250 * time.Millisecond},
		{"more is left", "Sluice-Timeout-Ms: 250000\r\n", time.Minute, time.Minute},
		{"there is no total", "sluice-timeout-MS: 1\r\n", routing.Never, time.Millisecond},
		{"zeros do not count", "Sluice-Timeout-Ms: 0250\r\n", time.Minute, 250 * time.Millisecond},
		{"the longest time", "Sluice-Timeout-Ms: 999999999\r\n", routing.Never, 999999999 * time.Millisecond},
		{"nothing is left", "Sluice-Timeout-Ms: 0\r\n", time.Minute, time.Minute},
		{"too many digits", "Sluice-Timeout-Ms: 0000000001\r\n", time.Minute, time.Minute},
		{"more than can be counted", "Sluice-Timeout-Ms: 99999999999999999999\r\n", time.Minute, time.Minute},
		{"no number", "Sluice-Timeout-Ms: soon\r\n", time.Minute, time.Minute},
		{"a unit", "Sluice-Timeout-Ms: 250ms\r\n", time.Minute, time.Minute},
		{"a sign", "Sluice-Timeout-Ms: +250\r\n", time.Minute, time.Minute},
		{"a fraction", "Sluice-Timeout-Ms: 2.5\r\n", time.Minute, time.Minute},
		{"a list", "Sluice-Timeout-Ms: 250, 250\r\n", time.Minute, time.Minute},
		{"no value", "Sluice-Timeout-Ms:\r\n", time.Minute, time.Minute},
		{"two lines", "Sluice-Timeout-Ms: 250\r\nSluice-Timeout-Ms: 250\r\n", time.Minute, time.Minute},
		{"a twin with underscores", "Sluice_Timeout_Ms: 250\r\n", time.Minute, time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := headOf(t, tt.fields)
			var cl claims
			cl.take(h)
			if got := cl.within(tt.total); got != tt.want {
				t.Errorf("%q within %v: %v, want %v", tt.fields, tt.total, got, tt.want)
			}
			out := appendRequest(nil, h, nil, new(edits), 0)
			if text := strings.ToLower(string(out)); strings.Contains(text, "timeout") {
				t.Errorf("%q goes through as it came: %q", tt.fields, out)
			}
		})
	}
}

func TestTheTimeLeftIsToldAnew(t *testing.T) {
	const rest = "\r\n\r\nthe content"
	w := newWork()
	w.now = int64(time.Hour)
	w.end = w.now + int64(12345*time.Millisecond)
	w.out = append(w.out, "GET / HTTP/1.1\r\n\r\n"...)
	w.tellTimeLeft()
	w.out = append(w.out, rest[4:]...)
	for _, tt := range []struct {
		after time.Duration
		want  string
	}{
		{0, "12345"},
		{time.Millisecond - 1, "12344"},
		{3 * time.Second, "9345"},
		{3 * time.Second, "9345"},
		{12 * time.Second, "345"},
		{12344 * time.Millisecond, "1"},
		{12345*time.Millisecond - 1, "1"},
		{time.Minute, "1"},
	} {
		w.now = int64(time.Hour + tt.after)
		w.retellTimeLeft()
		if want := "GET / HTTP/1.1\r\nSluice-Timeout-Ms: " + tt.want + rest; string(w.out) != want {
			t.Errorf("after %v: %q, want %q", tt.after, w.out, want)
		}
	}
}

func TestAnAttemptMayNotTakeLongerThanIsLeft(t *testing.T) {
	w := newWork()
	w.now = socket.Now()
	for _, tt := range []struct {
		left, want time.Duration
	}{
		{0, w.bounds.Connect}, // no end
		{time.Hour, w.bounds.Connect},
		{time.Second, time.Second},
		{-time.Second, time.Millisecond},
	} {
		w.end = 0
		if tt.left != 0 {
			w.end = w.now + int64(tt.left)
		}
		if got := w.reachWithin(); got != tt.want {
			t.Errorf("%v left: an attempt may take %v, want %v", tt.left, got, tt.want)
		}
	}
}

func FuzzTimeLeft(f *testing.F) {
	for _, s := range []string{"", "0", "1", "250", "999999999", "1000000000", "-1", "1e3", "18446744073709551617"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		left, ok := parseTimeLeft(b)
		if validTimeLeft(b) != ok {
			t.Fatalf("%q is valid: %v", b, !ok)
		}
		if !ok {
			return
		}
		if left < time.Millisecond || left > 999999999*time.Millisecond {
			t.Fatalf("%q is %v", b, left)
		}
		if told := string(appendTimeLeft(nil, int64(left))); told != strings.TrimLeft(string(b), "0") {
			t.Errorf("%q is told as %q", b, told)
		}
	})
}
