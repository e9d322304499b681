package chart

import (
	"fmt"
	"html"
	"strings"
)

// Goals is values beside what they may be: a row each, on one scale.
type Goals struct {
	Title string
	Rows  []Goal
}

// Goal is one value as a share of its bound: below 1 it holds. Shares that are
// 0 or less are not drawn.
type Goal struct {
	Name        string
	Value       string // as people write it
	Share       float64
	Least, Most float64 // of several; 0 = only one
	Further     float64 // share that is hoped for; 0 = none
}

// Geometry in pixels.
const (
	goalsLeft  = 360
	goalsRight = 110
	goalsTop   = 74
	rowHeight  = 26
	goalsWidth = 960
)

const goalsStyle = `<style>.ok{fill:#1a7f37;stroke:#1a7f37}.no{fill:#cf222e;stroke:#cf222e}.m{stroke:#1f2328;stroke-width:1.5}.w{stroke-width:2.2}.n{fill:#1f2328}
@media(prefers-color-scheme:dark){.ok{fill:#3fb950;stroke:#3fb950}.no{fill:#f85149;stroke:#f85149}.m{stroke:#e6edf3}.n{fill:#e6edf3}}</style>
`

// SVG is the picture.
func (g *Goals) SVG() []byte {
	var b strings.Builder
	height := goalsTop + rowHeight*len(g.Rows) + 52
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`+"\n",
		goalsWidth, height, goalsWidth, height, html.EscapeString(g.Title))
	b.WriteString(style + goalsStyle)
	fmt.Fprintf(&b, `<rect class="bg" x="0.5" y="0.5" width="%d" height="%d" rx="8"/>`+"\n", goalsWidth-1, height-1)
	text(&b, 20, 28, "t", "start", g.Title)
	x, end := g.scale(), float64(goalsTop+rowHeight*len(g.Rows))
	for _, t := range x.ticks {
		line(&b, "g", x.at(t.Value), goalsTop-8, x.at(t.Value), end)
		text(&b, x.at(t.Value), end+18, "x", "middle", t.Text)
	}
	text(&b, (goalsLeft+goalsWidth-goalsRight)/2, end+38, "x", "middle", "share of what is allowed, log scale: further left is better; grey marks are the stretch")
	line(&b, "m", x.at(1), goalsTop-8, x.at(1), end)
	text(&b, x.at(1), goalsTop-14, "x", "middle", "must")
	for i := range g.Rows {
		g.Rows[i].draw(&b, x, float64(goalsTop+rowHeight*i)+rowHeight/2)
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

// scale spans all shares and 1.
func (g *Goals) scale() scale {
	values := []float64{0.5, 2}
	for _, r := range g.Rows {
		for _, v := range []float64{r.Share, r.Least, r.Most, r.Further} {
			if v > 0 {
				values = append(values, v)
			}
		}
	}
	return newScale(Axis{Log: true}, values, goalsLeft, goalsWidth-goalsRight)
}

func (r *Goal) draw(b *strings.Builder, x scale, y float64) {
	text(b, goalsLeft-16, y+4.5, "n", "end", r.Name)
	text(b, goalsWidth-goalsRight+14, y+4.5, "n", "start", r.Value)
	if r.Further > 0 {
		line(b, "a w", x.at(r.Further), y-7, x.at(r.Further), y+7)
	}
	if r.Share <= 0 {
		return
	}
	class := "ok"
	if r.Share > 1 {
		class = "no"
	}
	if r.Least > 0 && r.Most > 0 {
		line(b, class+" w", x.at(r.Least), y, x.at(r.Most), y)
	}
	fmt.Fprintf(b, `<circle class="%s" cx="%.1f" cy="%.1f" r="5"/>`+"\n", class, x.at(r.Share), y)
}
