// SPDX-License-Identifier: Apache-2.0

package conditions

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"net/netip"
	"net/textproto"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"
)

const maxInt64 = math.MaxInt64

// fetchArgs reads the arguments of a fetch.
func (p *aclParser) fetchArgs(w *aclWord, spec *aclFetchSpec, args []aclArg, t *aclTest) *SyntaxError {
	most, usage := spec.args.usage()
	if len(args) > most {
		return p.failAt(args[most].offset, strconv.Quote(spec.names[0])+" has too many arguments", usageOf(spec.names[0], usage))
	}
	arg := func(i int) string {
		if i < len(args) {
			return args[i].text
		}
		return ""
	}
	problem, at := "", 0
	switch spec.args {
	case argsField, argsOccurrence:
		problem, at = t.setField(arg(0), arg(1))
	case argsCookie, argsText:
		t.arg = arg(0)
	case argsAttribute:
		problem, at = t.setAttribute(arg(0), arg(1))
	case argsParam:
		t.arg, t.delimiter = arg(0), '?'
		if d := arg(1); d != "" {
			if t.delimiter, at = d[0], 1; len(d) > 1 || !isPrintable(d[0]) {
				problem = "a delimiter is one printable character"
			}
		}
	case argsRange:
		n, err := strconv.ParseInt(arg(0), 10, 64)
		if t.number = n; arg(0) == "" {
			t.number = 1 << 32
		} else if err != nil || n < 1 || n > 1<<32 {
			problem = strconv.Quote(arg(0)) + " is no range"
		}
	case argsInt:
		n, err := strconv.ParseInt(arg(0), 10, 64)
		if t.number = n; err != nil {
			problem = strconv.Quote(arg(0)) + " is no integer"
		}
	case argsBool:
		switch strings.ToLower(arg(0)) {
		case "true", "1":
			t.number = 1
		case "false", "0":
		default:
			problem = strconv.Quote(arg(0)) + " is no boolean"
		}
	case argsNone:
		if spec.names[0] == "always_true" {
			t.number = 1
		}
	}
	if problem == "" {
		return nil
	}
	offset := w.start
	if at < len(args) {
		offset = args[at].offset
	}
	return p.failAt(offset, problem, usageOf(spec.names[0], usage))
}

// setField sets the name of a field and an occurrence. It returns what is
// wrong, and with which argument.
func (t *aclTest) setField(name, occurrence string) (problem string, at int) {
	if name == "" {
		return "the name of a header is missing: conditions look fields up by name", 0
	}
	for i := range len(name) {
		if !isAlphanumeric(name[i]) && strings.IndexByte("!#$%&'*+-.^_`|~", name[i]) < 0 {
			return strconv.Quote(name) + " is no name of a header", 0
		}
	}
	t.arg = textproto.CanonicalMIMEHeaderKey(name)
	if occurrence == "" {
		return "", 0
	}
	n, err := strconv.ParseInt(occurrence, 10, 32)
	if err != nil || n < -10 {
		return strconv.Quote(occurrence) + " is no occurrence", 1
	}
	t.number = n
	return "", 0
}

// setAttribute sets the name of a part of a distinguished name, and an
// occurrence. It returns what is wrong, and with which argument.
func (t *aclTest) setAttribute(name, occurrence string) (problem string, at int) {
	for i := range len(name) {
		if !isAlphanumeric(name[i]) && name[i] != '.' {
			return strconv.Quote(name) + " is no attribute of a name", 0
		}
	}
	t.arg = strings.ToLower(name)
	if occurrence == "" {
		return "", 0
	}
	n, err := strconv.ParseInt(occurrence, 10, 32)
	if err != nil || name == "" {
		return strconv.Quote(occurrence) + " is no occurrence of an attribute", 1
	}
	t.number = n
	return "", 0
}

// usageOf says how something is called, which has a form of arguments.
func usageOf(name, form string) string {
	return "use: " + name + strings.ReplaceAll(form, " or (", " or "+name+"(")
}

// usage returns how many arguments there may be, and how they are written.
func (s aclArgSpec) usage() (most int, form string) {
	switch s {
	case argsField:
		return 1, "(NAME)"
	case argsOccurrence:
		return 2, "(NAME) or (NAME,N) with N from 1 on, or from -10 to -1 counted from the last"
	case argsAttribute:
		return 2, " or (NAME) or (NAME,N), such as ssl_c_s_dn(cn), with N counted from the last if it is negative"
	case argsCookie:
		return 1, " or (NAME)"
	case argsParam:
		return 2, " or (NAME) or (NAME,DELIMITER)"
	case argsRange:
		return 1, " or (N) with N from 1 to 4294967296"
	case argsText:
		return 1, "(TEXT)"
	case argsInt:
		return 1, "(N)"
	case argsBool:
		return 1, "(true) or (false)"
	default:
		return 0, ""
	}
}

// converterArgs reads the arguments of a converter, which stands at byte i of
// a word.
func (p *aclParser) converterArgs(w *aclWord, i int, spec *aclConverterSpec, args []aclArg) (aclStep, *SyntaxError) {
	step := aclStep{do: spec.do}
	least, most, usage := spec.args.usage()
	if len(args) < least || len(args) > most {
		return step, p.fail(w, i, strconv.Quote(spec.name)+" has the wrong number of arguments", usageOf(spec.name, usage))
	}
	if spec.args == convertsDelimited || spec.args == convertsBytes {
		step.m = 1
		if spec.args == convertsBytes {
			step.m = maxInt64
		}
	}
	for k, arg := range args {
		if k == 1 && spec.args == convertsDelimited {
			if step.delims = arg.text; step.delims == "" {
				return step, p.failAt(arg.offset, "delimiters are missing", usageOf(spec.name, usage))
			}
			continue
		}
		n, err := strconv.ParseInt(arg.text, 10, 64)
		first := k == 0
		bad := err != nil || !first && n < 0
		switch spec.args {
		case convertsDelimited:
			bad = bad || first && n == 0 || n < -maxACLBytes || n > 1<<31
		case convertsBytes:
			bad = bad || n < 0
		default:
		}
		if bad {
			return step, p.failAt(arg.offset, strconv.Quote(arg.text)+" is no number that "+spec.name+" takes", usageOf(spec.name, usage))
		}
		if first {
			step.n = n
		} else {
			step.m = n
		}
	}
	if spec.args == convertsForm && step.n != 0 {
		step.n = 1
	}
	return step, nil
}

func (s aclConverterArgs) usage() (least, most int, form string) {
	switch s {
	case convertsForm:
		return 0, 1, " or (1) for a form"
	case convertsBytes:
		return 1, 2, "(OFFSET) or (OFFSET,LENGTH)"
	case convertsDelimited:
		return 2, 3, "(INDEX,DELIMITERS) or (INDEX,DELIMITERS,COUNT) with INDEX from 1 on, or from -1 down counted from the last; quote a comma"
	case convertsNumber:
		return 1, 1, "(N)"
	default:
		return 0, 0, ""
	}
}

// values reads the values of a test. Methods that need none ignore them, as
// HAProxy's do.
func (p *aclParser) values(words []aclWord, end int, t *aclTest, x *aclExpression) *SyntaxError {
	if len(words) > maxACLValues {
		return p.fail(&words[maxACLValues], 0, "there are too many values", "at most "+strconv.Itoa(maxACLValues))
	}
	if err := p.notOperators(words, t, x); err != nil {
		return err
	}
	switch t.method {
	case matchFound, matchBool:
		t.fold = false
		return nil
	case matchInt, matchLen:
		t.fold = false
		return p.integers(words, end, t)
	case matchIP, matchBin:
		t.fold = false
	default:
	}
	for i := range words {
		w := &words[i]
		if len(w.text) > maxValueBytes {
			return p.fail(w, 0, "a value is too long", "at most "+strconv.Itoa(maxValueBytes)+" bytes")
		}
		v, err := p.value(w, t)
		if err != nil {
			return err
		}
		t.values = append(t.values, v)
	}
	if len(t.values) == 0 {
		return p.failAt(end, "a value is missing", "-m found asks whether there is anything at all")
	}
	return nil
}

// notOperators refuses words that HAProxy takes for values and people for
// operators. Quoted, they are values.
func (p *aclParser) notOperators(words []aclWord, t *aclTest, x *aclExpression) *SyntaxError {
	for i := range words {
		switch w := &words[i]; {
		case w.quoted:
		case isOr(w.text), w.text == "&&", strings.EqualFold(w.text, "and"):
			return p.fail(w, 0, strconv.Quote(w.text)+" would be a value here", "put tests in braces: { A } or { B }, { A } { B }; quote a value")
		case i == 0 && !x.dashed && isACLOperator(w.text):
			if t.method == matchInt || t.method == matchLen {
				continue
			}
			return p.fail(w, 0, strconv.Quote(w.text)+" would be a value here, not an operator", "values follow at once, -m names a method; quote a value")
		}
	}
	return nil
}

// isACLOperator reports whether people would take a word for an operator.
func isACLOperator(word string) bool {
	switch strings.ToLower(word) {
	case "==", "=", "!=", "!", "&&", "&", "||", "|", "<", ">", "<=", ">=", "~", "=~",
		"and", "or", "not", "is", "in", "has", "contains", "misses", "starts", "ends", "matches",
		"eq", "ne", "lt", "le", "gt", "ge":
		return true
	default:
		return false
	}
}

func (p *aclParser) value(w *aclWord, t *aclTest) (v aclValue, err *SyntaxError) {
	v = aclValue{text: w.text, written: quoteACLWord(w.text)}
	switch t.method {
	case matchIP:
		var ok bool
		if v.network, v.written, ok = parseACLNetwork(w.text); !ok {
			return v, p.fail(w, 0, strconv.Quote(w.text)+" is no address and no network", "write 10.0.0.1, 10.0.0.0/8 or fd00::/8; names are not resolved")
		}
		return v, nil
	case matchBin:
		b, err := hex.DecodeString(w.text)
		if err != nil {
			return v, p.fail(w, 0, strconv.Quote(w.text)+" is no even number of hexadecimal digits", "")
		}
		v.text, v.written = string(b), hex.EncodeToString(b)
		return v, nil
	case matchReg:
		v.re, err = p.regexp(w, t.fold)
		return v, err
	case matchDir:
		v.text = strings.Trim(v.text, "/?")
	case matchDom:
		v.text = strings.Trim(v.text, "/?.:")
	default:
	}
	if v.text == "" {
		return v, p.fail(w, 0, strconv.Quote(w.text)+" has nothing but delimiters", "")
	}
	if t.method == matchDir || t.method == matchDom {
		v.written = quoteACLWord(v.text)
	}
	if t.fold && t.method != matchVerb {
		v.text = lowerText(v.text)
	}
	return v, nil
}

func lowerText(s string) string {
	b := []byte(s)
	for i := range b {
		b[i] = lowerByte(b[i])
	}
	return string(b)
}

// regexp compiles a regular expression of Go (RE2), which stands in for the
// PCRE of HAProxy. What RE2 lacks is an error; \v, which it has with another
// meaning, is refused as well.
func (p *aclParser) regexp(w *aclWord, fold bool) (*regexp.Regexp, *SyntaxError) {
	const allowed = "regular expressions have the syntax of Go (RE2)"
	for i := 0; i+1 < len(w.text); i++ {
		if w.text[i] == '\\' {
			if i++; w.text[i] == 'v' {
				return nil, p.fail(w, i-1, `\v means something else in HAProxy`, allowed)
			}
		}
	}
	p.classes += strings.Count(w.text, `\p`) + strings.Count(w.text, `\P`)
	if p.classes > maxRegexpClasses {
		return nil, p.fail(w, 0, `there are too many classes \p`, "at most "+strconv.Itoa(maxRegexpClasses))
	}
	flags := syntax.Perl
	expr := w.text
	if fold {
		flags |= syntax.FoldCase
		expr = "(?i)" + expr
	}
	tree, err := syntax.Parse(w.text, flags)
	if err != nil {
		at, problem := 0, "not a regular expression"
		if fault, ok := errors.AsType[*syntax.Error](err); ok {
			at, problem = max(0, strings.Index(w.text, fault.Expr)), fault.Code.String()+": "+fault.Expr
		}
		return nil, p.fail(w, at, problem, allowed)
	}
	cost := regexpCost(tree)
	if cost > maxRegexpCost {
		return nil, p.fail(w, 0, "the regular expression is too big when its repetitions are written out", "")
	}
	if p.costs += cost; p.costs > maxRegexpCosts {
		return nil, p.fail(w, 0, "the regular expressions are too big together", "")
	}
	re, err := regexp.Compile(expr)
	if err != nil {
		return nil, p.fail(w, 0, err.Error(), allowed)
	}
	return re, nil
}

// regexpCost is about the number of instructions that a tree compiles to.
func regexpCost(re *syntax.Regexp) int {
	cost := 1 + len(re.Rune)/2
	for _, sub := range re.Sub {
		cost = min(cost+regexpCost(sub), maxRegexpCost+1)
	}
	if re.Op == syntax.OpRepeat {
		cost *= max(re.Max, re.Min+1)
	}
	return min(cost, maxRegexpCost+1)
}

// integers reads values of -m int and -m len: numbers and ranges, and
// operators that hold for those after them.
func (p *aclParser) integers(words []aclWord, end int, t *aclTest) *SyntaxError {
	const allowed = "write 5, 5:9, 5: or :9, or a number after eq, lt, le, gt or ge; only -- may follow flags"
	op, wrote := "eq", "eq"
	for i := range words {
		w := &words[i]
		switch w.text {
		case "eq", "lt", "le", "gt", "ge":
			op = w.text
			if i+1 == len(words) {
				return p.failAt(end, "a number is missing after "+strconv.Quote(op), allowed)
			}
			continue
		case "ne":
			return p.fail(w, 0, `there is no "ne": HAProxy has none`, "negate the test: !{ "+t.subject+" eq N }")
		}
		v, ok := parseACLRange(w.text)
		if !ok || op != "eq" && strings.Contains(w.text, ":") {
			return p.fail(w, 0, strconv.Quote(w.text)+" is no number that can be matched", allowed)
		}
		switch {
		case op == "gt" && v.low == maxInt64:
			return p.fail(w, 0, "nothing is greater than "+w.text, allowed)
		case op == "lt" && v.low == 0 && t.method == matchLen:
			return p.fail(w, 0, "no length is less than 0", allowed)
		}
		v.compare(op)
		if op != wrote {
			v.written, wrote = op+" "+v.written, op
		}
		t.values = append(t.values, v)
	}
	if len(t.values) == 0 {
		return p.failAt(end, "a number is missing", allowed)
	}
	return nil
}

// parseACLRange reads a number or a range. There are no negative ones: a
// minus means something else in HAProxy.
func parseACLRange(s string) (v aclValue, ok bool) {
	from, to, isRange := strings.Cut(s, ":")
	if from == "" && to == "" {
		return v, false
	}
	v.low, v.high = math.MinInt64, maxInt64
	if from != "" {
		if v.low, ok = parseDigits(from); !ok {
			return v, false
		}
		v.written = strconv.FormatInt(v.low, 10)
	}
	if !isRange {
		v.high = v.low
		return v, true
	}
	v.written += ":"
	if to != "" {
		if v.high, ok = parseDigits(to); !ok || v.low > v.high {
			return v, false
		}
		v.written += strconv.FormatInt(v.high, 10)
	}
	return v, true
}

func parseDigits(s string) (int64, bool) {
	if s[0] < '0' || s[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// compare turns a number into the range that compares so with it.
func (v *aclValue) compare(op string) {
	n := v.low
	switch op {
	case "lt":
		v.low, v.high = math.MinInt64, n-1
	case "le":
		v.low, v.high = math.MinInt64, n
	case "gt":
		v.low, v.high = n+1, maxInt64
	case "ge":
		v.high = maxInt64
	}
}

// parseACLNetwork reads an address, or an address and a mask. Of IPv4
// addresses the zeros between the first numbers and the last may be left out.
func parseACLNetwork(s string) (n aclNetwork, written string, ok bool) {
	address, mask, masked := strings.Cut(s, "/")
	if strings.IndexByte(address, ':') >= 0 {
		return parseNetwork6(address, mask, masked)
	}
	addr, ok := parseShortIPv4(address)
	if !ok {
		return n, "", false
	}
	written = addr.String()
	bits := uint32(math.MaxUint32)
	if masked {
		m, ok := parseMask4(mask)
		if !ok {
			return n, "", false
		}
		if bits = m; m != math.MaxUint32 {
			written += "/" + formatMask4(m)
		}
	}
	n = aclNetwork{is4: true, maskLow: uint64(bits), low: uint64(ipv4Number(addr) & bits)}
	return n, written, true
}

func parseNetwork6(address, mask string, masked bool) (n aclNetwork, written string, ok bool) {
	addr, ok := parseIPv6(address)
	bits := 128
	if ok && masked {
		bits, ok = parseBits(mask, 128)
	}
	if !ok {
		return n, "", false
	}
	written = addr.String()
	if bits < 128 {
		written += "/" + strconv.Itoa(bits)
	}
	n.maskHigh, n.maskLow = leadingOnes(min(bits, 64)), leadingOnes(max(bits-64, 0))
	b := addr.As16()
	n.high, n.low = binary.BigEndian.Uint64(b[:8])&n.maskHigh, binary.BigEndian.Uint64(b[8:])&n.maskLow
	return n, written, true
}

// leadingOnes returns 64 bits of which the first n are set.
func leadingOnes(n int) uint64 { return ^(uint64(math.MaxUint64) >> n) }

// parseShortIPv4 reads two to four numbers; those left out are zeros before
// the last one.
func parseShortIPv4(s string) (netip.Addr, bool) {
	parts := strings.Split(s, ".")
	if len(parts) < 2 || len(parts) > 4 {
		return netip.Addr{}, false
	}
	var b [4]byte
	for i, part := range parts {
		n, ok := parseBits(part, 255)
		if !ok {
			return netip.Addr{}, false
		}
		if i == len(parts)-1 {
			i = 3
		}
		b[i] = byte(n)
	}
	return netip.AddrFrom4(b), true
}

// parseBits reads a number up to most. Zeros in front are refused: some take
// what follows for octal.
func parseBits(s string, most int) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return int(n), err == nil && int(n) <= most && (len(s) == 1 || s[0] != '0')
}

func parseMask4(s string) (uint32, bool) {
	if strings.IndexByte(s, '.') < 0 {
		bits, ok := parseBits(s, 32)
		return uint32(leadingOnes(bits) >> 32), ok
	}
	if strings.Count(s, ".") != 3 {
		return 0, false
	}
	mask, ok := parseShortIPv4(s)
	if !ok {
		return 0, false
	}
	return ipv4Number(mask), true
}

func formatMask4(m uint32) string {
	if i := slices.IndexFunc(masks4[:], func(mask uint32) bool { return mask == m }); i >= 0 {
		return strconv.Itoa(i)
	}
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], m)
	return netip.AddrFrom4(b).String()
}

// masks4 are the masks that a number of bits stands for.
var masks4 = func() (masks [33]uint32) {
	for i := range masks {
		masks[i] = uint32(leadingOnes(i) >> 32)
	}
	return masks
}()
