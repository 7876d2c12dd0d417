// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"errors"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/routing"
)

func TestChunksOverALimit(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		most       int64
		taken      string
		err        error
	}{
		{"as much as is allowed", "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 5, "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", nil},
		{"a chunk too much is not begun", "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 4, "3\r\nabc\r\n", errTooLong},
		{"the first chunk is too much", "fffffffffffffff\r\n", 4, "", errTooLong},
		{"no limit", "fffffffffffffff\r\nabc", 0, "fffffffffffffff\r\nabc", nil},
		{"what frames the content does not count", "1;a=b\r\nx\r\n0\r\nA: long\r\n\r\n", 1, "1;a=b\r\nx\r\n0\r\nA: long\r\n\r\n", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := chunks{most: tt.most}
			n, err := c.take([]byte(tt.body))
			if tt.body[:n] != tt.taken || !errors.Is(err, tt.err) {
				t.Errorf("take(%q) = %q, %v; want %q, %v", tt.body, tt.body[:n], err, tt.taken, tt.err)
			}
		})
	}
}

// However the limits of a head and of its reader differ, it is refused for
// the same reason.
func TestExceedsAgreesWithTheScan(t *testing.T) {
	wide := routing.Entry{Head: 256 << 10, Fields: 1000, Target: 128 << 10}
	narrow := routing.Entry{Head: 1 << 10, Fields: 10, Target: 100}
	head := func(target string, fields int, value string) string {
		return "GET " + target + " HTTP/1.1\r\nHost: a\r\n" + strings.Repeat("A: "+value+"\r\n", fields-1) + "\r\n"
	}
	for _, tt := range []struct {
		name, head string
		want       live.Reason
	}{
		{"it fits", head("/", 10, "b"), live.None},
		{"a field too much", head("/", 11, "b"), live.HeadTooLarge},
		{"the longest target", head("/"+strings.Repeat("a", 99), 2, "b"), live.None},
		{"a target that is too long", head("/"+strings.Repeat("a", 100), 2, "b"), live.TargetTooLong},
		{"the host in a target counts", head("http://a/"+strings.Repeat("a", 92), 2, "b"), live.TargetTooLong},
		{"the largest head", head("/", 2, strings.Repeat("b", 1<<10-len(head("/", 2, "")))), live.None},
		{"a byte too much", head("/", 2, strings.Repeat("b", 1<<10-len(head("/", 2, ""))+1)), live.HeadTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := headWithin(&wide)
			if n, reason := h.scanRequest([]byte(tt.head)); n == 0 || reason != live.None {
				t.Fatalf("by wide limits: %d, %v", n, reason)
			}
			if got := h.exceeds(&narrow); got != tt.want {
				t.Errorf("exceeds: %v, want %v", got, tt.want)
			}
			h = headWithin(&narrow)
			if _, got := h.scanRequest([]byte(tt.head)); got != tt.want {
				t.Errorf("by narrow limits: %v, want %v", got, tt.want)
			}
		})
	}
}

func headWithin(e *routing.Entry) *head { return &head{entry: e} }
