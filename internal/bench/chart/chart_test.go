package chart

import (
	"bytes"
	"encoding/xml"
	"flag"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

// latency has all that a chart may have: two axes of different kinds, a gap, a
// grey line, a calculated one, names close to each other.
func latency() Chart {
	return Chart{Name: "latency", Title: "Push <acked> & more", X: Axis{Label: "pushes per second"}, Y: Axis{Label: "latency, ms", Log: true},
		Series: []Series{
			{Name: "p50", Points: [][2]float64{{1000, 0.4}, {5000, 0.9}, {9000, 12}}},
			{Name: "p99", Points: [][2]float64{{1000, 1.3}, {3000, math.NaN()}, {5000, 4.9}, {9000, 61}}},
			{Name: "p99.9", Points: [][2]float64{{1000, 4.3}, {5000, 9.9}, {9000, 71}}},
			{Name: "bare", Bare: true, Points: [][2]float64{{1000, 0.4}, {9000, 1.4}}},
			{Name: "goal", Bare: true, Dashed: true, Points: [][2]float64{{1000, 5}, {9000, 5}}},
		}}
}

func TestGolden(t *testing.T) {
	c := latency()
	got := c.SVG()
	name := filepath.Join("testdata", "latency.svg")
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("chart (-want +got; -update writes it anew):\n%s", diff)
	}
	if !bytes.Equal(got, c.SVG()) {
		t.Error("the same chart is not the same bytes")
	}
}

func TestChartIsXML(t *testing.T) {
	for name, c := range map[string]Chart{
		"full":          latency(),
		"empty":         {},
		"no points":     {Title: "a", Series: []Series{{Name: "b"}}},
		"nothing drawn": {Y: Axis{Log: true}, Series: []Series{{Points: [][2]float64{{1, 0}, {2, -1}, {3, math.Inf(1)}}}}},
		"one point":     {X: Axis{Log: true}, Y: Axis{Log: true}, Series: []Series{{Points: [][2]float64{{3, 7}}}}},
		"all the same":  {Series: []Series{{Points: [][2]float64{{0, 0}, {0, 0}}}}},
	} {
		svg := c.SVG()
		d := xml.NewDecoder(bytes.NewReader(svg))
		for {
			if _, err := d.Token(); err == io.EOF {
				break
			} else if err != nil {
				t.Errorf("%s: %v", name, err)
				break
			}
		}
		if text := string(svg); strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
			t.Errorf("%s: the chart has values that are none", name)
		}
	}
}

func TestScaleCoversItsValues(t *testing.T) {
	for _, c := range []struct {
		axis   Axis
		values []float64
		ticks  string
	}{
		{Axis{}, []float64{3, 112}, "0 20 40 60 80 100 120"},
		{Axis{}, []float64{15_000}, "0 5,000 10,000 15,000"},
		{Axis{}, []float64{0.6, 0.9}, "0 0.2 0.4 0.6 0.8 1"},
		{Axis{}, []float64{-3, 4}, "-4 -2 0 2 4"},
		{Axis{}, []float64{0}, "0"},
		{Axis{Log: true}, []float64{0.4, 71}, "1 10 100"},
		{Axis{Log: true}, []float64{0.4, 1500}, "1 10 100 1,000"},
		{Axis{Log: true}, []float64{10, 50}, "10 20 50"},
		{Axis{Log: true}, []float64{5}, "5 10"},
		{Axis{Ticks: []Tick{{0, "p50"}, {3, "max"}}}, []float64{1, 2}, "p50 max"},
	} {
		s := newScale(c.axis, c.values, 100, 500)
		var ticks []string
		for _, tick := range s.ticks {
			ticks = append(ticks, tick.Text)
		}
		if got := strings.Join(ticks, " "); got != c.ticks {
			t.Errorf("%v: ticks are %q, want %q", c.values, got, c.ticks)
		}
		for _, v := range append(c.values, s.ticks[0].Value, s.ticks[len(s.ticks)-1].Value) {
			if at := s.at(v); at < 100-1e-6 || at > 500+1e-6 {
				t.Errorf("%v: %v is at %v, outside of 100 to 500", c.values, v, at)
			}
		}
	}
}

func TestLabelsDoNotCoverEachOther(t *testing.T) {
	limit := float64(top + plotH)
	labels := spread([]label{{name: "c", x: 100, y: limit - 1}, {name: "a", x: 100, y: limit - 3}, {name: "b", x: 100, y: limit - 2},
		{name: "far", x: 5, y: limit - 2}, {name: "long name", x: 60, y: 50}, {name: "above", x: 100, y: 52}})
	var names []string
	for i := range labels {
		l := &labels[i]
		names = append(names, l.name)
		if l.y > limit {
			t.Errorf("%s is at %v, below the plot", l.name, l.y)
		}
		for k := range i {
			if l.covers(&labels[k]) {
				t.Errorf("%+v covers %+v", l, labels[k])
			}
		}
	}
	if got, want := strings.Join(names, ", "), "above, a, b, c, long name, far"; got != want {
		t.Errorf("labels are %s, want %s", got, want)
	}
	if got, want := labels[5].y, limit-2; got != want {
		t.Errorf("a label that was in nobody's way is at %v, want %v", got, want)
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.1 + 0.2: "0.3", 0.00005: "0.00005", 999: "999", 1000: "1,000", 1234567: "1,234,567", -5000: "-5,000", 2.5: "2.5"} {
		if got := number(v); got != want {
			t.Errorf("number(%v) = %q, want %q", v, got, want)
		}
	}
}

func TestGoalsGolden(t *testing.T) {
	g := Goals{Title: "Budgets", Rows: []Goal{
		{Name: "memory per idle client", Value: "4.1 KiB", Share: 0.91, Further: 0.22},
		{Name: "HTTP push", Value: "0.37 ×", Share: 1.08, Least: 0.9, Most: 1.3, Further: 0.8},
		{Name: "restart", Value: "-"},
	}}
	got := g.SVG()
	name := filepath.Join("testdata", "goals.svg")
	if *update {
		if err := os.WriteFile(name, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("goals (-want +got; -update writes it anew):\n%s", diff)
	}
}
