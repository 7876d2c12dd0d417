// SPDX-License-Identifier: Apache-2.0

package routing_test

import (
	"bytes"
	"crypto/tls"
	"net/netip"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/conditions"
	"github.com/sluice-mesh/sluice/routing"
	"github.com/sluice-mesh/sluice/routing/routingtest"
)

// formatRequest is a request with something for each fetch.
func formatRequest() *routingtest.Request {
	r := routingtest.NewRequest("PUT", "Shop.example:8080", "/a%2Fb/C?x=1&y=a+b&x=2&z",
		"X-One: 1", "X-List: a, \"b, c\", d", "X-List: e", "Cookie: s=1; t=\"2\"", "Cookie: s=3;t", "X-Enc: a%20b%0d%0a", "X-Empty:")
	*r.Conn() = conditions.Conn{
		Client: netip.MustParseAddrPort("[fe80::1%eth0]:1234"),
		Local:  netip.MustParseAddrPort("192.0.2.1:9050"),
		TLS:    &conditions.TLS{Version: tls.VersionTLS13},
	}
	return r
}

func TestFormat(t *testing.T) {
	for _, tt := range []struct{ name, format, want string }{
		{"a text stands for itself", "/v2/(a,b)", "/v2/(a,b)"},
		{"nothing stands for nothing", "", ""},
		{"a doubled percent sign is one", "100%%", "100%"},
		{"a percent sign before two digits is one", "/a%2Fb%20", "/a%2Fb%20"},
		{"path", "/v2%[path]", "/v2/a%2Fb/C"},
		{"query", "%[query]", "x=1&y=a+b&x=2&z"},
		{"path and query", "%[pathq]", "/a%2Fb/C?x=1&y=a+b&x=2&z"},
		{"url", "%[url]", "/a%2Fb/C?x=1&y=a+b&x=2&z"},
		{"base", "%[base]", "Shop.example:8080/a%2Fb/C"},
		{"method", "%[method]", "PUT"},
		{"the host is the one that the request is for", "%[hdr(host)]", "Shop.example:8080"},
		{"a header, in any letter case", "%[hdr(x-ONE)]", "1"},
		{"of a list the last member", "%[hdr(x-list)]", "e"},
		{"a member from the first on", "%[hdr(x-list,2)]", `"b, c"`},
		{"a member counted from the last", "%[req.hdr(x-list,-2)]", "d"},
		{"no such member", "%[hdr(x-list,5)]|%[hdr(x-list,-5)]", "|"},
		{"the last line", "%[fhdr(x-list)]", "e"},
		{"a line", "%[req.fhdr(x-list,1)]", `a, "b, c", d`},
		{"a header that is not there", "-%[hdr(x-none)]-", "--"},
		{"an empty header", "-%[hdr(x-empty)]-", "--"},
		{"the last cookie of a name", "%[cook(s)]%[req.cook(t)]", `3"2"`},
		{"a cookie that is not there", "%[cook(u)]", ""},
		{"the first parameter of a name, as sent", "%[url_param(x)]%[urlp(y)]", "1a+b"},
		{"a parameter without value", "-%[urlp(z)]-", "--"},
		{"a parameter that is not there", "-%[urlp(w)]-", "--"},
		{"the client's address, without zone", "%[src] %[src_port]", "fe80::1 1234"},
		{"the address connected to", "%[dst]:%[dst_port]", "192.0.2.1:9050"},
		{"whether the connection is encrypted", "%[ssl_fc]", "1"},
		{"lower", "%[hdr(host),lower]", "shop.example:8080"},
		{"upper", "%[path,upper]", "/A%2FB/C"},
		{"url_dec", "%[path,url_dec]", "/a/b/C"},
		{"url_enc", "%[fhdr(x-list,1),url_enc]", "a%2C%20%22b%2C%20c%22%2C%20d"},
		{"field", "%[hdr(host),field(1,:)]|%[hdr(host),field(2,:)]|%[hdr(host),field(3,:)]", "Shop.example|8080|"},
		{"field, counted from the last, by any delimiter", `%[path,field(-1,"/%")]|%[path,field(-2,"/%")]|%[path,field(-9,/)]`, "C|2Fb|"},
		{"regsub replaces the first match", "%[path,regsub(^/a%2F,/)]", "/b/C"},
		{"regsub leaves alone what does not match", "%[path,regsub(^/z,/)]", "/a%2Fb/C"},
		{"regsub with groups", `%[path,regsub('^/([^%]*)%2F(.)(x)?','/\2/\1\3[\0]')]`, "/b/a[/a%2Fb]/C"},
		{"regsub of all matches, in any letter case", "%[path,regsub([ABC],x,gi)]", "/x%2Fx/x"},
		{"regsub of empty matches ends", "%[hdr(x-one),regsub(z*,-,g)]", "-1-"},
		{"several converters, from left to right", "%[path,url_dec,upper,field(-1,/)]", "C"},
		{"a quoted argument may have commas, parentheses and brackets", `%[fhdr(x-list,1),regsub('"b, (c)"','[\1]')]`, "a, [c], d"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := routing.ParseFormat(tt.format)
			if err != nil {
				t.Fatal(err)
			}
			if got, ok := f.Append([]byte("> "), formatRequest()); string(got) != "> "+tt.want || !ok {
				t.Errorf("%s becomes %q, %v, want %q", tt.format, got, ok, tt.want)
			}
			if f.String() != tt.format {
				t.Errorf("String() = %q, want %q", f, tt.format)
			}
		})
	}
}

func TestFormatOfOddTargets(t *testing.T) {
	for _, tt := range []struct{ name, target, want string }{
		{"a target without path has the path /", "?a=b", "/|a=b|/?a=b"},
		{"an empty target has the path /", "", "/||/"},
		{"the target of OPTIONS * has no path", "*", "||"},
		{"an empty query is none", "/a?", "/a||/a"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := routing.ParseFormat("%[path]|%[query]|%[pathq]")
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := f.Append(nil, routingtest.NewRequest("GET", "h", tt.target)); string(got) != tt.want {
				t.Errorf("%q becomes %q, want %q", tt.target, got, tt.want)
			}
		})
	}
}

func TestFormatThatCannotBeFilledIn(t *testing.T) {
	long := routingtest.NewRequest("GET", "h", "/", "X-Long: "+strings.Repeat("ab", 5000))
	for _, tt := range []struct {
		name, format string
		request      *routingtest.Request
	}{
		{"a line end", "%[hdr(x-enc),url_dec]", formatRequest()},
		{"an escape that is none", "%[hdr(bad),url_dec]", routingtest.NewRequest("GET", "h", "/", "Bad: %2")},
		{"a text that is too long", "%[hdr(x-long)]%[hdr(x-long)]", long},
		{"a text that a converter makes too long", `%[hdr(x-long),regsub(a,xxxxxxxxxx,g)]`, long},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := routing.ParseFormat(tt.format)
			if err != nil {
				t.Fatal(err)
			}
			if got, ok := f.Append([]byte("> "), tt.request); ok || string(got) != "> " {
				t.Errorf("%s becomes %.40q, %v, want nothing", tt.format, got, ok)
			}
		})
	}
}

func TestFormatsThatAreRefused(t *testing.T) {
	for _, tt := range []struct{ name, format, want string }{
		{"a percent sign alone", "/a%", "offset 2: a percent sign stands alone; write %[path] and the like, %% for a percent sign, or %XX for a byte"},
		{"a variable of another form", "%ci", "offset 0: a percent sign stands alone; write %[path] and the like, %% for a percent sign, or %XX for a byte"},
		{"a fetch that is not known", "/%[pth]", `offset 3: nothing called "pth" can be taken from a request; did you mean path?`},
		{"a fetch of an answer", "%[res.hdr(a)]", `offset 2: nothing called "res.hdr" can be taken from a request; did you mean req.hdr?`},
		{"a converter that is not known", "%[path,lowr]", `offset 7: there is no converter "lowr"; did you mean lower?`},
		{"a name is missing", "%[hdr]", `offset 2: "hdr" needs a name; write hdr(NAME) or hdr(NAME,N)`},
		{"a name is empty", "%[cook()]", `offset 2: "cook" needs a name; write cook(NAME)`},
		{"a name that no header can have", "%[hdr(a b)]", `offset 6: "a b" is no name of a header`},
		{"an occurrence that is none", "%[hdr(a,0)]", `offset 8: "0" is no occurrence; from 1 on, or from -1 to -10 counted from the last`},
		{"too many arguments", "%[cook(a,b)]", `offset 9: "cook" has too many arguments; write cook(NAME)`},
		{"arguments where none belong", "%[path(a)]", `offset 7: "path" takes no arguments`},
		{"arguments of a converter that takes none", "%[path,lower(a)]", `offset 13: "lower" takes no arguments`},
		{"a bracket that is not closed", "/a%[path", "offset 2: %[ is not closed; add ]"},
		{"a parenthesis that is not closed", "%[hdr(a", `offset 5: "(" is not closed; add )`},
		{"a quote that is not closed", "%[hdr('a)]", "offset 6: the quote is not closed"},
		{"something behind a quote", "%[hdr('a'b)]", `offset 9: "b" stands behind a quote; a comma or )`},
		{"something behind a sample", "%[hdr(a)b]", `offset 8: "b" stands here; a comma and a converter, or ]`},
		{"a line end", "a\nb", "offset 1: a character that is not printable ASCII stands here; write it as %XX, byte by byte"},
		{"a letter beyond ASCII", "/caf\u00e9", "offset 4: a character that is not printable ASCII stands here; write it as %XX, byte by byte"},
		{"field without delimiters", "%[path,field(1)]", "offset 7: field has two arguments; write field(N,DELIMITERS) with N from 1 on, or from -1 on from the last"},
		{"field number 0", "%[path,field(0,/)]", `offset 13: "0" is no number of a field; write field(N,DELIMITERS) with N from 1 on, or from -1 on from the last`},
		{"regsub without replacement", "%[path,regsub(a)]", "offset 7: regsub has two or three arguments; write regsub(REGEXP,WITH) or regsub(REGEXP,WITH,gi)"},
		{"a regular expression that is none", "%[path,regsub([,x)]", "offset 14: error parsing regexp: missing closing ]: `[`"},
		{"a regular expression that Go lacks", "%[path,regsub('a(?=b)',x)]", "offset 15: error parsing regexp: invalid or unsupported Perl syntax: `(?=`"},
		{"a regular expression that is too complex", "%[path,regsub('((a{20}){20}|(b{20}){20}){2}',x)]", "offset 15: the regular expression is too complex"},
		{"a group that there is not", `%[path,regsub(a,\1)]`, `offset 16: "\\1" names a group that the regular expression does not have`},
		{"flags that are none", "%[path,regsub(a,b,x)]", `offset 18: "x" are no flags: g replaces all matches, i ignores letter case`},
		{"a text that is too long", strings.Repeat("a", 5000), "offset 0: the text is too long; at most 4096 bytes"},
		{"too many parts", strings.Repeat("%[path]", 65), "offset 0: the text has too many parts; at most 64"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := routing.ParseFormat(tt.format)
			if err == nil {
				t.Fatalf("ParseFormat(%q) = %v, want an error", tt.format, f)
			}
			if err.Error() != tt.want {
				t.Errorf("ParseFormat(%q):\n got %s\nwant %s", tt.format, err, tt.want)
			}
		})
	}
}

func TestFormatDoesNotAllocate(t *testing.T) {
	for _, text := range []string{
		"/v2%[path]", "%[hdr(x-list)] %[fhdr(x-list,1)] %[cook(s)] %[urlp(y)]", "https://%[hdr(host),field(1,:),lower]%[pathq]",
		"%[src] %[dst]:%[dst_port]", "%[path,url_dec]",
	} {
		f, err := routing.ParseFormat(text)
		if err != nil {
			t.Fatal(err)
		}
		var r conditions.Request = formatRequest()
		b := make([]byte, 0, 1024)
		if n := testing.AllocsPerRun(100, func() { b, _ = f.Append(b[:0], r) }); n != 0 {
			t.Errorf("%s: %v allocations, want 0", text, n)
		}
	}
}

// What a format makes of a request never has what could end a line of a head,
// whatever the format and the request are.
func FuzzFormat(f *testing.F) {
	for _, seed := range []string{
		"/v2%[path]", "%[hdr(x),url_dec]", "%[query,url_enc,upper]", `%[path,regsub('^/(a)?','\1%',gi)]`, "%[cook(a),field(-2,/)]%%%20", "%[fhdr(x,-3)]",
	} {
		f.Add(seed, "/a%0d%0a?b=c", "a, \"b\\\"", "a%0D%0Ab")
	}
	f.Fuzz(func(t *testing.T, text, target, list, value string) {
		format, err := routing.ParseFormat(text)
		if err != nil {
			if err.Offset < 0 || err.Offset > len(text) || err.Problem == "" {
				t.Errorf("ParseFormat(%q): %+v", text, err)
			}
			return
		}
		r := routingtest.NewRequest("GET", value, target, "X: "+list, "X: "+value, "Cookie: "+value)
		got, ok := format.Append([]byte("before"), r)
		if !bytes.HasPrefix(got, []byte("before")) || !ok && len(got) != len("before") {
			t.Fatalf("%q changed what stood before: %q, %v", text, got, ok)
		}
		if bytes.ContainsAny(got, "\r\n\x00\x7f") || len(got) > 17<<10 {
			t.Errorf("%q of %q, %q, %q becomes %q", text, target, list, value, got)
		}
	})
}
