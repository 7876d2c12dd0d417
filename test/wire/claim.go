// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// claim is one line of a block of claims.
type claim struct {
	verb string
	text string // with escapes expanded
	want ranges // of status and cut
	n    int    // of size
}

// ranges are statuses, each from and to.
type ranges [][2]int

func (r ranges) have(status int) bool {
	return slices.ContainsFunc(r, func(p [2]int) bool { return p[0] <= status && status <= p[1] })
}

func (r ranges) String() string {
	var words []string
	for _, p := range r {
		w := strconv.Itoa(p[0])
		if p[1] != p[0] {
			w += "-" + strconv.Itoa(p[1])
		}
		words = append(words, w)
	}
	return strings.Join(words, " or ")
}

// The verbs that both sides know, and those of one side.
var (
	sharedClaims = []string{
		"line", "starts", "has", "only", "lines", "no", "order", "raw", "no-raw", "body", "size", "framing", "trailer", "no-trailer", "cut",
	}
	clientClaims = append(slices.Clone(sharedClaims), "status", "interim", "answers", "nothing", "closed", "kept")
	originClaims = append(slices.Clone(sharedClaims), "connection")
)

// readClaims reads a block of claims.
func readClaims(text string, v variables, known []string) ([]claim, error) {
	var claims []claim
	for line := range strings.Lines(text) {
		c, err := readClaim(strings.TrimSuffix(line, "\n"), v, known)
		if err != nil {
			return nil, err
		}
		claims = append(claims, c)
	}
	return claims, nil
}

func readClaim(line string, v variables, known []string) (claim, error) {
	verb, rest, _ := strings.Cut(line, " ")
	if !slices.Contains(known, verb) {
		return claim{}, fmt.Errorf("no claim %q here", verb)
	}
	text, err := expand(nil, rest, v)
	if err != nil {
		return claim{}, err
	}
	c := claim{verb: verb, text: string(text)}
	return c, c.complete()
}

// complete checks the text of a claim and reads its numbers.
func (c *claim) complete() error {
	valid := c.text != ""
	var err error
	switch c.verb {
	case "nothing", "closed", "kept":
		valid = c.text == ""
	case "body":
		valid = true
	case "status":
		c.want, err = readRanges(c.text)
	case "cut":
		if c.text == "" {
			return nil
		}
		rest, ok := strings.CutPrefix(c.text, "or ")
		valid = ok
		c.want, err = readRanges(rest)
	case "size":
		c.n, err = strconv.Atoi(c.text)
	case "has", "only", "lines", "trailer":
		valid = strings.Contains(c.text, ":")
	case "framing":
		valid = slices.Contains([]framing{byLength, byChunks, byClose, noBody}, framing(c.text))
	case "connection":
		valid = c.text == "new" || c.text == "same"
	case "answers":
		valid = c.text == "HEAD"
	}
	if err == nil && !valid {
		err = fmt.Errorf("claim %s cannot be of %q", c.verb, c.text)
	}
	return err
}

// readRanges reads statuses: 400, or 400 500-599.
func readRanges(text string) (ranges, error) {
	var all ranges
	for word := range strings.FieldsSeq(text) {
		from, to, ok := strings.Cut(word, "-")
		if !ok {
			to = from
		}
		low, err1 := strconv.Atoi(from)
		high, err2 := strconv.Atoi(to)
		if err1 != nil || err2 != nil || low < 100 || high > 999 || low > high {
			return nil, fmt.Errorf("%q is no status", word)
		}
		all = append(all, [2]int{low, high})
	}
	if all == nil {
		return nil, errors.New("want statuses")
	}
	return all, nil
}

func find(claims []claim, verb string) (claim, bool) {
	i := slices.IndexFunc(claims, func(c claim) bool { return c.verb == verb })
	if i < 0 {
		return claim{}, false
	}
	return claims[i], true
}

// decides reports whether claims say what kind of answer comes.
func decides(claims []claim) bool {
	return slices.ContainsFunc(claims, func(c claim) bool {
		return c.verb == "status" || c.verb == "line" || c.verb == "nothing" || c.verb == "cut"
	})
}

// judge returns which claims over a message do not hold.
func judge(claims []claim, m *message) []string {
	var faults []string
	if c, ok := find(claims, "cut"); m.cut != ok && (m.cut || len(c.want) == 0 || !c.want.have(m.status)) {
		if m.cut {
			faults = append(faults, "is cut short")
		} else {
			faults = append(faults, fmt.Sprintf("is whole (%s), want it cut", summary(m)))
		}
	}
	for _, c := range claims {
		if f := c.judge(m); f != "" {
			faults = append(faults, f)
		}
	}
	return faults
}

// judge returns why the claim does not hold for the message, empty if it
// does.
func (c *claim) judge(m *message) string {
	switch c.verb {
	case "status":
		if !c.want.have(m.status) {
			return fmt.Sprintf("status %d, want %v", m.status, c.want)
		}
	case "line":
		return differ("start line", m.start, c.text)
	case "starts":
		if !strings.HasPrefix(m.start, c.text) {
			return differ("start line", m.start, c.text)
		}
	case "has", "only":
		return c.judgeField(m.fields)
	case "lines":
		return c.judgeLines(m.fields)
	case "trailer":
		return c.judgeField(m.trailers)
	case "no":
		return c.judgeAbsence(m.fields)
	case "no-trailer":
		return c.judgeAbsence(m.trailers)
	case "order":
		return c.judgeOrder(m.fields)
	case "raw":
		if !strings.Contains(string(m.head), c.text) {
			return fmt.Sprintf("no bytes %q in its head", c.text)
		}
	case "no-raw":
		if strings.Contains(string(m.head), c.text) {
			return fmt.Sprintf("bytes %q in its head", c.text)
		}
	case "body":
		return differ("body", string(m.body), c.text)
	case "size":
		if len(m.body) != c.n {
			return fmt.Sprintf("body of %d bytes, want %d", len(m.body), c.n)
		}
	case "framing":
		return differ("framing", string(m.framing), c.text)
	case "interim":
		return differ("interim answers", statuses(m.interim), c.text)
	}
	return ""
}

func statuses(codes []int) string {
	if len(codes) == 0 {
		return "none"
	}
	return strings.Trim(fmt.Sprint(codes), "[]")
}

func differ(what, got, want string) string {
	if got == want {
		return ""
	}
	return fmt.Sprintf("%s %s, want %s", what, quote(got), quote(want))
}

// quote quotes a text, the middle of a long one left out.
func quote(s string) string {
	const most = 120
	if len(s) <= most {
		return strconv.Quote(s)
	}
	return fmt.Sprintf("%q...%q (%d bytes)", s[:most/2], s[len(s)-most/4:], len(s))
}

// judgeField looks for the field NAME: VALUE.
func (c *claim) judgeField(fields []field) string {
	name, value, _ := strings.Cut(c.text, ":")
	value = strings.Trim(value, " \t")
	values := valuesOf(fields, name)
	switch {
	case len(values) == 0:
		return "no field " + name
	case c.verb == "only" && len(values) > 1:
		return fmt.Sprintf("%d fields %s: %q, want one", len(values), name, values)
	case !slices.Contains(values, value):
		return fmt.Sprintf("field %s: %s, want %s", name, quote(strings.Join(values, " and ")), quote(value))
	}
	return ""
}

// judgeLines compares all values of NAME: VALUE | VALUE.
func (c *claim) judgeLines(fields []field) string {
	name, list, _ := strings.Cut(c.text, ":")
	values := strings.Join(valuesOf(fields, name), " | ")
	return differ("lines of "+name, values, strings.TrimSpace(list))
}

func (c *claim) judgeAbsence(fields []field) string {
	if values := valuesOf(fields, c.text); len(values) > 0 {
		return fmt.Sprintf("field %s: %s, want none", c.text, quote(strings.Join(values, " and ")))
	}
	return ""
}

// judgeOrder looks for names in the order in which they were sent.
func (c *claim) judgeOrder(fields []field) string {
	at := 0
	for name := range strings.FieldsSeq(c.text) {
		i := slices.IndexFunc(fields[at:], func(f field) bool { return f.name == name })
		if i < 0 {
			return fmt.Sprintf("field %s does not stand where it was, or as it was spelled", name)
		}
		at += i + 1
	}
	return ""
}

// summary says in few words what came.
func summary(m *message) string {
	if m.status > 0 {
		return "status " + strconv.Itoa(m.status)
	}
	return quote(m.start)
}
