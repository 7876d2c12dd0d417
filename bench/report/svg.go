// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"fmt"
	"html"
	"strings"
)

// drawing is an SVG in the making. Lengths are in pixels from the top left.
type drawing struct {
	b             bytes.Buffer
	width, height float64
	title, story  string
}

// style has colours for light and dark surroundings, on a ground of its own:
// a page in the other colour does not make it unreadable.
const style = `
.ground{fill:#fbfcfc;stroke:#d5dee1}
.grid{stroke:#d5dee1;stroke-width:1;fill:none}
.mark{stroke:#46606b;stroke-width:1.5;stroke-dasharray:4 3;fill:none}
text{fill:#12303a}
.soft{fill:#46606b}
.line{fill:none;stroke-width:2.2;stroke-linejoin:round}
.c0{fill:#12867a}.l0{stroke:#12867a}
.c1{fill:#c1762b}.l1{stroke:#c1762b}
.c2{fill:#5a6fb5}.l2{stroke:#5a6fb5}
.c3{fill:#a2558f}.l3{stroke:#a2558f}
@media (prefers-color-scheme:dark){
.ground{fill:#10191d;stroke:#33474f}
.grid{stroke:#2b3c43}
.mark{stroke:#9db2ba}
text{fill:#e3ecef}
.soft{fill:#a9bcc3}
.c0{fill:#35b5a6}.l0{stroke:#35b5a6}
.c1{fill:#e29a52}.l1{stroke:#e29a52}
.c2{fill:#8b9fe0}.l2{stroke:#8b9fe0}
.c3{fill:#d08abd}.l3{stroke:#d08abd}
}
`

// colours is how many the style has.
const colours = 4

// glyph is about how wide a character of a size of 13 pixels is at most, on
// average over a text.
const glyph = 7.4

func (d *drawing) text(x, y float64, class, anchor, text string) {
	fmt.Fprintf(&d.b, `<text x="%.1f" y="%.1f" text-anchor="%s"`, x, y, anchor)
	if class != "" {
		fmt.Fprintf(&d.b, ` class="%s"`, class)
	}
	fmt.Fprintf(&d.b, ">%s</text>\n", html.EscapeString(text))
}

func (d *drawing) bar(x, y, width, height float64, colour int) {
	fmt.Fprintf(&d.b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="2" class="c%d"/>`+"\n", x, y, width, height, colour%colours)
}

func (d *drawing) rule(class string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(&d.b, `<path class="%s" d="M%.1f %.1fL%.1f %.1f"/>`+"\n", class, x1, y1, x2, y2)
}

// curve draws a line through points, x and y in turn.
func (d *drawing) curve(points []float64, colour int) {
	var path strings.Builder
	for i := 0; i+1 < len(points); i += 2 {
		command := "L"
		if i == 0 {
			command = "M"
		}
		fmt.Fprintf(&path, "%s%.1f %.1f", command, points[i], points[i+1])
	}
	fmt.Fprintf(&d.b, `<path class="line l%d" d="%s"/>`+"\n", colour%colours, path.String())
}

// legend draws names with colours from a first one on, in lines no wider than
// the drawing, and returns the y below them.
func (d *drawing) legend(x, y float64, names []string, first int) float64 {
	const square, gap = 12, 24
	at := x
	for i, name := range names {
		width := square + 6 + glyph*float64(len([]rune(name)))
		if at > x && at+width > d.width-x {
			at = x
			y += 20
		}
		d.bar(at, y-square+2, square, square, first+i)
		d.text(at+square+6, y, "", "start", name)
		at += width + gap
	}
	return y + 20
}

// bytes returns the finished SVG.
func (d *drawing) bytes() []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" role="img" aria-labelledby="t d" font-family="Helvetica, Arial, sans-serif" font-size="13">`+"\n",
		d.width, d.height, d.width, d.height)
	fmt.Fprintf(&out, "<title id=\"t\">%s</title>\n<desc id=\"d\">%s</desc>\n", html.EscapeString(d.title), html.EscapeString(d.story))
	fmt.Fprintf(&out, "<style>%s</style>\n", style)
	fmt.Fprintf(&out, `<rect x="0.5" y="0.5" width="%.0f" height="%.0f" rx="10" class="ground"/>`+"\n", d.width-1, d.height-1)
	out.Write(d.b.Bytes())
	out.WriteString("</svg>\n")
	return out.Bytes()
}
