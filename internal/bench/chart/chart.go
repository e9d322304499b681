// Package chart draws line charts as SVG: plain ones, with few ticks and the
// names of the lines beside them. The same chart is always the same bytes. They
// follow the reader's light or dark mode by themselves.
package chart

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Chart is lines over two axes.
type Chart struct {
	Name   string   `json:"name"` // of the file, without suffix
	Title  string   `json:"title"`
	X      Axis     `json:"x"`
	Y      Axis     `json:"y"`
	Series []Series `json:"series"`
}

// Axis is one direction. Label names the quantity and its unit.
type Axis struct {
	Label string `json:"label"`
	Log   bool   `json:"log,omitempty"`   // values are above 0
	Ticks []Tick `json:"ticks,omitempty"` // none = chosen by the values
}

// Tick is a value with its text.
type Tick struct {
	Value float64 `json:"value"`
	Text  string  `json:"text"`
}

// Series is one line. Points that cannot be drawn, such as NaN, leave a gap.
type Series struct {
	Name   string       `json:"name"`
	Points [][2]float64 `json:"points"`
	Bare   bool         `json:"bare,omitempty"`   // a floor or a bound to compare with: grey
	Dashed bool         `json:"dashed,omitempty"` // calculated, not measured: no dots
}

// Geometry in pixels.
const (
	width, height  = 760, 392
	left, right    = 76, 176 // of the plot's edges from the picture's
	top, bottom    = 70, 60
	plotW, plotH   = width - left - right, height - top - bottom
	dotRadius      = 3.2
	mostLinearTick = 6
	mostLogTicks   = 8
)

const style = `<style>
svg{font:13px system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
.bg{fill:#ffffff;stroke:#d8dee4}.t{fill:#1f2328;font-size:15px;font-weight:600}.x{fill:#59636e}
.g{stroke:#e4e8ec}.a{stroke:#8c959f}
.l{fill:none;stroke-width:2.2;stroke-linejoin:round;stroke-linecap:round}.d{stroke-dasharray:6 5}
.s0{stroke:#0969da}.s1{stroke:#bc4c00}.s2{stroke:#8250df}.s3{stroke:#1a7f37}.b{stroke:#818b98}
.f0{fill:#0969da}.f1{fill:#bc4c00}.f2{fill:#8250df}.f3{fill:#1a7f37}.fb{fill:#6e7781}
@media(prefers-color-scheme:dark){
.bg{fill:#0d1117;stroke:#30363d}.t{fill:#e6edf3}.x{fill:#9198a1}
.g{stroke:#21262d}.a{stroke:#6e7681}
.s0{stroke:#58a6ff}.s1{stroke:#f0883e}.s2{stroke:#bc8cff}.s3{stroke:#3fb950}.b{stroke:#7d8590}
.f0{fill:#58a6ff}.f1{fill:#f0883e}.f2{fill:#bc8cff}.f3{fill:#3fb950}.fb{fill:#9198a1}}
</style>
`

const hues = 4

// SVG is the picture.
func (c *Chart) SVG() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`+"\n",
		width, height, width, height, html.EscapeString(c.Describe()))
	b.WriteString(style)
	fmt.Fprintf(&b, `<rect class="bg" x="0.5" y="0.5" width="%d" height="%d" rx="8"/>`+"\n", width-1, height-1)
	text(&b, left-56, 28, "t", "start", c.Title)
	x, y := c.scales()
	c.drawGrid(&b, x, y)
	c.drawLines(&b, x, y)
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

// Describe is the chart for who cannot see it.
func (c *Chart) Describe() string {
	names := make([]string, len(c.Series))
	for i, s := range c.Series {
		names[i] = s.Name
	}
	return fmt.Sprintf("%s. %s over %s: %s", c.Title, c.Y.Label, c.X.Label, strings.Join(names, ", "))
}

// scales spans both axes over all points.
func (c *Chart) scales() (x, y scale) {
	var xs, ys []float64
	for _, s := range c.Series {
		for _, p := range s.Points {
			if c.X.holds(p[0]) && c.Y.holds(p[1]) {
				xs, ys = append(xs, p[0]), append(ys, p[1])
			}
		}
	}
	return newScale(c.X, xs, left, left+plotW), newScale(c.Y, ys, top+plotH, top)
}

// holds reports whether a value can be drawn on the axis.
func (a *Axis) holds(v float64) bool {
	return !math.IsNaN(v) && !math.IsInf(v, 0) && (!a.Log || v > 0)
}

func (c *Chart) drawGrid(b *strings.Builder, x, y scale) {
	for _, t := range y.ticks {
		at := y.at(t.Value)
		line(b, "g", left, at, left+plotW, at)
		text(b, left-9, at+4.5, "x", "end", t.Text)
	}
	for _, t := range x.ticks {
		at := x.at(t.Value)
		line(b, "a", at, top+plotH, at, top+plotH+5)
		text(b, at, top+plotH+20, "x", "middle", t.Text)
	}
	line(b, "a", left, top+plotH, left+plotW, top+plotH)
	text(b, left-56, 50, "x", "start", c.Y.Label)
	text(b, left+plotW/2, height-16, "x", "middle", c.X.Label)
}

// drawLines draws the compared ones first, so that ours are on top.
func (c *Chart) drawLines(b *strings.Builder, x, y scale) {
	var labels []label
	hue := 0
	colours := make([]string, len(c.Series))
	for i, s := range c.Series {
		if colours[i] = "b"; !s.Bare {
			colours[i] = fmt.Sprint(hue % hues)
			hue++
		}
	}
	for _, bare := range []bool{true, false} {
		for i := range c.Series {
			if s := &c.Series[i]; s.Bare == bare {
				if right, at, ok := c.drawSeries(b, s, colours[i], x, y); ok {
					labels = append(labels, label{name: s.Name, colour: colours[i], x: right + 10, y: at})
				}
			}
		}
	}
	for _, l := range spread(labels) {
		text(b, l.x, l.y+4.5, "f"+l.colour, "start", l.name)
	}
}

// drawSeries returns where its line ends; ok is false when it has no point.
func (c *Chart) drawSeries(b *strings.Builder, s *Series, colour string, x, y scale) (right, at float64, ok bool) {
	var path, dots strings.Builder
	pen := "M"
	for _, p := range s.Points {
		if !c.X.holds(p[0]) || !c.Y.holds(p[1]) {
			pen = "M"
			continue
		}
		px, py := x.at(p[0]), y.at(p[1])
		fmt.Fprintf(&path, "%s%.1f %.1f", pen, px, py)
		if !s.Dashed {
			fmt.Fprintf(&dots, `<circle class="f%s" cx="%.1f" cy="%.1f" r="%.1f"/>`, colour, px, py, dotRadius)
		}
		pen, right, at, ok = "L", px, py, true
	}
	class := "l b"
	if !s.Bare {
		class = "l s" + colour
	}
	if s.Dashed {
		class += " d"
	}
	if ok {
		fmt.Fprintf(b, `<path class="%s" d="%s"/>%s`+"\n", class, path.String(), dots.String())
	}
	return right, at, ok
}

func line(b *strings.Builder, class string, x1, y1, x2, y2 float64) {
	fmt.Fprintf(b, `<line class="%s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`+"\n", class, x1, y1, x2, y2)
}

func text(b *strings.Builder, x, y float64, class, anchor, s string) {
	fmt.Fprintf(b, `<text class="%s" x="%.1f" y="%.1f" text-anchor="%s">%s</text>`+"\n", class, x, y, anchor, html.EscapeString(s))
}
