package bench

import (
	"bytes"
	"strings"
	"testing"
)

func TestProgressBarEndsFull(t *testing.T) {
	var out bytes.Buffer
	o := Options{Progress: &out, Terminal: true, Runs: 3}
	c, err := choose([]string{"list", "bulk", "storm"}, false)
	if err != nil {
		t.Fatal(err)
	}
	p := newProgress(o, c)
	for range o.Runs {
		for _, b := range c.budgets {
			p.begin(b.name, b.what)
			p.done(b.weight)
		}
	}
	for _, s := range c.scenarios {
		p.begin(s.name, s.title)
		p.done(s.weight)
	}
	if state := p.(progressBar).bar.State(); state.CurrentNum != state.Max {
		t.Errorf("the bar is at %d of %d after all is done", state.CurrentNum, state.Max)
	}
	p.end()
	if !strings.Contains(out.String(), "list") {
		t.Errorf("the bar does not tell what is measured: %q", out.String())
	}
}

func TestProgressWithoutATerminalIsLines(t *testing.T) {
	var out bytes.Buffer
	p := newProgress(Options{Progress: &out}, choice{})
	p.begin("storm", "everybody comes back")
	p.done(3)
	p.end()
	if got, want := out.String(), "measuring storm: everybody comes back\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
