// SPDX-License-Identifier: Apache-2.0

package routing

import (
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The types of plain scalars in YAML 1.1 (yaml.org/type). Dates stay texts.
var (
	yamlWords = map[string]valueKind{
		"": nullValue, "~": nullValue, "null": nullValue, "Null": nullValue, "NULL": nullValue,
		"yes": booleanValue, "Yes": booleanValue, "YES": booleanValue,
		"no": booleanValue, "No": booleanValue, "NO": booleanValue,
		"true": booleanValue, "True": booleanValue, "TRUE": booleanValue,
		"false": booleanValue, "False": booleanValue, "FALSE": booleanValue,
		"on": booleanValue, "On": booleanValue, "ON": booleanValue,
		"off": booleanValue, "Off": booleanValue, "OFF": booleanValue,
	}
	yamlInteger = regexp.MustCompile(`^[-+]?(0b_*[01][01_]*|0[0-7_]*|[1-9][0-9_]*|0x_*[0-9a-fA-F][0-9a-fA-F_]*|[1-9][0-9_]*(:[0-5]?[0-9])+)$`)
	yamlDecimal = regexp.MustCompile(`^([-+]?[0-9][0-9_]*\.[0-9_]*([eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+|` +
		`[-+]?\.[0-9_]+([eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$`)
)

// maxNumberBytes bounds texts that are read as numbers: reading a number
// takes time quadratic in its length. Longer ones stay texts.
const maxNumberBytes = 400

// resolveScalar gives v the kind and text of a scalar node.
func resolveScalar(v *value, n *yaml.Node) {
	v.kind, v.text, v.raw = textValue, n.Value, n.Value
	quoted := n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
	if n.Style&yaml.TaggedStyle != 0 && n.Tag == "!!str" || quoted && n.Style&yaml.TaggedStyle == 0 {
		return
	}
	s := n.Value
	if kind, ok := yamlWords[s]; ok {
		v.kind, v.text = kind, ""
		if kind == booleanValue {
			v.text = wordText(s)
		}
		return
	}
	switch {
	case len(s) > maxNumberBytes, s[0] > '9': // most texts begin with a letter
	case yamlInteger.MatchString(s):
		v.kind, v.text = integerValue, integer(s).String()
	case yamlDecimal.MatchString(s):
		v.kind, v.text = decimalValue, decimalText(decimal(s))
	}
}

// wordText returns the text of a boolean.
func wordText(s string) string {
	switch strings.ToLower(s) {
	case "yes", "true", "on":
		return "true"
	default:
		return "false"
	}
}

// sign splits off the sign of a number.
func sign(s string) (rest string, negative bool) {
	if s[0] == '-' || s[0] == '+' {
		return s[1:], s[0] == '-'
	}
	return s, false
}

// integer returns the number that a text which matches yamlInteger stands for.
func integer(s string) *big.Int {
	s, negative := sign(strings.ReplaceAll(s, "_", ""))
	n := new(big.Int)
	switch {
	case strings.HasPrefix(s, "0b"):
		n.SetString(s[2:], 2)
	case strings.HasPrefix(s, "0x"):
		n.SetString(s[2:], 16)
	case strings.Contains(s, ":"):
		for digit := range strings.SplitSeq(s, ":") {
			d, _ := new(big.Int).SetString(digit, 10)
			n.Add(n.Mul(n, big.NewInt(60)), d)
		}
	case len(s) > 1 && s[0] == '0':
		n.SetString(s, 8)
	default:
		n.SetString(s, 10)
	}
	if negative {
		n.Neg(n)
	}
	return n
}

// decimal returns the number that a text which matches yamlDecimal stands for.
func decimal(s string) float64 {
	s, negative := sign(strings.ToLower(strings.ReplaceAll(s, "_", "")))
	var f float64
	switch s {
	case ".nan":
		return math.NaN()
	case ".inf":
		f = math.Inf(1)
	default:
		for part := range strings.SplitSeq(s, ":") {
			digit, _ := strconv.ParseFloat(part, 64) // out of range is infinite, as it should be
			f = f*60 + digit
		}
	}
	if negative {
		return -f
	}
	return f
}

// decimalText writes a number as Java's Double.toString does, which gave
// names and keys such as 1.0 their text.
func decimalText(f float64) string {
	abs := math.Abs(f)
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	case abs == 0 || abs >= 1e-3 && abs < 1e7:
		s := strconv.FormatFloat(f, 'f', -1, 64)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
		return s
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'E', -1, 64), "E")
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	exponent = strings.TrimPrefix(exponent, "+")
	n, _ := strconv.Atoi(exponent)
	return mantissa + "E" + strconv.Itoa(n)
}

// maxKeyBytes bounds the text of a list or map that stands as a key: aliases
// may make it much longer than what was written.
const maxKeyBytes = 4096

// keyText writes a key as the Java platform does: [a:1, b:2] for a list,
// {a=1} for a map. It reports false for a list or map that is too long.
func keyText(v *value) (string, bool) {
	if v.scalar() {
		return v.text, true
	}
	var b strings.Builder
	writeKey(&b, v)
	return b.String(), b.Len() <= maxKeyBytes
}

func writeKey(b *strings.Builder, v *value) {
	if b.Len() > maxKeyBytes {
		return
	}
	switch v.kind {
	case nullValue:
		b.WriteString("null")
	case listValue:
		b.WriteByte('[')
		for i, item := range v.items {
			if i > 0 {
				b.WriteString(", ")
			}
			writeKey(b, item)
		}
		b.WriteByte(']')
	case mapValue:
		b.WriteByte('{')
		for i, e := range v.entries {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(e.key)
			b.WriteByte('=')
			writeKey(b, e.value)
		}
		b.WriteByte('}')
	default:
		b.WriteString(v.text)
	}
}

// plain returns v as encoding/json would: nil, bool, int64, float64, string,
// []any or map[string]any. A whole number that int64 does not hold stays a
// text, so that no digit is lost.
func (v *value) plain() any {
	switch v.kind {
	case booleanValue:
		return v.text == "true"
	case integerValue:
		if n, err := strconv.ParseInt(v.text, 10, 64); err == nil {
			return n
		}
		return v.text
	case decimalValue:
		return decimal(v.raw)
	case textValue:
		return v.text
	case listValue:
		list := make([]any, len(v.items))
		for i, item := range v.items {
			list[i] = item.plain()
		}
		return list
	case mapValue:
		m := make(map[string]any, len(v.entries))
		for _, e := range v.entries {
			m[e.key] = e.value.plain()
		}
		return m
	default:
		return nil
	}
}
