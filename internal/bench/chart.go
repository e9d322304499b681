package bench

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Chart is a set of lines over two axes.
type Chart struct {
	Name   string   `json:"name"` // of the file, without suffix
	Title  string   `json:"title"`
	X      Axis     `json:"x"`
	Y      Axis     `json:"y"`
	Series []Series `json:"series"`
}

// Axis is one direction. Label names the quantity and its unit.
type Axis struct {
	Label string   `json:"label"`
	Log   bool     `json:"log,omitempty"`
	Names []string `json:"names,omitempty"` // of the values 0, 1, 2 and so on; none = numbers
}

// Series is one line.
type Series struct {
	Name   string      `json:"name"`
	Points [][2]Figure `json:"points"`
	Bare   bool        `json:"bare,omitempty"` // a floor or a bound to compare with: grey
}

func (s *Series) add(x, y Figure) { s.Points = append(s.Points, [2]Figure{x, y}) }

var hues = []color.Color{color.RGBA{9, 105, 218, 255}, color.RGBA{188, 76, 0, 255}, color.RGBA{130, 80, 223, 255}, color.RGBA{26, 127, 55, 255}}

// newPlot is an empty plot on white, so that every page shows it readably.
func newPlot(title string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.Title.Padding = title, vg.Points(8)
	p.Legend.Top, p.Legend.Left = true, true
	for _, s := range []*draw.TextStyle{&p.Title.TextStyle, &p.X.Label.TextStyle, &p.Y.Label.TextStyle, &p.X.Tick.Label, &p.Y.Tick.Label, &p.Legend.TextStyle} {
		s.Font.Variant = "Sans"
	}
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = color.Gray{228}, color.Gray{228}
	p.Add(grid)
	return p
}

// svg draws the chart: lines, or with names on the y axis the first series as bars
// and the others as lines over them. The same chart always gives the same bytes.
func (c *Chart) svg() ([]byte, error) {
	p, barred := newPlot(c.Title), len(c.Y.Names) > 0
	for i, s := range c.Series {
		if barred && i == 0 {
			if err := c.addBars(p); err != nil {
				return nil, err
			}
			continue
		}
		points := c.drawable(s.Points)
		if len(points) == 0 {
			continue
		}
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return nil, err
		}
		line.Color, line.Width = hues[i%len(hues)], vg.Points(1.6)
		if s.Bare {
			line.Color = color.Gray{129}
		}
		dots.Shape, dots.Color = draw.CircleGlyph{}, line.Color
		p.Add(line)
		if !barred {
			p.Add(dots)
			p.Legend.Add(s.Name, line)
		}
	}
	if barred {
		p.X.Min, p.X.Label.Text = 0, c.X.Label
		return render(p, vg.Length(75+18*len(c.Y.Names)))
	}
	c.X.set(&p.X)
	c.Y.set(&p.Y)
	return render(p, 300)
}

// addBars adds a bar for each name of the y axis, the first name at the top.
func (c *Chart) addBars(p *plot.Plot) error {
	names := slices.Clone(c.Y.Names)
	slices.Reverse(names)
	values := make(plotter.Values, len(names))
	for i, point := range c.Series[0].Points {
		if !point[0].none() {
			values[len(names)-1-i] = float64(point[0])
		}
	}
	bars, err := plotter.NewBarChart(values, vg.Points(9))
	if err != nil {
		return err
	}
	bars.Horizontal, bars.Color, bars.LineStyle.Width = true, hues[0], 0
	p.Add(bars)
	p.NominalY(names...)
	return nil
}

// drawable leaves out points that a logarithmic axis cannot show.
func (c *Chart) drawable(points [][2]Figure) (kept plotter.XYs) {
	for _, p := range points {
		x, y := float64(p[0]), float64(p[1])
		if !p[0].none() && !p[1].none() && (x > 0 || !c.X.Log) && (y > 0 || !c.Y.Log) {
			kept = append(kept, plotter.XY{X: x, Y: y})
		}
	}
	return kept
}

// set extends a logarithmic axis to whole decades, because only these have labels.
func (a *Axis) set(axis *plot.Axis) {
	axis.Label.Text = a.Label
	switch {
	case len(a.Names) > 0:
		var ticks []plot.Tick
		for i, name := range a.Names {
			ticks = append(ticks, plot.Tick{Value: float64(i), Label: name})
		}
		axis.Tick.Marker = plot.ConstantTicks(ticks)
	case a.Log && axis.Min > 0 && axis.Max >= axis.Min:
		axis.Scale, axis.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
		axis.Min, axis.Max = math.Pow(10, math.Floor(math.Log10(axis.Min))), math.Pow(10, math.Ceil(math.Log10(axis.Max)))
		if axis.Min == axis.Max {
			axis.Max *= 10
		}
	case !a.Log:
		axis.Min = min(axis.Min, 0)
	}
}

// render draws an image 520 points wide. The fonts have one set of widths.
func render(p *plot.Plot, height vg.Length) ([]byte, error) {
	canvas := vgsvg.New(520, height)
	p.Draw(draw.New(canvas))
	var b bytes.Buffer
	_, err := canvas.WriteTo(&b)
	return bytes.ReplaceAll(b.Bytes(), []byte("font-family:Liberation Sans;"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif;")), err
}

// words are the alternative text of the image.
func (c Chart) words() string {
	var names []string
	for _, s := range c.Series {
		names = append(names, s.Name)
	}
	return fmt.Sprintf("%s. %s over %s: %s", c.Title, c.Y.Label, c.X.Label, strings.Join(names, ", "))
}

// budgetChart has a bar for each budget: the measured value as a share of the
// bound. Less is better.
func budgetChart(rows []Row) Chart {
	c := Chart{Name: budgetsName, Title: "Budgets", X: Axis{Label: "measured, as a share of what is allowed: less is better"}}
	var shares, bound Series
	for i := range rows {
		if !rows[i].Median.none() {
			c.Y.Names = append(c.Y.Names, rows[i].What)
			shares.add(Figure(min(rows[i].share(), 3)), 0)
		}
	}
	bound.add(1, -0.5)
	bound.add(1, Figure(len(c.Y.Names))-0.5)
	c.Series = []Series{shares, bound}
	return c
}
