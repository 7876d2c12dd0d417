// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"slices"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/proxy/live"
)

// upgradeHead scans a request with the fields.
func upgradeHead(t *testing.T, version, fields string) *head {
	t.Helper()
	h := new(head)
	raw := "GET / " + version + "\r\nHost: a\r\n" + fields + "\r\n"
	if n, reason := h.scanRequest([]byte(raw)); n != len(raw) || reason != live.None {
		t.Fatalf("scanRequest(%q) = %d, %v", raw, n, reason)
	}
	return h
}

func TestWhatIsAskedFor(t *testing.T) {
	for _, tt := range []struct {
		name, version, fields, want string // empty: nothing is asked for
	}{
		{"a protocol that Connection names", "HTTP/1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\n", "websocket"},
		{"in any letter case, among others", "HTTP/1.1", "connection: keep-alive ,\tuPGRADE\r\nupgrade: WebSocket\r\n", "WebSocket"},
		{"in several lines, with versions", "HTTP/1.1", "Connection: x\r\nConnection: upgrade\r\nUpgrade: a/1 , ,b\r\nUpgrade: SPDY/3.1\r\n", "a/1, b, SPDY/3.1"},
		{"not one that Connection does not name", "HTTP/1.1", "Connection: close\r\nUpgrade: websocket\r\n", ""},
		{"not without Connection", "HTTP/1.1", "Upgrade: websocket\r\n", ""},
		{"not without a protocol", "HTTP/1.1", "Connection: upgrade\r\n", ""},
		{"not with an empty one", "HTTP/1.1", "Connection: upgrade\r\nUpgrade: ,\r\n", ""},
		{"not in HTTP/1.0", "HTTP/1.0", "Connection: upgrade\r\nUpgrade: websocket\r\n", ""},
		{"nothing that carries HTTP", "HTTP/1.1", "Connection: upgrade\r\nUpgrade: h2c, H2C, h2, HTTP/2.0, tls/1.2, TLS\r\n", ""},
		{"only what does not", "HTTP/1.1", "Connection: upgrade\r\nUpgrade: h2c, h2cc, websocket\r\n", "h2cc, websocket"},
		{"nothing malformed", "HTTP/1.1", "Connection: upgrade\r\nUpgrade: a b, /1, a/, a/1/2, a;q=1\r\n", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := upgradeHead(t, tt.version, tt.fields)
			if h.upgrade != (tt.want != "") {
				t.Errorf("upgrade = %v, want %q asked for", h.upgrade, tt.want)
			}
			if !h.upgrade {
				return
			}
			w := &work{head: *h}
			const more = "X-More: 1\r\n"
			if got, want := string(w.ask([]byte(more))), "Connection: Upgrade\r\nUpgrade: "+tt.want+"\r\n"+more; got != want {
				t.Errorf("ask() = %q, want %q", got, want)
			}
		})
	}
}

func TestWhatIsAgreedTo(t *testing.T) {
	const asked = "Connection: Upgrade\r\nUpgrade: websocket, foo/1\r\n"
	for _, tt := range []struct {
		name, asked, status, fields string
		want                        bool
	}{
		{"what was asked for", asked, "HTTP/1.1 101", "Connection: upgrade\r\nUpgrade: websocket\r\n", true},
		{"in other letters", asked, "HTTP/1.1 101", "Connection: upgrade\r\nUpgrade: WebSocket\r\n", true},
		{"one after the other", asked, "HTTP/1.1 101", "Connection: upgrade\r\nUpgrade: foo/1, websocket\r\n", true},
		{"not another version", asked, "HTTP/1.1 101", "Connection: upgrade\r\nUpgrade: foo/2\r\n", false},
		{"not another one beside", asked, "HTTP/1.1 101", "Connection: upgrade\r\nUpgrade: websocket, bar\r\n", false},
		{"not one that carries HTTP beside", asked, "HTTP/1.1 101", "Connection: upgrade\r\nUpgrade: websocket, h2c\r\n", false},
		{"not nothing", asked, "HTTP/1.1 101", "Connection: upgrade\r\n", false},
		{"not what Connection does not name", asked, "HTTP/1.1 101", "Upgrade: websocket\r\n", false},
		{"not in HTTP/1.0", asked, "HTTP/1.0 101", "Connection: upgrade\r\nUpgrade: websocket\r\n", false},
		{"not by another status", asked, "HTTP/1.1 200", "Connection: upgrade\r\nUpgrade: websocket\r\n", false},
		{"not what was never asked for", "", "HTTP/1.1 101", "Connection: upgrade\r\nUpgrade: websocket\r\n", false},
		{"not what was dropped", "Connection: upgrade\r\nUpgrade: h2c\r\n", "HTTP/1.1 101", "Connection: upgrade\r\nUpgrade: h2c\r\n", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := &work{head: *upgradeHead(t, "HTTP/1.1", tt.asked)}
			if w.head.upgrade {
				w.ask(nil)
			}
			raw := tt.status + " X\r\n" + tt.fields + "\r\n"
			w.answer.most = len(raw)
			if n, reason := w.answer.scanResponse([]byte(raw)); n != len(raw) || reason != live.None {
				t.Fatalf("scanResponse(%q) = %d, %v", raw, n, reason)
			}
			if got := w.switches(); got != tt.want {
				t.Errorf("switches() = %v, want %v", got, tt.want)
			}
		})
	}
}

// FuzzUpgrade checks that what is sent on of any Upgrade fields is read back
// as the same list, of protocols that may pass and no others.
func FuzzUpgrade(f *testing.F) {
	f.Add("websocket", "h2c, foo/1")
	f.Add(" , a/b/c", "TLS/1.0,x\t")
	f.Add("Web Socket,;", "http")
	f.Fuzz(func(t *testing.T, first, second string) {
		raw := "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: " + first + "\r\nUpgrade: " + second + "\r\n\r\n"
		var h, again head
		if n, reason := h.scanRequest([]byte(raw)); n != len(raw) || reason != live.None {
			return
		}
		var want []string
		for member := range strings.SplitSeq(first+","+second, ",") {
			member = strings.Trim(member, " \t")
			name, version, _ := strings.Cut(strings.ToLower(member), "/")
			carries := slices.Contains([]string{"h2c", "h2", "http", "tls"}, name)
			if name != "" && !carries && !strings.ContainsAny(name+version, " \t\"(),/:;<=>?@[\\]{}") &&
				!strings.HasSuffix(member, "/") && isASCII(member) {
				want = append(want, member)
			}
		}
		if h.upgrade != (len(want) > 0) {
			t.Fatalf("upgrade = %v for %q, want %q asked for", h.upgrade, raw, want)
		}
		out, list := appendUpgrade(nil, &h)
		if string(out[list.from:list.to]) != strings.Join(want, ", ") {
			t.Errorf("%q is sent on as %q, want %q", raw, out, want)
		}
		sent := "GET / HTTP/1.1\r\nHost: a\r\n" + string(out) + "\r\n"
		if n, reason := again.scanRequest([]byte(sent)); reason == live.None && (n != len(sent) || again.upgrade != h.upgrade) {
			t.Errorf("%q is sent on as %q, which is read otherwise", raw, out)
		}
	})
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
