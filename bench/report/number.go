// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/sluice-mesh/sluice/bench"
)

// count writes a number of things with commas between thousands; what is no
// whole number is rounded.
func count[T ~int | ~int64 | ~float64](n T) string {
	text := strconv.FormatInt(int64(math.Round(float64(n))), 10)
	digits, sign := strings.TrimPrefix(text, "-"), ""
	if digits != text {
		sign = "-"
	}
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return sign + b.String()
}

// things counts what has a plural in s.
func things[T ~int | ~int64](n T, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return count(n) + " " + noun + "s"
}

// rate writes requests a second: whole ones, and small rates to a tenth.
func rate(r float64) string {
	if r > 0 && r < 100 && r != math.Trunc(r) {
		return strconv.FormatFloat(r, 'f', 1, 64)
	}
	return count(r)
}

// period writes a duration to three digits with a unit that suits.
func period(m bench.Micros) string {
	switch {
	case m < 0.9995e3:
		return digits(float64(m)) + " µs"
	case m < 0.9995e6:
		return digits(float64(m)/1e3) + " ms"
	default:
		return digits(float64(m)/1e6) + " s"
	}
}

// digits writes three digits of a number below a thousand, without zeros
// behind the point.
func digits(v float64) string {
	places := 2
	switch {
	case v >= 99.95:
		places = 0
	case v >= 9.995:
		places = 1
	}
	text := strconv.FormatFloat(v, 'f', places, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// size writes bytes with a unit that suits.
func size(bytes float64) string {
	switch {
	case math.Abs(bytes) < 1<<10:
		return count(bytes) + " B"
	case math.Abs(bytes) < 1<<20:
		return fmt.Sprintf("%.1f KB", bytes/(1<<10))
	default:
		return fmt.Sprintf("%.1f MB", bytes/(1<<20))
	}
}

// share writes a part of a whole in percent; what is little but not nothing
// is not written as zero.
func share(part, whole int64) string {
	if whole == 0 {
		return "0 %"
	}
	p := 100 * float64(part) / float64(whole)
	switch {
	case part > 0 && p < 0.1:
		return "below 0.1 %"
	case part < whole && p > 99.9:
		return "above 99.9 %"
	default:
		return strconv.FormatFloat(math.Round(p*10)/10, 'f', -1, 64) + " %"
	}
}

// times writes a ratio to two places, and a small one to two digits.
func times(v float64) string {
	if v > 0 && v < 0.095 {
		return strconv.FormatFloat(v, 'g', 2, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// spread writes a ratio with its extremes, if it has any.
func spread(r bench.Ratio) string {
	switch {
	case r.Value == 0:
		return "-"
	case r.Rounds < 2:
		return times(r.Value)
	default:
		return times(r.Value) + " (" + times(r.Low) + " to " + times(r.High) + ")"
	}
}
