// Package chart draws results as SVG, readable on light and dark backgrounds and without colour: every line
// has its own mark, and its name at its end.
package chart

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Chart is lines over points that stand in a row.
type Chart struct {
	Title, Subtitle string
	// X and Y name the axes. Y is logarithmic.
	X, Y string
	// Points are the names of the points, from left to right.
	Points []string
	Lines  []Line
}

// Line is one line: at each point a value.
type Line struct {
	Name   string
	Values []Value
	// Dashed is for what is there to compare with.
	Dashed bool
}

// Value is what came out at a point, and the least and the greatest of its runs. A Median of 0 is none.
type Value struct{ Median, Least, Greatest float64 }

// The sheet, in pixels.
const (
	width, height = 900, 480
	left, right   = 78, 264 // right has the names of the lines
	top, bottom   = 78, 62
	gap           = 18 // between two names
)

// The colours are those of Okabe and Ito, which people of all kinds of sight tell apart, darker on a white sheet.
const style = `<style>
text{font:13px system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif;fill:var(--ink)}
.title{font-size:17px;font-weight:600}.small{font-size:12px;fill:var(--soft)}.name{font-weight:600}
.sheet{fill:var(--sheet)}.grid{stroke:var(--grid);stroke-width:1}.axis{stroke:var(--soft);stroke-width:1}
.line{fill:none;stroke-width:2.5;stroke-linejoin:round}.spread{stroke-width:1.5}
svg{--sheet:#fff;--ink:#1b1f24;--soft:#57606a;--grid:#e3e6ea;--c0:#0072b2;--c1:#b34a00;--c2:#007a5a;--c3:#a1457e;--c4:#7a5c00;--c5:#57606a}
@media (prefers-color-scheme:dark){svg{--sheet:#0d1117;--ink:#e6edf3;--soft:#9aa4af;--grid:#262d36;
--c0:#56b4e9;--c1:#f09048;--c2:#2fbf95;--c3:#e29ac6;--c4:#e6c229;--c5:#9aa4af}}
</style>
`

// SVG is the drawing.
func (c Chart) SVG() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-labelledby="t d">`+"\n",
		width, height, width, height)
	fmt.Fprintf(&b, "<title id=\"t\">%s</title>\n<desc id=\"d\">%s</desc>\n", escape(c.Title), escape(c.words()))
	b.WriteString(style)
	fmt.Fprintf(&b, `<rect class="sheet" width="%d" height="%d" rx="8"/>`+"\n", width, height)
	text(&b, "title", 24, 32, "start", c.Title)
	text(&b, "small", 24, 52, "start", c.Subtitle)
	s := c.scale()
	c.axes(&b, s)
	for i, at := range slices.Backward(c.names(s)) { // The first line lies on top.
		c.line(&b, s, i, at)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// words are the values, for those who do not see the drawing.
func (c Chart) words() string {
	var all []string
	for _, l := range c.Lines {
		var values []string
		for i, v := range l.Values {
			if v.Median > 0 {
				values = append(values, c.Points[i]+": "+thousands(v.Median))
			}
		}
		all = append(all, l.Name+" "+strings.Join(values, ", "))
	}
	return c.Y + " by " + c.X + ". " + strings.Join(all, "; ") + "."
}

func (c Chart) axes(b *strings.Builder, s scale) {
	for v := s.low; v <= s.high*1.0001; v = above(v * 1.0001) {
		fmt.Fprintf(b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`+"\n", left, width-right, s.y(v), s.y(v))
		text(b, "small", left-8, s.y(v)+4, "end", thousands(v))
	}
	fmt.Fprintf(b, `<line class="axis" x1="%d" x2="%d" y1="%d" y2="%d"/>`+"\n", left, width-right, height-bottom, height-bottom)
	for i, name := range c.Points {
		text(b, "", c.x(i), height-bottom+20, "middle", name)
	}
	text(b, "small", float64(left+width-right)/2, height-18, "middle", c.X)
	fmt.Fprintf(b, `<text class="small" transform="translate(22 %d) rotate(-90)" text-anchor="middle">%s</text>`+"\n",
		(top+height-bottom)/2, escape(c.Y))
}

// x is where a point stands.
func (c Chart) x(i int) float64 {
	const inset = 36
	span := float64(width - left - right - 2*inset)
	return left + inset + span*float64(i)/float64(max(1, len(c.Points)-1))
}

// line draws the i-th line; its name stands at named, or nowhere where that is 0.
func (c Chart) line(b *strings.Builder, s scale, i int, named float64) {
	l, colour, dash := c.Lines[i], fmt.Sprintf("var(--c%d)", i%6), ""
	if l.Dashed {
		dash = ` stroke-dasharray="6 5"`
	}
	var path []string
	for p, v := range l.Values {
		if v.Median > 0 {
			path = append(path, fmt.Sprintf("%.1f,%.1f", c.x(p), s.y(v.Median)))
		}
	}
	fmt.Fprintf(b, `<polyline class="line" stroke="%s"%s points="%s"/>`+"\n", colour, dash, strings.Join(path, " "))
	for p, v := range l.Values {
		if v.Median <= 0 {
			continue
		}
		if v.Least < v.Greatest {
			fmt.Fprintf(b, `<line class="spread" stroke="%s" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`+"\n",
				colour, c.x(p), c.x(p), s.y(v.Least), s.y(v.Greatest))
		}
		mark(b, i, c.x(p), s.y(v.Median), colour)
	}
	if named == 0 {
		return
	}
	last, end := l.Values[len(l.Values)-1].Median, c.x(len(c.Points)-1)
	fmt.Fprintf(b, `<line class="axis" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>`+"\n", end+9, end+34, s.y(last), named)
	fmt.Fprintf(b, `<text class="name" style="fill:%s" x="%.1f" y="%.1f">%s %s</text>`+"\n",
		colour, end+38, named+4, escape(l.Name), thousands(last))
}

// mark draws a line's own mark.
func mark(b *strings.Builder, i int, x, y float64, colour string) {
	const r = 5.5
	switch i % 5 {
	case 0:
		fmt.Fprintf(b, `<circle fill="%s" cx="%.1f" cy="%.1f" r="%.1f"/>`, colour, x, y, r)
	case 1:
		fmt.Fprintf(b, `<rect fill="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, colour, x-r+0.5, y-r+0.5, 2*r-1, 2*r-1)
	case 2:
		fmt.Fprintf(b, `<path fill="%s" d="M%.1f %.1fl%.1f %.1fh%.1fz"/>`, colour, x, y-r-0.5, r+0.5, 2*r, -2*r-1)
	case 3:
		fmt.Fprintf(b, `<path fill="%s" d="M%.1f %.1fl%.1f %.1fl%.1f %.1fl%.1f %.1fz"/>`, colour, x, y-r-1, r+1, r+1, -r-1, r+1, -r-1, -r-1)
	default:
		fmt.Fprintf(b, `<circle class="sheet" stroke="%s" stroke-width="2.5" cx="%.1f" cy="%.1f" r="%.1f"/>`, colour, x, y, r-1)
	}
	b.WriteString("\n")
}

func text(b *strings.Builder, class string, x, y float64, anchor, words string) {
	fmt.Fprintf(b, `<text class="%s" x="%.1f" y="%.1f" text-anchor="%s">%s</text>`+"\n", class, x, y, anchor, escape(words))
}

// escape makes words fit for XML.
func escape(words string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;").Replace(words)
}

// thousands writes a number with commas.
func thousands(v float64) string {
	if v < 10 && v != math.Round(v) {
		return fmt.Sprintf("%.2g", v)
	}
	text := fmt.Sprintf("%.0f", v)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
