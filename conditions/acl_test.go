// SPDX-License-Identifier: Apache-2.0

package conditions_test

import (
	"crypto/tls"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mesh/sluice/conditions"
)

// aclRequest is a request with all that ACLs may ask.
type aclRequest struct {
	*staticRequest
	method, target string
}

// newACLRequest makes a request of "METHOD TARGET" and lines of its header.
func newACLRequest(first string, header ...string) *aclRequest {
	method, target, _ := strings.Cut(first, " ")
	r := &aclRequest{newRequest(header...), method, target}
	r.conn.Client = netip.MustParseAddrPort("127.0.0.1:40001")
	r.conn.Local = netip.MustParseAddrPort("127.0.0.1:8080")
	return r
}

func (r *aclRequest) Method() string { return r.method }
func (r *aclRequest) Target() string { return r.target }

func mustParseACL(tb testing.TB, text string) conditions.ACL {
	tb.Helper()
	a, err := conditions.ParseACL(text)
	if err != nil {
		tb.Fatalf("ParseACL(%q) error = %v", text, err)
	}
	return a
}

// TestACLHolds reads testdata/acl.txt: a comment names what its cases show;
// of the lines with ">" the first is the method and target of a request, the
// others are its header; below each ACL stands whether it holds. HAProxy
// confirms all of them in the tests of package peers.
func TestACLHolds(t *testing.T) {
	runCases(t, "testdata/acl.txt", func(given []string, text string) string {
		r := newACLRequest(given[0], given[1:]...)
		a := mustParseACL(t, text)
		held := a.Holds(r)
		if traced, saw := a.Trace(r); traced != held {
			t.Errorf("%q holds: %v, but its trace says %v and %q", text, held, traced, saw)
		}
		if canonical := mustParseACL(t, a.String()); canonical.Holds(r) != held {
			t.Errorf("%q holds: %v, but %q does not agree", text, held, canonical)
		}
		return strconv.FormatBool(held)
	})
}

// TestACLParse reads testdata/acl_parse.txt: a comment names what its texts
// show; below each text stands the canonical form, or the refusal.
func TestACLParse(t *testing.T) {
	runCases(t, "testdata/acl_parse.txt", func(_ []string, text string) string {
		a, err := conditions.ParseACL(text)
		if err != nil {
			return refusal(t, text, err)
		}
		if again := mustParseACL(t, a.String()); !again.Equal(a) || again.String() != a.String() {
			t.Errorf("ParseACL(%q) = %q, which is read as %q", text, a, again)
		}
		return a.String()
	})
}

func TestACLWords(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"any white space parts words", " path\t-i\n/a\r\n/b\f", "path -i /a /b"},
		{"escapes stand for white space", `path a\ b\tc\nd\re`, `path a\ b\x09c\x0ad\x0de`},
		{"within double quotes, too", `path "a\tb c"`, `path a\x09b\ c`},
		{"not within single ones", `path 'a\tb'`, `path 'a\tb'`},
		{"a tab may be escaped", "path a\\\tb", `path a\x09b`},
		{"a backslash at the end stands for itself", `path a\`, `path 'a\'`},
		{"before most characters it does as well", `path_reg \.\d\[\$`, `path_reg '\.\d\[\$'`},
		{"bytes may be written in hexadecimal", `path \xC3\xa9\x20\x23`, `path \xc3\xa9\ \#`},
		{"angle brackets are", `path '<a>'`, `path \x3ca\x3e`},
		{"arguments resolve quotes and escapes once more", `str('"a\\b\"c\n"') 'x'`, `'str("a\\b\"c\n")' x`},
		{"and leave other escapes alone", `str('\x41\d') x`, `'str("\\x41\\d")' x`},
		{"they may hold what ends arguments", `str(\"a)b,c\") x`, `'str("a)b,c")' x`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := mustParseACL(t, tt.text)
			if a.String() != tt.want {
				t.Errorf("ParseACL(%q) = %s, want %s", tt.text, a, tt.want)
			}
			if again := mustParseACL(t, tt.want); !again.Equal(a) || again.String() != tt.want {
				t.Errorf("ParseACL(%q) = %s, want the same", tt.want, again)
			}
		})
	}
}

func TestACLBounds(t *testing.T) {
	repeat := strings.Repeat
	for _, tt := range []struct {
		name, text string
		problem    string // empty if the text is read
	}{
		{"the longest text is read", "path " + repeat("a ", 200) + repeat(" ", 8<<10-405), ""},
		{"a longer one is refused", "path " + repeat("a", 8<<10), "too long"},
		{"64 KB are refused", repeat("{ path /a } or ", 64<<10/15), "too long"},
		{"one that is too long in canonical form is refused", "path" + repeat(" "+repeat("<", 1000), 3), "canonical"},
		{"the most values are read", "path" + repeat(" a", 256), ""},
		{"more are refused", "path" + repeat(" a", 257), "too many values"},
		{"the longest value is read", "path " + repeat("a", 1<<10), ""},
		{"a longer one is refused", "path " + repeat("a", 1<<10+1), "too long"},
		{"the most tests are read", repeat("TRUE ", 64), ""},
		{"more are refused", repeat("TRUE ", 65), "too many tests"},
		{"the most converters are read", "path" + repeat(",lower", 16) + " a", ""},
		{"more are refused", "path" + repeat(",lower", 17) + " a", "too many converters"},
		{"a thousand braces are refused", repeat("{ ", 1000) + repeat("} ", 1000), "brace"},
		{"bytes that are not UTF-8 are refused", "path \xff", "not UTF-8"},
		{"a regexp that blows up is refused", "path_reg " + repeat("(", 150) + "a" + repeat("){2}", 150), "repeat count"},
		{"one with a big class repeated is refused", `path_reg \pL{30}`, "too big"},
		{"one with many classes is refused", "path_reg " + repeat(`\pL`, 340), "too many classes"},
		{"many with a class each are refused", "path_reg" + repeat(` \pL`, 40), "too big together"},
		{"many big ones are refused", "path_reg" + repeat(" "+repeat("a{30}", 15), 20), "too big together"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Now()
			_, err := conditions.ParseACL(tt.text)
			// What has no bound takes minutes; a busy machine may halt for a second.
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("took %v", took)
			}
			switch {
			case tt.problem == "" && err != nil:
				t.Errorf("ParseACL(%.60q) error = %v", tt.text, err)
			case tt.problem != "" && (err == nil || !strings.Contains(err.Error(), tt.problem)):
				t.Errorf("ParseACL(%.60q) error = %v, want one about %q", tt.text, err, tt.problem)
			}
		})
	}
}

func TestACLSeesTheConnection(t *testing.T) {
	r := newACLRequest("GET /")
	r.conn = conditions.Conn{
		Client: netip.MustParseAddrPort("[::ffff:10.1.2.3]:40001"),
		Local:  netip.MustParseAddrPort("[fd00::1]:8443"),
		TLS:    &conditions.TLS{ServerName: "shop.example", Version: tls.VersionTLS13, ALPN: "h2"},
	}
	tcp := &aclRequest{staticRequest: &staticRequest{}}
	for _, tt := range []struct {
		text       string
		want, bare bool // of a request with TLS, of one of which nothing is known
	}{
		{"src 10.0.0.0/8", true, false},
		{"src -m str 10.1.2.3", true, false},
		{"src_port 40001", true, false},
		{"dst fd00::1", true, false},
		{"dst fd00::/8", true, false},
		{"dst_port 8443", true, false},
		{"dst_port 1:1024", false, false},
		{"ssl_fc", true, false},
		{"!{ ssl_fc }", false, true},
		{"ssl_fc_sni shop.example", true, false},
		{"ssl_fc_sni_end .example", true, false},
		{"ssl_fc_sni -m found", true, false},
		{"ssl_fc_alpn h2", true, false},
		{"ssl_fc_protocol TLSv1.3", true, false},
		{"ssl_fc_protocol TLSv1.2 TLSv1.1 TLSv1", false, false},
		{"HTTP", true, false},
		{"path -m found", true, false},
		{"base -m found", true, false},
		{"urlp -m found", false, false},
		{"always_true", true, true},
	} {
		t.Run(tt.text, func(t *testing.T) {
			a := mustParseACL(t, tt.text)
			if got := a.Holds(r); got != tt.want {
				t.Errorf("%q holds: %v, want %v", a, got, tt.want)
			}
			if got := a.Holds(tcp); got != tt.bare {
				t.Errorf("%q holds: %v of a request of which nothing is known, want %v", a, got, tt.bare)
			}
		})
	}
}

func TestACLProtocolNamesOldVersions(t *testing.T) {
	r := newACLRequest("GET /")
	for version, name := range map[uint16]string{tls.VersionTLS10: "TLSv1", tls.VersionTLS11: "TLSv1.1", tls.VersionTLS12: "TLSv1.2"} {
		r.conn.TLS = &conditions.TLS{Version: version}
		if !mustParseACL(t, "ssl_fc_protocol "+name).Holds(r) {
			t.Errorf("version %x is not %s", version, name)
		}
	}
	r.conn.TLS = &conditions.TLS{Version: 0x0305}
	if mustParseACL(t, "ssl_fc_protocol -m found").Holds(r) {
		t.Error("a version that nobody knows has a name")
	}
}

// TestACLRand walks over draws at the borders of all values.
func TestACLRand(t *testing.T) {
	r := newACLRequest("GET /")
	five, all := mustParseACL(t, "rand(100) lt 5"), mustParseACL(t, "rand ge 4294967295")
	const draws = 1 << 32
	for value := range uint64(100) {
		first := (value*draws + 99) / 100
		last := ((value+1)*draws+99)/100 - 1
		for _, draw := range []uint64{first, (first + last) / 2, last} {
			r.random = uint32(draw)
			if got, want := five.Holds(r), value < 5; got != want {
				t.Errorf("%q holds: %v for draw %d, want %v", five, got, draw, want)
			}
			if got, want := all.Holds(r), draw == draws-1; got != want {
				t.Errorf("%q holds: %v for draw %d, want %v", all, got, draw, want)
			}
		}
	}
}

// TestACLAddsNegativeNumbers shows what HAProxy 2.6 gets wrong, and numbers
// at the end of their range.
func TestACLAddsNegativeNumbers(t *testing.T) {
	r := newACLRequest("GET /")
	for _, text := range []string{
		"int(-5),add(-1),neg 6",
		"int(-5),sub(1),neg 6",
		"int(-5),sub(-1),neg 4",
		"int(-9223372036854775807),add(-9),cpl 9223372036854775807",
		"int(-1),sub(-9223372036854775808) 9223372036854775807",
		"int(0),sub(-9223372036854775808) 9223372036854775807",
		"int(-9223372036854775808),div(-1) 9223372036854775807",
		"int(-9223372036854775808),mod(-1) 0",
		"int(-9223372036854775808),neg 9223372036854775807",
		"int(-9223372036854775808),mul(1),cpl 9223372036854775807",
	} {
		a := mustParseACL(t, text)
		if holds, saw := a.Trace(r); !holds {
			t.Errorf("%q does not hold; it sees %s", text, saw)
		}
	}
}

func TestACLTrace(t *testing.T) {
	r := newACLRequest("GET /a?b=1", "Host: shop.example", "X: a, b", "Long: "+strings.Repeat("x", 1000), "Bin: \xff\x01", "List: "+strings.Repeat("item, ", 100))
	for _, tt := range []struct {
		name, text string
		holds      bool
		saw        string
	}{
		{"a text is quoted", "path /a", true, `"/a"`},
		{"all values up to the one that matches are shown", "hdr(x) b", true, `"a", "b"`},
		{"those after it are not", "hdr(x) a", true, `"a"`},
		{"converters show what they made", "hdr(x),upper -m beg B", true, `"A", "B"`},
		{"what is not there is said so", "hdr(none) a", false, "not there"},
		{"what cannot be converted is not there", "path,field(9,/) a", false, "not there"},
		{"numbers stand as they are", "hdr_cnt(x) gt 5", false, "2"},
		{"so do booleans", "ssl_fc", false, "false"},
		{"and addresses", "src 10.0.0.0/8", false, "127.0.0.1"},
		{"a negated test shows what it saw", "!{ path /b }", true, `"/a"`},
		{"several tests are told apart", "METH_GET { hdr(x),length 7 } or { urlp(b) 1 }", true, `method is "GET"; hdr(X),length is 1, 1; urlp(b) is "1"`},
		{"tests that need not be asked are not", "METH_POST { path /a } or TRUE", true, `method is "GET"; always_true is true`},
		{"odd bytes are escaped", "req.fhdr(bin) a", false, `"\xff\x01"`},
		{"a long text is cut", "hdr(long) a", false, `"` + strings.Repeat("x", 196) + "..."},
		{"a long list is cut", "hdr(list) a", false, strings.Repeat(`"item", `, 25)[:197] + "..."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := mustParseACL(t, tt.text)
			holds, saw := a.Trace(r)
			if holds != tt.holds || saw != tt.saw {
				t.Errorf("trace of %q = %v, %s\nwant %v, %s", a, holds, saw, tt.holds, tt.saw)
			}
			if len(saw) > 200 {
				t.Errorf("trace of %q has %d bytes", a, len(saw))
			}
		})
	}
}

func TestACLEqual(t *testing.T) {
	for _, tt := range []struct {
		name, a, b string
		want       bool
	}{
		{"other spellings are equal", "hdr_beg(host) -i www.", "{ req.hdr(HOST) -m beg -i  'www.' }", true},
		{"other values are not", "path /a", "path /b", false},
		{"another order of values is not", "path /a /b", "path /b /a", false},
		{"letter case of values counts", "path -i /a", "path -i /A", false},
		{"a flag counts", "path /a", "path -i /a", false},
		{"a flag without effect does not", "hdr_cnt(x) 1", "hdr_cnt(x) -i 1", true},
		{"negation counts", "{ path /a }", "!{ path /a }", false},
		{"double negation does not", "{ path /a }", "!!{ path /a }", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := mustParseACL(t, tt.a).Equal(mustParseACL(t, tt.b)); got != tt.want {
				t.Errorf("%q equals %q: %v, want %v", tt.a, tt.b, got, tt.want)
			}
		})
	}
	var none conditions.ACL
	if none.Equal(mustParseACL(t, "TRUE")) {
		t.Error("no ACL equals one")
	}
}

func TestLooksLikeACL(t *testing.T) {
	for text, want := range map[string]bool{
		"hdr(host) a":           true,
		"hdr_sub(user-agent) A": true,
		"hdrr(host) a":          true,
		"path_bgr /a":           true,
		"path,lwer a":           true,
		"req.hdr(x) a":          true,
		"req.body_len gt 5":     true,
		"url_ip_beg a":          true,
		"  path":                true,
		"{ foo }":               true,
		"{foo}":                 true,
		"!{ foo }":              true,
		"METH_GET":              true,
		"METH_GTE":              true,
		"":                      false,
		"host == a":             false,
		"header x has a":        false,
		"cookie a has b":        false,
		"user-agent == a":       false,
		"has header x":          false,
		"not has cookie b":      false,
		"foo == bar":            false,
		"<path /a>":             false,
		"(path /a)":             false,
		"expr(1 == 1)":          false,
	} {
		if got := conditions.LooksLikeACL(text); got != want {
			t.Errorf("LooksLikeACL(%q) = %v, want %v", text, got, want)
		}
	}
}

// TestACLScratch shows that what does not fit into the scratch fails, and
// that the rest does without one.
func TestACLScratch(t *testing.T) {
	for _, tt := range []struct {
		name string
		size int
		fits bool
	}{
		{"8 KB are converted", 8 << 10, true},
		{"more is not", 8<<10 + 1, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newACLRequest("GET /"+strings.Repeat("A", tt.size-1), "Host: ", "X: "+strings.Repeat("B", tt.size))
			for _, text := range []string{"path,lower -m end a", "path,upper -m end A", "path,url_dec -m end A", "base -m end A"} {
				if got := mustParseACL(t, text).Holds(r); got != tt.fits {
					t.Errorf("%q holds: %v, want %v", text, got, tt.fits)
				}
			}
			for _, text := range []string{"path_end A", "path_end -i a", "path_len ge 8192", "hdr_sub(x) -i bbb", "hdr(x),length ge 8192", "hdr(x),field(1,_) -m beg B"} {
				if !mustParseACL(t, text).Holds(r) {
					t.Errorf("%q does not hold", text)
				}
			}
		})
	}
}

// TestACLRegexpSeesABoundedInput: time is linear in the input, so that
// bounds it.
func TestACLRegexpSeesABoundedInput(t *testing.T) {
	a := mustParseACL(t, "hdr_reg(x) b$")
	for size, want := range map[int]bool{8<<10 - 1: true, 8 << 10: false} {
		if got := a.Holds(newACLRequest("GET /", "X: "+strings.Repeat("a", size)+"b")); got != want {
			t.Errorf("%q holds: %v after %d bytes, want %v", a, got, size, want)
		}
	}
}

// aclBenchmarks are one ACL of each kind.
var aclBenchmarks = []struct{ name, text string }{
	{"hdr", "hdr(host) -i shop.example"},
	{"hdr list", "hdr(accept-language) en;q=0.3"},
	{"hdr_sub", "hdr_sub(user-agent) Firefox"},
	{"hdr_sub -i", "hdr_sub(user-agent) -i firefox"},
	{"hdr_dom", "hdr_dom(host) example"},
	{"hdr_reg", "hdr_reg(user-agent) Firefox/[0-9]+"},
	{"hdr_cnt", "hdr_cnt(x-stage) gt 0"},
	{"hdr_val", "hdr_val(dnt) 1"},
	{"hdr_ip", "hdr_ip(x-forwarded-for) 10.0.0.0/8"},
	{"hdr last", "hdr(accept-language,-1) en;q=0.3"},
	{"hdr absent", "hdr(x-none) -m found"},
	{"fhdr", "req.fhdr(x-stage) canary"},
	{"cook", "cook(beta) on"},
	{"cook_cnt", "cook_cnt(beta) 1"},
	{"urlp", "urlp(page) 2"},
	{"path", "path /shop/cart"},
	{"path_beg", "path_beg /shop /static /images"},
	{"path_end -i", "path_end -i .JPG .png"},
	{"path_dir", "path_dir cart"},
	{"url", "url /"},
	{"query", "query -m found"},
	{"base", "base_beg shop.example/"},
	{"method", "method GET HEAD"},
	{"src", "src 10.0.0.0/8 192.168.0.0/16 fd00::/8"},
	{"src text", "src -m beg 127."},
	{"dst_port", "dst_port 8080"},
	{"ssl_fc", "ssl_fc"},
	{"ssl_fc_sni", "ssl_fc_sni -m found"},
	{"ssl_c_s_dn", "ssl_c_s_dn -m sub /CN=cart"},
	{"ssl_c_s_dn(cn)", "ssl_c_s_dn(cn) cart"},
	{"req.ssl_alpn", "req.ssl_alpn -m sub h2"},
	{"rand", "rand(100) lt 5"},
	{"lower", "path,lower -m beg /shop"},
	{"url_dec", "url,url_dec -m sub cart"},
	{"field", "path,field(2,/) shop"},
	{"word", "path,word(-1,/) cart"},
	{"bytes", "path,bytes(1,4) -m str shop"},
	{"length", "path,length,mod(7) 3"},
	{"condition", "METH_GET { path_beg /shop } !{ hdr(x-stage) blue } or { src 10.0.0.0/8 }"},
}

func aclBrowserRequest() *aclRequest {
	r := newACLRequest("GET /shop/cart?page=2&sort=price")
	secured(r.staticRequest)
	r.fields = slices.Concat(browserRequest().fields, []field{{"X-Forwarded-For", "192.168.1.1, 10.1.2.3"}})
	return r
}

func TestACLHoldsDoesNotAllocate(t *testing.T) {
	var r conditions.Request = aclBrowserRequest()
	for _, tt := range aclBenchmarks {
		a := mustParseACL(t, tt.text)
		var held bool
		n := testing.AllocsPerRun(100, func() { held = a.Holds(r) != held })
		if n != 0 && (!raceDetector || !strings.Contains(tt.text, "reg")) {
			t.Errorf("%q allocates %v times", tt.text, n)
		}
	}
}

func BenchmarkACL(b *testing.B) {
	var r conditions.Request = aclBrowserRequest()
	for _, bb := range aclBenchmarks {
		b.Run(bb.name, func(b *testing.B) {
			a := mustParseACL(b, bb.text)
			b.ReportAllocs()
			for b.Loop() {
				a.Holds(r)
			}
		})
	}
}

func BenchmarkACLParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		mustParseACL(b, "METH_GET { hdr(host),lower -m end .example.com } or { src 10.0.0.0/8 }")
	}
}
