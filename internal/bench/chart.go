package bench

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
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
	Bare   bool        `json:"bare,omitempty"`   // a floor or a bound to compare with: grey
	Dashed bool        `json:"dashed,omitempty"` // calculated, not measured
}

func (s *Series) add(x, y float64) { s.Points = append(s.Points, [2]Figure{Figure(x), Figure(y)}) }

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

// svg draws the chart. The same chart always gives the same bytes.
func (c *Chart) svg() ([]byte, error) {
	if len(c.Y.Names) > 0 {
		return c.bars()
	}
	p := newPlot(c.Title)
	for i, s := range c.Series {
		points := c.drawable(s.Points)
		if len(points) == 0 {
			continue
		}
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return nil, fmt.Errorf("draw %s: %w", c.Name, err)
		}
		line.Color, line.Width = hues[i%len(hues)], vg.Points(1.6)
		dots.Shape = draw.CircleGlyph{}
		if s.Bare {
			line.Color = color.Gray{129}
		}
		dots.Color = line.Color
		p.Legend.Add(s.Name, line)
		if s.Dashed {
			line.Dashes = []vg.Length{vg.Points(5), vg.Points(4)}
			p.Add(line)
			continue
		}
		p.Add(line, dots)
	}
	c.X.set(&p.X)
	c.Y.set(&p.Y)
	return render(p, 300)
}

// bars draws the first series as a bar for each name of the y axis, the first name
// at the top, and further series as lines over them.
func (c *Chart) bars() ([]byte, error) {
	p, n := newPlot(c.Title), len(c.Y.Names)
	values, names := make(plotter.Values, n), make([]string, n)
	for i, point := range c.Series[0].Points {
		if y := n - 1 - i; !point[0].none() {
			values[y] = float64(point[0])
		}
		names[n-1-i] = c.Y.Names[i]
	}
	bars, err := plotter.NewBarChart(values, vg.Points(9))
	if err != nil {
		return nil, fmt.Errorf("draw %s: %w", c.Name, err)
	}
	bars.Horizontal, bars.Color, bars.LineStyle.Width = true, hues[0], 0
	p.Add(bars)
	for _, s := range c.Series[1:] {
		line, err := plotter.NewLine(c.drawable(s.Points))
		if err != nil {
			return nil, fmt.Errorf("draw %s: %w", c.Name, err)
		}
		line.Color, line.Width = hues[1], vg.Points(1.6)
		p.Add(line)
	}
	p.NominalY(names...)
	p.X.Min, p.X.Label.Text = 0, c.X.Label
	return render(p, vg.Length(75+18*n))
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

// describe is the chart in words: the alternative text of the image.
func (c *Chart) describe() string {
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
			shares.add(min(rows[i].share(), 3), 0)
		}
	}
	bound.add(1, -0.5)
	bound.add(1, float64(len(c.Y.Names))-0.5)
	c.Series = []Series{shares, bound}
	return c
}
