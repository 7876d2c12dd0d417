// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"testing"
	"time"
)

// When memory is given back cannot be forced from outside without making
// hundreds of megabytes at a certain pace.
func TestMemoryIsGivenBackWhenMuchMoreIsHeldThanUsed(t *testing.T) {
	const mb = 1 << 20
	type look struct {
		after time.Duration // since the look before
		use
		due  bool
		then use // once memory was given back
	}
	quiet := func(live, objects, free uint64) use {
		return use{live: live * mb, objects: objects * mb, free: free * mb}
	}
	for _, tt := range []struct {
		name  string
		looks []look
	}{
		{"a small heap is left alone", []look{{use: quiet(4, 6, 1)}, {after: time.Hour, use: quiet(4, 6, 2)}}},
		{"a table that has come leaves much behind", []look{{use: quiet(90, 150, 90), due: true, then: quiet(85, 85, 1)}}},
		{"garbage between two collections is none of that", []look{
			{use: quiet(90, 150, 90), due: true, then: quiet(85, 85, 1)},
			{after: time.Hour, use: quiet(85, 105, 1)},
			{after: time.Hour, use: quiet(86, 106, 5)},
		}},
		{"a large heap that is busy is not collected every minute", []look{
			{use: quiet(400, 700, 90), due: true, then: quiet(400, 400, 1)},
			{after: 2 * time.Minute, use: quiet(401, 443, 5)},
			{after: 2 * time.Minute, use: quiet(400, 443, 50)},
		}},
		{"while much is made it waits, but not for ever", []look{
			{use: use{live: 90 * mb, objects: 200 * mb, made: 100 * mb}},
			{after: time.Second, use: use{live: 90 * mb, objects: 220 * mb, made: 110 * mb}},
			{after: time.Second, use: use{live: 90 * mb, objects: 220 * mb, made: 111 * mb}, due: true, then: quiet(85, 85, 1)},
		}},
		{"not twice in a short time", []look{
			{use: quiet(90, 200, 90), due: true, then: quiet(85, 85, 1)},
			{after: time.Second, use: quiet(90, 300, 90)},
			{after: time.Minute, use: quiet(90, 300, 90), due: true, then: quiet(85, 85, 1)},
		}},
		{"later each time if it was in vain", []look{
			{use: quiet(90, 200, 90), due: true, then: quiet(190, 280, 9)},
			{after: 31 * time.Second, use: quiet(190, 300, 90), due: true, then: quiet(190, 380, 9)},
			{after: 16 * time.Second, use: quiet(190, 300, 90)},
			{after: 31 * time.Second, use: quiet(190, 300, 90), due: true, then: quiet(190, 200, 1)},
			{after: 16 * time.Second, use: quiet(190, 300, 90), due: true, then: quiet(190, 200, 1)},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p pace
			now := time.Unix(1_800_000_000, 0)
			for i, l := range tt.looks {
				now = now.Add(l.after)
				got := p.due(l.use, now)
				if got != l.due {
					t.Fatalf("look %d at %+v: due = %t, want %t", i, l.use, got, l.due)
				}
				if got {
					p.returned(l.use, l.then, now)
				}
			}
		})
	}
}

func TestMemoryIsGivenBackWhileMuchIsMadeAllTheTime(t *testing.T) {
	var p pace
	now := time.Unix(1_800_000_000, 0)
	for i := 1; ; i++ {
		now = now.Add(time.Second)
		if p.due(use{live: 90 << 20, objects: 300 << 20, made: uint64(i) * 100 << 20}, now) {
			break
		}
		if i > patience {
			t.Fatalf("after %d looks it still waits", i)
		}
	}
}
