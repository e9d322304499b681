package bench

import (
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress tells people how far the run is.
type progress interface {
	begin(name, what string)
	done(weight int) // of what has begun
	end()
}

// newProgress is a bar on a terminal, and lines elsewhere.
func newProgress(o Options, c choice) progress {
	if !o.Terminal {
		return progressLines{o.Progress}
	}
	total := 0
	for _, b := range c.budgets {
		total += b.weight * o.Runs
	}
	for _, s := range c.scenarios {
		total += s.weight
	}
	return progressBar{progressbar.NewOptions(total, progressbar.OptionSetWriter(o.Progress), progressbar.OptionSetDescription("measuring"),
		progressbar.OptionSetWidth(30), progressbar.OptionSetPredictTime(true), progressbar.OptionSetElapsedTime(true),
		progressbar.OptionFullWidth(), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())}
}

type progressLines struct{ out io.Writer }

func (p progressLines) begin(name, what string) {
	fmt.Fprintf(p.out, "measuring %s: %s\n", name, what)
}
func (progressLines) done(int) {}
func (progressLines) end()     {}

type progressBar struct{ bar *progressbar.ProgressBar }

func (p progressBar) begin(name, _ string) { p.bar.Describe(fmt.Sprintf("%-16s", name)) }
func (p progressBar) done(weight int)      { _ = p.bar.Add(weight) }
func (p progressBar) end()                 { _ = p.bar.Finish() }
