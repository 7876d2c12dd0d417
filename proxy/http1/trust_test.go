// SPDX-License-Identifier: Apache-2.0

package http1

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/conditions"
	"github.com/sluice-mesh/sluice/proxy/live"
	"github.com/sluice-mesh/sluice/routing"
)

func TestNewTrust(t *testing.T) {
	for _, tt := range []struct {
		name    string
		in      []string
		yes, no string // addresses
		wrong   string // what the error names; empty if there is none
	}{
		{"a network", []string{"10.0.0.0/8"}, "10.255.0.1", "11.0.0.1", ""},
		{"a network that is written by one of its addresses", []string{"10.1.2.3/8"}, "10.255.0.1", "11.0.0.1", ""},
		{"an address", []string{"192.0.2.1"}, "192.0.2.1", "192.0.2.2", ""},
		{"IPv6", []string{"2001:db8::/32", " ::1"}, "::1", "2001:db9::1", ""},
		{"IPv4 in IPv6 form is IPv4", []string{"::ffff:10.0.0.0/104", "::ffff:192.0.2.1"}, "192.0.2.1", "11.0.0.1", ""},
		{"a zone does not matter", []string{"fe80::/10"}, "fe80::1%eth0", "::1", ""},
		{"all of IPv4", []string{"0.0.0.0/0"}, "203.0.113.9", "::1", ""},
		{"nobody", nil, "", "127.0.0.1", ""},
		{"a name", []string{"10.0.0.0/8", "localhost"}, "", "", `"localhost"`},
		{"too long a prefix", []string{"10.0.0.0/33"}, "", "", `"10.0.0.0/33"`},
		{"an address with a zone", []string{"fe80::1%eth0"}, "", "", `"fe80::1%eth0"`},
		{"an address with a port", []string{"10.0.0.1:80"}, "", "", `"10.0.0.1:80"`},
		{"nothing", []string{""}, "", "", `""`},
		{"too many", slices.Repeat([]string{"10.0.0.0/8"}, maxTrusted+1), "", "", "1001 networks"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			trust, err := NewTrust(tt.in)
			if tt.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wrong) {
					t.Errorf("NewTrust(%.50q) = %v, want an error that names %s", tt.in, err, tt.wrong)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if tt.yes != "" && !trust.Believes(netip.MustParseAddr(tt.yes)) {
				t.Errorf("%s is not believed", tt.yes)
			}
			if tt.no != "" && trust.Believes(netip.MustParseAddr(tt.no)) {
				t.Errorf("%s is believed", tt.no)
			}
		})
	}
}

func TestParseNode(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1": "192.0.2.1:0", "192.0.2.1:80": "192.0.2.1:80", "192.0.2.1:_hidden": "192.0.2.1:0", "192.0.2.1:70000": "192.0.2.1:0",
		"2001:db8::1": "[2001:db8::1]:0", "[2001:db8::1]": "[2001:db8::1]:0", "[2001:db8::1]:4711": "[2001:db8::1]:4711",
		"::1": "[::1]:0", "::ffff:192.0.2.1": "192.0.2.1:0", "2001:DB8::A": "[2001:db8::a]:0",
		"": "", "unknown": "", "_hidden": "", "a.example": "", "192.0.2": "", "192.0.2.256": "", "192.0.2.01": "", "[192.0.2.1]": "",
		"[::1": "", "::1]": "", "[::1]80": "", "fe80::1%eth0": "", "[fe80::1%eth0]": "", "-1": "", ":": "", "[]": "", "1": "",
	} {
		got := parseNode([]byte(in))
		if text := got.String(); (want != "" || got.IsValid()) && text != want {
			t.Errorf("parseNode(%q) = %s, want %q", in, text, want)
		}
	}
}

// said returns the claims of fields, as a head has them.
func said(t *testing.T, fields string) *claims {
	t.Helper()
	h := headOf(t, fields)
	cl := new(claims)
	cl.take(h)
	return cl
}

func headOf(t *testing.T, fields string) *head {
	t.Helper()
	text := "GET / HTTP/1.1\r\nHost: a.example\r\n" + fields + "\r\n"
	h := new(head)
	if n, reason := h.scanRequest([]byte(text)); n != len(text) {
		t.Fatalf("%q is refused: %v", text, reason)
	}
	return h
}

func trusting(t *testing.T, networks ...string) *Trust {
	t.Helper()
	trust, err := NewTrust(networks)
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

func TestClientBehindTrustedProxies(t *testing.T) {
	const peer = "10.0.0.1"
	for _, tt := range []struct {
		name, fields string
		mode         routing.ForwardedMode
		client, from string
	}{
		{"nothing is said", "", routing.ForwardedX, peer, fromConnection},
		{"one address", "X-Forwarded-For: 203.0.113.9\r\n", routing.ForwardedX, "203.0.113.9", fromList},
		{"one with a port", "X-Forwarded-For: 203.0.113.9:1234\r\n", routing.ForwardedX, "203.0.113.9", fromList},
		{"the rightmost that is not trusted", "X-Forwarded-For: 198.51.100.7, 203.0.113.9, 10.0.0.7\r\n", routing.ForwardedX, "203.0.113.9", fromList},
		{"over two lines", "X-Forwarded-For: 198.51.100.7\r\nX-Forwarded-For: 203.0.113.9, 10.0.0.7\r\n", routing.ForwardedX, "203.0.113.9", fromList},
		{"all are trusted", "X-Forwarded-For: 10.0.0.9, 10.0.0.7\r\n", routing.ForwardedX, "10.0.0.9", fromList},
		{"what is no address ends the way", "X-Forwarded-For: 203.0.113.9, unknown, 10.0.0.7\r\n", routing.ForwardedX, "10.0.0.7", fromList},
		{"at once, too", "X-Forwarded-For: 203.0.113.9, evil\r\n", routing.ForwardedX, peer, fromConnection},
		{"empty members do not count", "X-Forwarded-For: 203.0.113.9, , 10.0.0.7,,\r\n", routing.ForwardedX, "203.0.113.9", fromList},
		{"IPv6", "X-Forwarded-For: 2001:db8::9, [fd00::7]:80\r\n", routing.ForwardedX, "2001:db8::9", fromList},
		{"a way that is too long", "X-Forwarded-For: 203.0.113.9" + strings.Repeat(", 10.0.0.7", maxHops) + "\r\n", routing.ForwardedX, "10.0.0.7", fromList},
		{"Forwarded is not read", "Forwarded: for=203.0.113.9\r\n", routing.ForwardedX, peer, fromConnection},
		{"only Forwarded is read", "Forwarded: for=203.0.113.9\r\nX-Forwarded-For: 198.51.100.7\r\n", routing.ForwardedStandard, "203.0.113.9", fromElements},
		{"several elements", `Forwarded: for=198.51.100.7, for="203.0.113.9:80";proto=https, For="[fd00::7]"` + "\r\n", routing.ForwardedStandard, "203.0.113.9", fromElements},
		{"an element that hides", "Forwarded: for=203.0.113.9, for=_x, for=10.0.0.7\r\n", routing.ForwardedStandard, "10.0.0.7", fromElements},
		{"an element that does not say", "Forwarded: for=203.0.113.9, proto=http\r\n", routing.ForwardedStandard, peer, fromConnection},
		{"a comma in quotes", `Forwarded: for=198.51.100.7;x=", for=192.0.2.1", for=203.0.113.9;y="\"," ` + "\r\n", routing.ForwardedStandard, "203.0.113.9", fromElements},
		{"an escape in an address", `Forwarded: for="203.0.113.\9"` + "\r\n", routing.ForwardedStandard, peer, fromConnection},
		{"a list that is malformed anywhere", "Forwarded: for=, for=203.0.113.9\r\n", routing.ForwardedStandard, peer, fromConnection},
		{"an open quote", `Forwarded: for="203.0.113.9` + "\r\n", routing.ForwardedStandard, peer, fromConnection},
		{"more elements than are followed", "Forwarded: for=203.0.113.9" + strings.Repeat(", for=10.0.0.7", maxHops) + "\r\n", routing.ForwardedStandard, "10.0.0.7", fromElements},
		{"both: X-Forwarded-For counts first", "Forwarded: for=198.51.100.7\r\nX-Forwarded-For: 203.0.113.9\r\n", routing.ForwardedBoth, "203.0.113.9", fromList},
		{"both: Forwarded alone", "Forwarded: for=203.0.113.9\r\n", routing.ForwardedBoth, "203.0.113.9", fromElements},
	} {
		t.Run(tt.name, func(t *testing.T) {
			trust := trusting(t, "10.0.0.0/8", "fd00::/8")
			client, from := trust.client(said(t, tt.fields), netip.MustParseAddrPort(peer+":5000"), tt.mode)
			if client.Addr().String() != tt.client || from != tt.from {
				t.Errorf("the client is %v by %s, want %s by %s", client, from, tt.client, tt.from)
			}
		})
	}
	t.Run("a peer that is not trusted is the client itself", func(t *testing.T) {
		client, from := trusting(t, "10.0.0.0/8").client(said(t, "X-Forwarded-For: 10.0.0.9\r\n"), netip.MustParseAddrPort("192.0.2.1:5000"), routing.ForwardedX)
		if client.String() != "192.0.2.1:5000" || from != fromConnection {
			t.Errorf("the client is %v by %s", client, from)
		}
	})
}

func TestOwnFields(t *testing.T) {
	const all = "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: b.example:443\r\nX-Forwarded-Port: 443\r\nX-Request-Id: theirs\r\n"
	for _, tt := range []struct {
		name, fields string
		mode         routing.ForwardedMode
		want         string
	}{
		{"nothing is said", "", routing.ForwardedX, "X-Forwarded-For: 10.0.0.1|X-Forwarded-Proto: http|X-Forwarded-Port: 80|X-Forwarded-Host: a.example|"},
		{"all is kept, and the address added", all, routing.ForwardedX, "X-Forwarded-For: 203.0.113.9, 10.0.0.1|X-Forwarded-Proto: https|X-Forwarded-Port: 443|X-Forwarded-Host: b.example:443|X-Request-Id: theirs|"},
		{
			"what is not fit is replaced",
			"X-Forwarded-Proto: gopher\r\nX-Forwarded-Host: a b\r\nX-Forwarded-Port: 0\r\nX-Request-Id: a b\r\n",
			routing.ForwardedX, "X-Forwarded-For: 10.0.0.1|X-Forwarded-Proto: http|X-Forwarded-Port: 80|X-Forwarded-Host: a.example|",
		},
		{
			"as is what is empty, or said twice",
			"X-Forwarded-Proto:\r\nX-Forwarded-Host: b\r\nX-Forwarded-Host: c\r\nX-Forwarded-Port:\r\nX-Request-Id: a\r\nX-Request-Id: a\r\n",
			routing.ForwardedX, "X-Forwarded-For: 10.0.0.1|X-Forwarded-Proto: http|X-Forwarded-Port: 80|X-Forwarded-Host: a.example|",
		},
		{"an identifier that is too long is replaced", "X-Request-Id: " + strings.Repeat("x", maxID+1) + "\r\n", routing.ForwardedX, "X-Forwarded-For: 10.0.0.1|X-Forwarded-Proto: http|X-Forwarded-Port: 80|X-Forwarded-Host: a.example|"},
		{"by the standard", all, routing.ForwardedStandard, "Forwarded: for=10.0.0.1;host=a.example;proto=http|X-Request-Id: theirs|"},
		{"by the standard, added to", "Forwarded: for=203.0.113.9;proto=https\r\n", routing.ForwardedStandard, "Forwarded: for=203.0.113.9;proto=https, for=10.0.0.1;host=a.example;proto=http|"},
		{"a malformed list is not added to", "Forwarded: for=203.0.113.9;;=\r\n", routing.ForwardedStandard, "Forwarded: for=10.0.0.1;host=a.example;proto=http|"},
		{
			"by both, each added to", "Forwarded: for=198.51.100.7\r\nX-Forwarded-For: 203.0.113.9\r\n", routing.ForwardedBoth,
			"X-Forwarded-For: 203.0.113.9, 10.0.0.1|X-Forwarded-Proto: http|X-Forwarded-Port: 80|X-Forwarded-Host: a.example|Forwarded: for=198.51.100.7, for=10.0.0.1;host=a.example;proto=http|",
		},
		{
			"by both, of one that came", "X-Forwarded-For: 203.0.113.9, _x, 2001:db8::1\r\n", routing.ForwardedBoth,
			"X-Forwarded-For: 203.0.113.9, _x, 2001:db8::1, 10.0.0.1|X-Forwarded-Proto: http|X-Forwarded-Port: 80|X-Forwarded-Host: a.example|" +
				`Forwarded: for=203.0.113.9, for=unknown, for="[2001:db8::1]", for=10.0.0.1;host=a.example;proto=http|`,
		},
		{
			"by both, of the other one", `Forwarded: for=203.0.113.9, for=_x, for="[2001:db8::1]:80"` + "\r\n", routing.ForwardedBoth,
			"X-Forwarded-For: 203.0.113.9, unknown, 2001:db8::1, 10.0.0.1|X-Forwarded-Proto: http|X-Forwarded-Port: 80|X-Forwarded-Host: a.example|" +
				`Forwarded: for=203.0.113.9, for=_x, for="[2001:db8::1]:80", for=10.0.0.1;host=a.example;proto=http|`,
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			facts := conditions.Conn{Peer: netip.MustParseAddrPort("10.0.0.1:5000"), Local: netip.MustParseAddrPort("10.0.0.2:80")}
			cl := said(t, tt.fields)
			trusting(t, "10.0.0.0/8").client(cl, facts.Peer, tt.mode)
			got := string(appendOwn(nil, cl, &origin{peer: facts.Peer}, &facts, []byte("a.example"), tt.mode))
			if got := strings.ReplaceAll(got, "\r\n", "|"); got != tt.want {
				t.Errorf("of %q becomes\n%s\nwant\n%s", tt.fields, got, tt.want)
			}
		})
	}
	t.Run("IPv6 and a host with a port", func(t *testing.T) {
		facts := conditions.Conn{Peer: netip.MustParseAddrPort("[2001:db8::1]:5000"), TLS: new(conditions.TLS)}
		want := `Forwarded: for="[2001:db8::1]";host="a.example:8080";proto=https` + "\r\n"
		if got := string(appendOwn(nil, new(claims), &origin{peer: facts.Peer}, &facts, []byte("a.example:8080"), routing.ForwardedStandard)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// What only trusted proxies may set stays out of sight otherwise, and other
// fields of the family pass.
func TestTakeLeavesOthers(t *testing.T) {
	h := headOf(t, "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Prefix: /p\r\nX-Real-IP: 203.0.113.9\r\nX_Forwarded_For: evil\r\nX_Real-IP: evil\r\nSluice-Route: x\r\nProxy: http://evil\r\nForwarded: for=evil\r\n")
	new(claims).take(h)
	var kept []string
	for i := range h.fields {
		if f := &h.fields[i]; f.kind == kindOther {
			kept = append(kept, string(h.bytes(f.name)))
		}
	}
	if want := []string{"X-Forwarded-Prefix", "X-Real-IP"}; !slices.Equal(kept, want) {
		t.Errorf("kept are %q, want %q", kept, want)
	}
}

func FuzzWayOfClient(f *testing.F) {
	for _, s := range []string{
		"for=192.0.2.1", `for="[2001:db8::1]:80";proto=https;host="a.example:80", for=_x`, `For="\"", ,;for=10.0.0.1;by=x`,
		"for=10.0.0.1" + strings.Repeat(",for=10.0.0.2", 40), `for="`, "for", "for=a;for=b", "=;,",
	} {
		f.Add(s, "203.0.113.9, 10.0.0.7")
	}
	f.Add("", "203.0.113.9, unknown, [::1]:80,,::ffff:10.0.0.1")
	trust, _ := NewTrust([]string{"10.0.0.0/8"})
	peer := netip.MustParseAddrPort("10.0.0.1:5000")
	f.Fuzz(func(t *testing.T, elements, list string) {
		for mode := range routing.ForwardedBoth + 1 {
			text := "GET / HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: " + list + "\r\nForwarded: " + elements + "\r\n\r\n"
			var h head
			if n, _ := h.scanRequest([]byte(text)); n != len(text) {
				return
			}
			var cl claims
			cl.take(&h)
			client, from := trust.client(&cl, peer, mode)
			if !client.IsValid() || (from == fromConnection) != (client == peer) {
				t.Fatalf("the client is %v by %s", client, from)
			}
			facts := conditions.Conn{Client: client, Peer: peer}
			own := appendOwn(nil, &cl, &origin{peer: facts.Peer}, &facts, []byte("a.example:80"), mode)
			readsBack(t, trust, own, client, mode)
		}
	})
}

// readsBack checks that the next proxy finds the same client in our fields, if
// it trusts us too, as long as the way is not too long for it.
func readsBack(t *testing.T, trust *Trust, own []byte, client netip.AddrPort, mode routing.ForwardedMode) {
	t.Helper()
	text := "GET / HTTP/1.1\r\nHost: a.example\r\n" + string(own) + "\r\n"
	var h head
	if n, reason := h.scanRequest([]byte(text)); n != len(text) {
		if reason != live.HeadTooLarge {
			t.Fatalf("what we send is refused: %q: %v", text, reason)
		}
		return
	}
	var cl claims
	cl.take(&h)
	if mode != routing.ForwardedX && (!cl.parsed.read(cl.elements) || cl.parsed.count == 0) {
		t.Fatalf("our Forwarded is malformed: %q", own)
	}
	again, _ := trust.client(&cl, netip.MustParseAddrPort("10.0.0.2:5000"), mode)
	if strings.Count(string(own), ",") < maxHops-1 && again.Addr() != client.Addr() {
		t.Errorf("the next proxy takes %v for the client, not %v, of %q", again, client, own)
	}
}
