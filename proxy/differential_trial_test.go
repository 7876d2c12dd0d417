// SPDX-License-Identifier: Apache-2.0

package proxy_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// trial is one exchange: the bytes that a client sends, and those that the
// origin answers with. It is a function of a seed and an index. The index
// travels in the authority of the request, which no proxy may change.
//
// Not generated, since the proxy refuses them on purpose though a server might
// take them: no Host or an empty one, CONNECT, codings but chunked, the fields
// in singletons twice, trailers that frame or route, heads over the limits.
type trial struct {
	index  int
	method string
	old    bool // the client speaks HTTP/1.0
	keep   bool // the client lets the connection go on
	head   []byte
	body   []byte // as framed
	pieces []int  // in which the client sends
	waits  bool   // the body is not sent before the answer 100
	denied bool   // nor after it, for there is none
	joins  bool   // is sent without waiting for the answers before, where it can be
	answer script // to a request of HTTP/1.1
	older  script // to one of HTTP/1.0
}

// script is what the origin does with a request.
type script struct {
	interim []byte // answers 1xx, before the request's body is read
	joined  bool   // they come with the final answer instead
	final   []byte
	early   int // bytes of final that are sent before the request's body is read
	closes  bool
	pieces  []int
}

// dice draws what a trial consists of.
type dice struct{ *rand.Rand }

func newTrial(seed uint64, index int) *trial {
	d := dice{rand.New(rand.NewPCG(seed, uint64(index)))} //nolint:gosec // reproducible on purpose
	t := &trial{index: index, old: d.chance(15), joins: d.chance(40)}
	t.method = d.method()
	fields := d.fields(requestFields, 24<<10)
	var framed bool
	if t.method != "TRACE" && (d.chance(40) || t.method == "POST") {
		fields, framed = d.requestBody(t, fields), true
	}
	t.keep, fields = d.clientOptions(t, fields)
	target, fields := d.target(t, fields)
	version := "HTTP/1.1"
	if t.old {
		version = "HTTP/1.0"
	}
	stray := ""
	if d.chance(3) {
		stray = strings.Repeat("\r\n", 1+d.IntN(3))
	}
	if framed && len(t.body) > 0 && d.chance(12) {
		fields = d.put(fields, d.line("Expect", oneOf(d, "100-continue", "100-Continue")))
		t.waits = !t.old && d.chance(80)
		t.denied = t.waits && d.chance(25)
	}
	t.head = wireHead(stray+t.method+" "+target+" "+version, fields)
	t.pieces = d.pieces(len(t.head), len(t.body))
	d.answer(t)
	return t
}

func wireHead(start string, fields []string) []byte {
	return []byte(start + "\r\n" + strings.Join(append(slices.Clip(fields), "", ""), "\r\n"))
}

func (d dice) chance(percent float64) bool { return d.Float64()*100 < percent }

// upTo returns a number from low to high.
func (d dice) upTo(low, high int) int { return low + d.IntN(high-low+1) }

func oneOf[T any](d dice, from ...T) T { return from[d.IntN(len(from))] }

// put puts a line at some place among others.
func (d dice) put(fields []string, line string) []string {
	return slices.Insert(fields, d.IntN(len(fields)+1), line)
}

const (
	tokenBytes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~"
	pathBytes  = "abcdefghijklmnopqrstuvwxyz0123456789/-._~%!$&'()*+,;=:@?ABC\"<>\\^`{|}[]\x80\xc3\xa4\xff"
)

// text draws n bytes of an alphabet.
func (d dice) text(alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[d.IntN(len(alphabet))]
	}
	return string(b)
}

func (d dice) method() string {
	switch n := d.IntN(100); {
	case n < 35:
		return "GET"
	case n < 55:
		return "POST"
	case n < 65:
		return "HEAD"
	case n < 90:
		return oneOf(d, "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND", "M-SEARCH", "QUERY", "get", "Head", "PURGE")
	case n < 99:
		return d.token(d.upTo(1, 20))
	}
	return d.token(d.upTo(40, 100))
}

// token draws a token that means nothing.
func (d dice) token(n int) string {
	for {
		s := d.text(tokenBytes, n)
		if !slices.Contains(knownNames, strings.ToLower(s)) {
			return s
		}
	}
}

// knownNames are those that a token must not hit by chance: they may stand
// once in a head, or frame a message, or are no name for a method.
var knownNames = []string{
	"connect", "host", "content-length", "transfer-encoding", "expect", "user-agent", "content-type", "authorization",
	"referer", "from", "origin", "range", "content-range", "max-forwards", "if-modified-since", "if-unmodified-since",
}

// authority draws one that carries the index of the trial.
func (d dice) authority(index int) string {
	host := fmt.Sprintf(oneOf(d, "c%d.example", "C%d.eXample", "c%d.", "c%d.a-b_c~d.%%C3%%A4!$&'()*+;=.example", "c%d."+strings.Repeat("long.", 40)+"example"), index)
	if d.chance(5) {
		host = fmt.Sprintf("[fd00::%x]", index)
	}
	return host + oneOf(d, "", "", ":80", ":65535", ":00080")
}

// trialOf returns the index that an authority carries.
func trialOf(authority string) (int, error) {
	if hex, ok := strings.CutPrefix(authority, "[fd00::"); ok {
		hex, _, _ = strings.Cut(hex, "]")
		n, err := strconv.ParseUint(hex, 16, 31)
		return int(n), err
	}
	digits, _, _ := strings.Cut(authority, ".")
	if digits == "" {
		return 0, errWire
	}
	return strconv.Atoi(digits[1:])
}

// target draws a request target and adds Host.
func (d dice) target(t *trial, fields []string) (string, []string) {
	authority := d.authority(t.index)
	path := "/"
	switch {
	case d.chance(70):
		path += d.text(pathBytes, d.IntN(40))
	case d.chance(5):
		path += d.text(pathBytes, d.IntN(8<<10))
	default:
		path += oneOf(d, "", "?", "//", "a//b/../c/./", "%2e%2E/%00%zz%", "?a=b&c=%20+&&=", "a?b?c", ";p=1/a", "*")
	}
	switch {
	case t.method == "OPTIONS" && d.chance(40):
		return "*", d.put(fields, d.line(d.spelling("Host"), authority))
	case d.chance(8):
		host := authority
		if d.chance(40) {
			host = oneOf(d, "other.example", "127.0.0.1:1", "a")
		}
		path = oneOf(d, path, path, path, "", "?a=b", "?")
		return oneOf(d, "http://", "HTTP://", "https://", "hTtPs://") + authority + path, d.put(fields, d.line(d.spelling("Host"), host))
	}
	return path, d.put(fields, d.line(d.spelling("Host"), authority))
}

// clientOptions draws whether the connection goes on.
func (d dice) clientOptions(t *trial, fields []string) (keep bool, _ []string) {
	switch {
	case t.old && d.chance(50):
		return true, d.put(fields, d.line(d.spelling("Connection"), oneOf(d, "keep-alive", "Keep-Alive", "x-named, keep-alive")))
	case t.old:
		return false, fields
	case d.chance(5):
		return false, d.put(fields, d.line(d.spelling("Connection"), oneOf(d, "close", "Close", "X-Named ,close", "keep-alive,,close")))
	case d.chance(15):
		return true, d.put(fields, d.line(d.spelling("Connection"), oneOf(d, "keep-alive", "Keep-Alive", "X-Named", "TE, x-named,\tX-Other", "Upgrade", ", ,")))
	}
	return true, fields
}

// fieldPlan is what the fields of requests or of answers are drawn from.
type fieldPlan struct {
	once     []string // at most once in a head
	repeated []string
	dropped  []string // that the proxy does not let through
	long     int      // bytes of the longest value
}

var requestFields = fieldPlan{
	once: []string{
		"User-Agent", "Content-Type", "Authorization", "Referer", "From", "Origin", "Range", "Content-Range", "Max-Forwards",
		"If-Modified-Since", "If-Unmodified-Since",
	},
	repeated: []string{
		"Accept", "Accept-Language", "Cookie", "Cookie", "Cache-Control", "Via", "X-Trace", "X-Empty", "X-Named", "X-Other", "Trailer",
		"If-None-Match", "Pragma", "Warning", "Sluice", "X-Forwarded", "Forwarded-For", "Under_score",
	},
	dropped: []string{
		"Keep-Alive", "TE", "Upgrade", "Proxy-Connection", "Proxy-Authorization", "HTTP2-Settings", "X-Forwarded-For", "X-Forwarded-Host",
		"X-Forwarded-Anything", "Forwarded", "X-Real-IP", "X-Request-Id", "Proxy", "Sluice-Route", "Sluice-Reason", "X_Forwarded_For",
		"x-forwarded_proto", "Content_Length", "Transfer_Encoding", "X_Real-IP", "Keep_Alive",
	},
	long: 8 << 10,
}

var answerFields = fieldPlan{
	once: []string{"Content-Type", "Date", "Server", "Location", "ETag", "Last-Modified", "Content-Range", "Retry-After"},
	repeated: []string{
		"Set-Cookie", "Set-Cookie", "Vary", "Link", "Cache-Control", "Via", "X-Empty", "X-Named", "X-Other", "Trailer", "WWW-Authenticate",
		"X-Request-Id", "X-Forwarded-For", "Sluice-Route", "Content_Length", "Keep_Alive", "Proxy-Authenticate", "Age",
	},
	dropped: []string{"Keep-Alive", "Proxy-Connection", "Upgrade", "Sluice-Reason", "Sluice-Explain", "Sluice-Explanation"},
	long:    40 << 10,
}

// fields draws field lines of no more than limit bytes.
func (d dice) fields(p fieldPlan, limit int) (lines []string) {
	n := d.IntN(12)
	if d.chance(1) {
		n = d.upTo(100, 180)
	}
	once := slices.Clone(p.once)
	size := 0
	for len(lines) < n {
		var name string
		switch k := d.IntN(100); {
		case k < 25 && len(once) > 0:
			i := d.IntN(len(once))
			name = once[i]
			once = slices.Delete(once, i, i+1)
		case k < 65:
			name = oneOf(d, p.repeated...)
		case k < 80 && d.chance(30):
			name = oneOf(d, p.dropped...)
		default:
			name = d.token(d.upTo(1, 14))
		}
		value := d.value(strings.ToLower(name), p.long)
		if size += len(name) + len(value) + 10; size > limit {
			break
		}
		lines = append(lines, d.line(d.spelling(name), value))
	}
	return lines
}

// spelling draws the letter case of a name.
func (d dice) spelling(name string) string {
	switch d.IntN(8) {
	case 0:
		return strings.ToLower(name)
	case 1:
		return strings.ToUpper(name)
	case 2:
		b := []byte(strings.ToLower(name))
		for i := range b {
			if d.chance(50) {
				b[i] = strings.ToUpper(string(b[i]))[0]
			}
		}
		return string(b)
	}
	return name
}

// line draws the blanks around a value.
func (d dice) line(name, value string) string {
	if d.chance(70) {
		return name + ": " + value
	}
	return name + ":" + oneOf(d, "", " ", "\t", "  \t ") + value + oneOf(d, "", "", " ", "\t", " \t ")
}

// value draws the value of a field.
func (d dice) value(name string, long int) string {
	switch {
	case name == "trailer":
		return oneOf(d, "X-Sum", "X-Sum, Server-Timing")
	case name == "max-forwards": // never 0: then it is not forwarded
		return oneOf(d, "1", "5", "70", "100", "007", "x")
	case strings.Contains(name, "cookie"):
		return oneOf(d, "a=1; b=2", "a=", "=b; c", "a=\"x y\"; a=2;", "sid="+d.text(tokenBytes, d.IntN(300)), ";;", "im_1=x; o_2=y")
	case d.chance(8):
		return ""
	case d.chance(2):
		return d.text(tokenBytes+" \t", d.IntN(long))
	}
	v := d.text(tokenBytes+" \t,;:=\"()/@[]{}<>?\\\x80\xc3\xa4\xff", d.IntN(60))
	return strings.Trim(v, " \t")
}

// requestBody draws a body and adds the field that frames it.
func (d dice) requestBody(t *trial, fields []string) []string {
	payload := d.payload()
	if !t.old && d.chance(45) {
		t.body = d.chunked(payload)
		return d.put(fields, d.line(d.spelling("Transfer-Encoding"), oneOf(d, "chunked", "chunked", "Chunked", "CHUNKED")))
	}
	t.body = payload
	return d.put(fields, d.length(len(payload)))
}

func (d dice) length(n int) string {
	return d.line(d.spelling("Content-Length"), strings.Repeat("0", oneOf(d, 0, 0, 0, 0, 0, 3))+strconv.Itoa(n))
}

// payload draws a body that was not framed yet.
func (d dice) payload() []byte {
	var n int
	switch k := d.IntN(100); {
	case k < 6:
	case k < 40:
		n = d.upTo(1, 30)
	case k < 85:
		n = d.IntN(2_000)
	case k < 95:
		n = d.IntN(20_000)
	case k < 98:
		n = 16<<10 + d.upTo(-600, 600) // about the size of a buffer
	default:
		n = d.upTo(60_000, 200_000)
	}
	b := make([]byte, n)
	if d.chance(15) {
		const tricky = "0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: hidden\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
		for i := range b {
			b[i] = tricky[i%len(tricky)]
		}
		return b
	}
	for i := 0; i < n; i += 8 {
		v := d.Uint64()
		for k := i; k < min(i+8, n); k++ {
			b[k], v = byte(v), v>>8
		}
	}
	return b
}

// chunked frames a payload.
func (d dice) chunked(payload []byte) []byte {
	most := oneOf(d, 1, 10, 300, 5_000, 70_000)
	most = max(most, len(payload)/200)
	var b []byte
	for len(payload) > 0 {
		n := min(d.upTo(1, most), len(payload))
		b = append(b, strings.Repeat("0", oneOf(d, 0, 0, 0, 0, 7))...)
		b = fmt.Appendf(b, oneOf(d, "%x", "%X"), n)
		b = append(b, d.extensions()...)
		b = append(append(append(b, "\r\n"...), payload[:n]...), "\r\n"...)
		payload = payload[n:]
	}
	b = append(b, oneOf(d, "0", "0", "0", "00000")+d.extensions()+"\r\n"...)
	if d.chance(30) {
		for range d.upTo(1, 4) {
			name := oneOf(d, "X-Sum", "Server-Timing", "Digest", d.token(d.upTo(3, 9)))
			b = append(b, d.line(d.spelling(name), d.value("", 3<<10))+"\r\n"...)
		}
	}
	return append(b, "\r\n"...)
}

// extensions draws chunk extensions.
func (d dice) extensions() string {
	switch {
	case d.chance(90):
		return ""
	case d.chance(5):
		return ";long=" + d.text(tokenBytes, d.IntN(3<<10))
	}
	return oneOf(d, ";a", ";a=b", ";a=b;c;d=e", `;q="a;b\"c\\ d"`, ";"+d.text(tokenBytes, d.upTo(1, 20)))
}

// pieces draws in how many bytes a time a message is written; nil means at
// once. Those of messages that are long are long, too.
func (d dice) pieces(head, body int) []int {
	least := (head + body) / 60
	switch k := d.IntN(100); {
	case k < 45:
		return nil
	case k < 60:
		return []int{head, body + 1} // at their border
	case k < 65:
		return []int{head - d.upTo(1, 4), 2, 1, 1, body + 1} // inside the empty line
	case k < 68 && head+body < 500:
		return []int{1}
	}
	sizes := make([]int, d.upTo(1, 5))
	for i := range sizes {
		sizes[i] = max(1, least, d.IntN((head+body)/2+1))
	}
	return sizes
}
