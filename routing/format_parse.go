// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"net/textproto"
	"slices"
	"strconv"
	"strings"
)

// FormatError says where a text goes wrong that was to be a format, a rewrite
// or the like.
type FormatError struct {
	Offset  int    // in bytes
	Problem string // lower case
	Allowed string // what is allowed instead; may be empty
}

// Error returns "offset N: what is wrong; what is allowed".
func (e *FormatError) Error() string {
	text := "offset " + strconv.Itoa(e.Offset) + ": " + e.Problem
	if e.Allowed != "" {
		text += "; " + e.Allowed
	}
	return text
}

// Bounds of a format.
const (
	maxFormatBytes = 4 << 10
	maxFormatParts = 64
)

// argsForm says which arguments a fetch takes.
type argsForm uint8

const (
	argsNone       argsForm = iota
	argsName                // NAME
	argsOccurrence          // NAME, and maybe a number
)

// fetches lists what a format may take from a request.
var fetches = map[string]struct {
	fetch fetch
	args  argsForm
}{
	"base":      {fetchBase, argsNone},
	"cook":      {fetchCookie, argsName},
	"dst":       {fetchDst, argsNone},
	"dst_port":  {fetchDstPort, argsNone},
	"fhdr":      {fetchFullField, argsOccurrence},
	"hdr":       {fetchField, argsOccurrence},
	"method":    {fetchMethod, argsNone},
	"path":      {fetchPath, argsNone},
	"pathq":     {fetchPathQuery, argsNone},
	"query":     {fetchQuery, argsNone},
	"req.cook":  {fetchCookie, argsName},
	"req.fhdr":  {fetchFullField, argsOccurrence},
	"req.hdr":   {fetchField, argsOccurrence},
	"src":       {fetchSrc, argsNone},
	"src_port":  {fetchSrcPort, argsNone},
	"ssl_fc":    {fetchTLS, argsNone},
	"url":       {fetchURL, argsNone},
	"url_param": {fetchParam, argsName},
	"urlp":      {fetchParam, argsName},
}

var fetchNames = func() (names []string) {
	for name := range fetches {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}()

var converterNames = []string{"field", "lower", "regsub", "upper", "url_dec", "url_enc"}

// ParseFormat reads a format. Outside %[ ] printable ASCII stands for itself.
func ParseFormat(text string) (*Format, *FormatError) {
	return parseFormat(text, "")
}

// parseFormat reads a format in which the characters of forbidden do not
// stand for themselves.
func parseFormat(text, forbidden string) (*Format, *FormatError) {
	if len(text) > maxFormatBytes {
		return nil, &FormatError{0, "the text is too long", "at most " + strconv.Itoa(maxFormatBytes) + " bytes"}
	}
	p := &formatParser{text: text}
	var parts []formatPart
	var literal []byte
	for p.pos < len(text) {
		switch c := text[p.pos]; {
		case strings.HasPrefix(text[p.pos:], "%["):
			if len(literal) > 0 {
				parts = append(parts, formatPart{literal: string(literal)})
				literal = literal[:0]
			}
			part, err := p.sample()
			if err != nil {
				return nil, err
			}
			parts = append(parts, part)
		case c == '%':
			n, err := p.percent()
			if err != nil {
				return nil, err
			}
			literal = append(literal, text[p.pos:p.pos+n]...)
			p.pos += 2
		case c < ' ' || c > '~':
			return nil, p.fail("a character that is not printable ASCII stands here", "write it as %XX, byte by byte")
		case strings.IndexByte(forbidden, c) >= 0:
			if c == ' ' {
				return nil, p.fail("a blank stands here", "write %20 for a blank")
			}
			return nil, p.fail(quote(string(c))+" stands here", "")
		default:
			literal = append(literal, c)
			p.pos++
		}
	}
	if len(literal) > 0 {
		parts = append(parts, formatPart{literal: string(literal)})
	}
	if len(parts) > maxFormatParts {
		return nil, &FormatError{0, "the text has too many parts", "at most " + strconv.Itoa(maxFormatParts)}
	}
	return &Format{text: text, parts: parts}, nil
}

// formatParser reads one format.
type formatParser struct {
	text string
	pos  int
}

func (p *formatParser) fail(problem, allowed string) *FormatError {
	return &FormatError{p.pos, problem, allowed}
}

// percent returns how much of a "%" that begins no sample stands for itself:
// all of "%2F" but its last digit, and one of "%%".
func (p *formatParser) percent() (int, *FormatError) {
	rest := p.text[p.pos:]
	switch {
	case strings.HasPrefix(rest, "%%"):
		return 1, nil
	case len(rest) > 2 && isHexDigit(rest[1]) && isHexDigit(rest[2]):
		return 2, nil
	default:
		return 0, p.fail("a percent sign stands alone", "write %[path] and the like, %% for a percent sign, or %XX for a byte")
	}
}

// sample reads %[fetch(args),converter(args)...].
func (p *formatParser) sample() (part formatPart, err *FormatError) {
	open := p.pos
	p.pos += len("%[")
	at := p.pos
	name, args, err := p.call()
	if err != nil {
		return part, err
	}
	spec, known := fetches[name]
	if !known {
		return part, &FormatError{at, "nothing called " + quote(name) + " can be taken from a request", meant(name, fetchNames)}
	}
	part.fetch = spec.fetch
	if err := part.setArgs(spec.args, name, at, args); err != nil {
		return part, err
	}
	for p.pos < len(p.text) && p.text[p.pos] == ',' {
		p.pos++
		at := p.pos
		name, args, err := p.call()
		if err != nil {
			return part, err
		}
		step, err := newStep(name, at, args)
		if err != nil {
			return part, err
		}
		part.steps = append(part.steps, step)
	}
	if p.pos == len(p.text) {
		return part, &FormatError{open, "%[ is not closed", "add ]"}
	}
	if p.text[p.pos] != ']' {
		return part, p.fail(quote(p.text[p.pos:p.pos+1])+" stands here", "a comma and a converter, or ]")
	}
	p.pos++
	return part, nil
}

func meant(name string, names []string) string {
	if best := suggest(name, names); best != "" {
		return "did you mean " + best + "?"
	}
	return choices(names) + " are allowed"
}

// formatArg is an argument and where it stands.
type formatArg struct {
	text   string
	offset int
}

// call reads a name and its arguments, if any.
func (p *formatParser) call() (name string, args []formatArg, err *FormatError) {
	start := p.pos
	for p.pos < len(p.text) && strings.IndexByte("(),[]", p.text[p.pos]) < 0 {
		p.pos++
	}
	name = p.text[start:p.pos]
	if p.pos == len(p.text) || p.text[p.pos] != '(' {
		return name, nil, nil
	}
	open := p.pos
	for p.pos < len(p.text) && p.text[p.pos] != ')' {
		p.pos++ // the parenthesis or a comma
		arg, err := p.arg()
		if err != nil {
			return name, nil, err
		}
		args = append(args, arg)
	}
	if p.pos == len(p.text) {
		return name, nil, &FormatError{open, `"(" is not closed`, "add )"}
	}
	p.pos++
	return name, args, nil
}

// arg reads one argument: up to a comma or parenthesis, or in quotes. It
// stops at the comma or parenthesis, or at the end of the text.
func (p *formatParser) arg() (formatArg, *FormatError) {
	start := p.pos
	if p.pos < len(p.text) && strings.IndexByte(`'"`, p.text[p.pos]) >= 0 {
		end := strings.IndexByte(p.text[p.pos+1:], p.text[p.pos])
		if end < 0 {
			return formatArg{}, p.fail("the quote is not closed", "")
		}
		p.pos += end + 2
		if p.pos < len(p.text) && strings.IndexByte(",)", p.text[p.pos]) < 0 {
			return formatArg{}, p.fail(quote(p.text[p.pos:p.pos+1])+" stands behind a quote", "a comma or )")
		}
		return formatArg{p.text[start+1 : start+1+end], start + 1}, nil
	}
	for p.pos < len(p.text) && strings.IndexByte(",)", p.text[p.pos]) < 0 {
		p.pos++
	}
	return formatArg{p.text[start:p.pos], start}, nil
}

// setArgs takes the arguments of a fetch.
func (p *formatPart) setArgs(form argsForm, name string, at int, args []formatArg) *FormatError {
	usage := map[argsForm]string{argsName: name + "(NAME)", argsOccurrence: name + "(NAME) or " + name + "(NAME,N)"}[form]
	switch {
	case form == argsNone && len(args) > 0:
		return &FormatError{args[0].offset, quote(name) + " takes no arguments", ""}
	case form == argsNone:
		return nil
	case len(args) == 0 || args[0].text == "":
		return &FormatError{at, quote(name) + " needs a name", "write " + usage}
	case len(args) > int(form):
		return &FormatError{args[form].offset, quote(name) + " has too many arguments", "write " + usage}
	}
	p.name = args[0].text
	if form == argsName {
		return nil
	}
	if !isToken(p.name) {
		return &FormatError{args[0].offset, quote(p.name) + " is no name of a header", ""}
	}
	p.name, p.occurrence = textproto.CanonicalMIMEHeaderKey(p.name), -1
	if len(args) < 2 {
		return nil
	}
	n, err := strconv.Atoi(args[1].text)
	if err != nil || n == 0 || n < -10 || n > 1000 {
		return &FormatError{args[1].offset, quote(args[1].text) + " is no occurrence", "from 1 on, or from -1 to -10 counted from the last"}
	}
	p.occurrence = n
	return nil
}

// newStep makes a converter of its name and arguments.
func newStep(name string, at int, args []formatArg) (s formatStep, err *FormatError) {
	plain := map[string]conversion{"lower": convertLower, "upper": convertUpper, "url_dec": convertURLDec, "url_enc": convertURLEnc}
	do, isPlain := plain[name]
	switch {
	case isPlain && len(args) > 0:
		return s, &FormatError{args[0].offset, quote(name) + " takes no arguments", ""}
	case isPlain:
		return formatStep{do: do}, nil
	case name == "field":
		return newFieldStep(at, args)
	case name == "regsub":
		return newRegsubStep(at, args)
	default:
		return s, &FormatError{at, "there is no converter " + quote(name), meant(name, converterNames)}
	}
}

func newFieldStep(at int, args []formatArg) (s formatStep, err *FormatError) {
	const usage = "write field(N,DELIMITERS) with N from 1 on, or from -1 on from the last"
	if len(args) != 2 || args[1].text == "" {
		return s, &FormatError{at, "field has two arguments", usage}
	}
	n, bad := strconv.Atoi(args[0].text)
	if bad != nil || n == 0 || n < -1000 || n > 1000 {
		return s, &FormatError{args[0].offset, quote(args[0].text) + " is no number of a field", usage}
	}
	return formatStep{do: convertField, number: n, delims: args[1].text}, nil
}

func newRegsubStep(at int, args []formatArg) (s formatStep, err *FormatError) {
	if len(args) < 2 || len(args) > 3 {
		return s, &FormatError{at, "regsub has two or three arguments", "write regsub(REGEXP,WITH) or regsub(REGEXP,WITH,gi)"}
	}
	flags := ""
	if len(args) == 3 {
		flags = args[2].text
	}
	sub, problem, arg := newSubstitution(args[0].text, args[1].text, flags)
	if problem != "" {
		return s, &FormatError{args[arg].offset, problem, ""}
	}
	return formatStep{do: convertRegsub, sub: sub}, nil
}
