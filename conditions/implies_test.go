// SPDX-License-Identifier: Apache-2.0

package conditions_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/sluice-mesh/sluice/conditions"
)

func TestImplies(t *testing.T) {
	for _, tt := range []struct {
		name, text, other string
		want              bool
	}{
		{"a condition implies itself", "host == a", "host is a", true},
		{"tests in another order", "host == a and has cookie b", "has cookie b and host == a", true},
		{"a part of an and", "host == a and has cookie b", "has cookie b", true},
		{"not the other way", "has cookie b", "host == a and has cookie b", false},
		{"one of an or", "has cookie b", "host == a or has cookie b", true},
		{"not an or", "host == a or has cookie b", "has cookie b", false},
		{"double negation", "not (not has cookie b)", "has cookie b", true},
		{"the laws of De Morgan", "not (has cookie a or has cookie b)", "misses cookie a and misses cookie b", true},
		{"distribution", "has cookie a and (has cookie b or has cookie c)", "has cookie a and has cookie b or has cookie a and has cookie c", true},
		{"what never holds implies everything", "host == a and host == b", "has cookie x", true},
		{"everything implies what always holds", "has cookie a", "host == a or host != a", true},
		{"a value needs the cookie", "cookie a has b", "has cookie a", true},
		{"no value needs no cookie", `cookie a has ""`, "has cookie a", false},
		{"a cookie needs no value", "has cookie a", "cookie a has b", false},
		{"an empty cookie is none", `cookie a == ""`, "has cookie a", false},
		{"a regular expression that takes nothing", `cookie a matches "b*"`, "has cookie a", false},
		{"a regular expression that takes something", `cookie a matches "^b"`, "has cookie a", true},
		{"an empty header is one", `header a == ""`, "has header A", true},
		{"names of headers ignore letter case", "header x-a has b", "has header X-A", true},
		{"names of cookies do not", "cookie a has b", "has cookie A", false},
		{"a parameter that is compared is there", `query a == ""`, "has query a", true},
		{"a part of a part", "header a has canary", "header a has can", true},
		{"not a larger part", "header a has can", "header a has canary", false},
		{"equal to a text with a part", "header a == canary", "header a has nar", true},
		{"equal to a text without it", "header a == canary", "header a has x", false},
		{"equal to what a regular expression takes", "path == /a1", `path matches "^/a[0-9]$"`, true},
		{"equal to what it does not take", "path == /ab", `path matches "^/a[0-9]$"`, false},
		{"a longer start", "path starts with /shop/cart", "path starts with /shop", true},
		{"a shorter start", "path starts with /shop", "path starts with /shop/cart", false},
		{"a start with a part", "path starts with /shop/cart", "path has shop", true},
		{"an end with a part", "path ends with cart.jpg", "path has .jpg", true},
		{"a longer end", "path ends with a.jpg", "path ends with .jpg", true},
		{"a regular expression for everything", "header a has b", `header a matches ".*"`, true},
		{"everything starts with nothing", "method == GET", `path starts with ""`, true},
		{"another path", "path == /a", "path != /b", true},
		{"another start", "path starts with /a", "not path starts with /b", true},
		{"another end", "path ends with a", "not path ends with b", true},
		{"a path that starts otherwise", "path == /a", "not path starts with /b", true},
		{"another method", "method == GET", "method != POST", true},
		{"hosts ignore letter case", "host == a.example", "host == A.example", true},
		{"not with a port", "host == a:80", "host == A:80", false},
		{"another host", "host == a", "host != b", true},
		{"a host with a port is another", "host == a:80", "host != a", true},
		{"several headers of a name", "header a == b", "header a != c", false},
		{"several cookies of a name", "cookie a == b", "cookie a != c", false},
		{"several parameters of a name", "query a == b", "query a != c", false},
		{"a browser has a header", "user-agent == Chrome", "has header user-agent", true},
		{"a browser is a part of a header", "user-agent == Chrome", "header user-agent has Chrom", true},
		{"both parts of a browser", "header user-agent has Version and header user-agent has Safari", "user-agent == safari", false},
		{"one browser with two parts", "user-agent == safari", "user-agent == Version", true},
		{"a network in another", "ip in 10.1.0.0/16", "ip in 10.0.0.0/8", true},
		{"not a larger one", "ip in 10.0.0.0/8", "ip in 10.1.0.0/16", false},
		{"an address in a network", "ip == 10.1.1.1", "ip in 10.0.0.0/8", true},
		{"a list in a list", "ip in (10.1.0.0/16, 1.1.1.1)", "ip in (1.1.1.0/24, 10.0.0.0/8, 2.2.2.2)", true},
		{"a list not in a network", "ip in (10.1.0.0/16, 1.1.1.1)", "ip in 10.0.0.0/8", false},
		{"networks apart", "ip in 10.0.0.0/8", "ip not in 11.0.0.0/8", true},
		{"versions of IP", "ip in 0.0.0.0/0", "ip in ::/0", false},
		{"the same ACL", "< path_beg /a > and has cookie b", "< path_beg /a >", true},
		{"another ACL", "< path_beg /a >", "< path_beg /b >", false},
		{"the same program", `expr(path == "a") and has cookie b`, `expr(path == "a")`, true},
		{"another program", `expr(path == "a")`, `expr(path == "b")`, false},
		{"a server name in any letter case", "sni == A.example", "sni == a.EXAMPLE", true},
		{"a name below another", "sni == b.a.example", "sni == *.a.example", true},
		{"names below names below", "sni == *.b.a.example", "sni == *.example", true},
		{"not the other way", "sni == *.example", "sni == *.b.example", false},
		{"a star is an end", "sni == *.a.example", "sni ends with .A.example", true},
		{"another server name", "sni == a.example", "sni != b.example", true},
		{"several protocols", "alpn == a", "alpn != b", false},
		{"several names of a certificate", "client san == a", "client san != b", false},
		{"one subject", "client subject == a", "client subject != b", true},
		{"a certificate is one", "client certificate and has cookie a", "client certificate", true},
		{"a server name is no host", "sni == a.example", "host == a.example", false},
		{"header and cookie differ", "header a has b", "has cookie a", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, decided := mustCompile(t, tt.text).Implies(mustCompile(t, tt.other))
			if got != tt.want || !decided {
				t.Errorf("%q implies %q: %v, %v, want %v, true", tt.text, tt.other, got, decided, tt.want)
			}
		})
	}
}

func TestAlways(t *testing.T) {
	for _, tt := range []struct {
		text          string
		holds, proven bool
	}{
		{"host == a", false, false},
		{"host == a or not host == a", true, true},
		{"host == a or host != a", true, true},
		{"host == a and host == b", false, true},
		{"has cookie a or cookie a has b", false, false},
		{"cookie a has b and misses cookie a", false, true},
		{"has cookie a or not cookie a has b", true, true},
		{`path starts with ""`, true, true},
		{`not path has ""`, false, true},
		{`path matches "^.*$"`, true, true},
		{`header a matches "^.*$"`, false, false},
		{"ip in 10.0.0.0/8 and ip == 11.0.0.1", false, true},
		{"path == /a and path starts with /b", false, true},
		{"header a == b and header a == c", false, false},
		{"(has cookie a and has cookie b) or misses cookie a or misses cookie b", true, true},
	} {
		if holds, proven := mustCompile(t, tt.text).Always(); holds != tt.holds || proven != tt.proven {
			t.Errorf("Always(%q) = %v, %v, want %v, %v", tt.text, holds, proven, tt.holds, tt.proven)
		}
	}
}

func TestImpliesGivesUpOnManyTests(t *testing.T) {
	many := func(n int) string {
		tests := make([]string, n)
		for i := range tests {
			tests[i] = fmt.Sprintf("has cookie c%d", i)
		}
		return strings.Join(tests, " and ")
	}
	for _, tt := range []struct {
		name, text, other string
		implied, decided  bool
	}{
		{"as many as are looked at", many(conditions.MaxCompared), "has cookie c1", true, true},
		{"one more", many(conditions.MaxCompared + 1), "has cookie c1", false, false},
		{"one more in the other", many(conditions.MaxCompared), "has cookie x", false, false},
		{"the same, however many", many(100), many(100), true, true},
		{"the same tests again and again", strings.Repeat("has cookie a and ", 100) + "has cookie b", "has cookie b", true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			implied, decided := mustCompile(t, tt.text).Implies(mustCompile(t, tt.other))
			if implied != tt.implied || decided != tt.decided {
				t.Errorf("Implies = %v, %v, want %v, %v", implied, decided, tt.implied, tt.decided)
			}
		})
	}
	if holds, proven := mustCompile(t, many(conditions.MaxCompared+1)).Always(); holds || proven {
		t.Errorf("Always = %v, %v of too many tests, want nothing proven", holds, proven)
	}
}

func TestImpliesOfTheZeroCondition(t *testing.T) {
	var zero conditions.Condition
	some := mustCompile(t, "host == a")
	if implied, decided := zero.Implies(some); !implied || !decided {
		t.Errorf("the zero Condition, which never holds, implies nothing: %v, %v", implied, decided)
	}
	if implied, decided := some.Implies(&zero); implied || !decided {
		t.Errorf("Implies(zero) = %v, %v, want false, true", implied, decided)
	}
	if holds, proven := zero.Always(); holds || !proven {
		t.Errorf("Always() = %v, %v, want false, true", holds, proven)
	}
}

// TestImpliesIsSound draws conditions from few words, so that many imply each
// other, and requests from the same: no request may contradict what was
// proven.
func TestImpliesIsSound(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 14))
	requests := make([]*staticRequest, 400)
	for i := range requests {
		requests[i] = randomRequest(random)
	}
	rounds, implied, constant := 20_000, 0, 0
	if testing.Short() || raceDetector {
		rounds = 2_000
	}
	for range rounds {
		c, other := mustCompile(t, randomCondition(random, 3)), mustCompile(t, randomCondition(random, 2))
		holds, proven := c.Always()
		follows, _ := c.Implies(other)
		for _, r := range requests {
			held := c.Holds(r)
			if proven && held != holds {
				t.Fatalf("Always(%q) = %v, but not for %+v", c, holds, r)
			}
			if follows && held && !other.Holds(r) {
				t.Fatalf("%q is said to imply %q, but does not for %+v", c, other, r)
			}
		}
		implied += count(follows)
		constant += count(proven)
	}
	if implied < rounds/50 || constant < rounds/100 {
		t.Errorf("of %d pairs %d imply, and %d conditions are constant: too few to show much", rounds, implied, constant)
	}
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

func pick(random *rand.Rand, from ...string) string { return from[random.IntN(len(from))] }

func randomCondition(random *rand.Rand, depth int) string {
	if depth == 0 || random.IntN(4) == 0 {
		return pick(random, "", "", "not ") + randomTest(random)
	}
	x, y := randomCondition(random, depth-1), randomCondition(random, depth-1)
	return pick(random, "", "not ") + "(" + x + pick(random, " and ", " or ") + y + ")"
}

func randomTest(random *rand.Rand) string {
	value := pick(random, "a", "b", "ab", "ba", "aba", `""`, "Safari", "Version")
	if random.IntN(20) == 0 {
		return pick(random, "path", "header X", "cookie x", "query x") + " matches " + pick(random, ".*", "^.*$", "a*", "a?b?", "$", "^a*$")
	}
	relation := pick(random, "==", "!=", "has", "misses", "starts with", "ends with", "matches")
	switch random.IntN(13) {
	case 10:
		return pick(random, "sni ", "sni ", "alpn ", "client subject ", "client san ") + relation + " " + value
	case 11:
		return "sni == " + pick(random, "*.a", "*.b.a", "b.a", "*.A", "c.b.a")
	case 12:
		return "client certificate"
	case 0:
		return "host " + pick(random, "==", "!=") + " " + pick(random, "a", "A", "b", "a:1", "A:1")
	case 1:
		return "user-agent == " + pick(random, "safari", "Safari", "chrome", value)
	case 2, 3:
		return pick(random, "header X", "header x", "cookie x", "query x", "header user-agent") + " " + relation + " " + value
	case 4:
		return pick(random, "has ", "misses ") + pick(random, "header X", "cookie x", "query x", "header user-agent")
	case 5, 6:
		return "path " + relation + " " + value
	case 7:
		return "method " + pick(random, "==", "!=") + " " + value
	case 8:
		return "ip " + pick(random, "", "not ") + "in " + pick(random, "10.0.0.0/8", "10.1.0.0/16", "11.0.0.0/8", "(10.1.0.0/16, 11.0.0.1)", "0.0.0.0/0", "::/0")
	default:
		return "ip " + pick(random, "==", "!=") + " " + pick(random, "10.1.0.1", "11.0.0.1", "::1")
	}
}

func randomRequest(random *rand.Rand) *staticRequest {
	value := func() string {
		return pick(random, "", "a", "b", "ab", "ba", "aba", "bab", "Version/1 Safari/2", "Safari")
	}
	r := newRequest(value()+"x /", "client "+pick(random, "10.1.0.1", "10.2.0.1", "11.0.0.1", "12.0.0.1", "::1", "unknown"))
	r.method, r.target = value(), value()
	for range random.IntN(3) {
		r.target += pick(random, "?", "&") + "x=" + value()
	}
	for _, name := range []string{"X", "User-Agent", "Host"} {
		for range random.IntN(3) {
			r.fields = append(r.fields, field{name, value()})
		}
	}
	r.fields = append(r.fields, field{"Host", pick(random, "a", "A", "b", "a:1", "A:1", "B:1")})
	name := pick(random, "-", "a", "b", "ab", "b.a", "c.b.a", ".a")
	switch random.IntN(4) {
	case 0:
		r.know("hello", name+pick(random, "", " a", " a b", " aba ab"))
	case 1, 2:
		r.know("tls", name+pick(random, "", " a", " aba"))
	}
	if r.conn.TLS != nil && random.IntN(2) == 0 {
		r.know("certificate", pick(random, "a", "b", "ab", "-"))
		r.know("san", pick(random, "a", "b", "ab"))
		r.know("san", pick(random, "a", "ba", "aba"))
		r.conn.TLS.Client.Verified = random.IntN(3) > 0
	}
	for range random.IntN(3) {
		r.fields = append(r.fields, field{"Cookie", "x=" + value() + "; x=" + value()})
	}
	return r
}
