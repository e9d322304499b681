package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/longwire/longwire/internal/bench/chart"
)

// Files of a report; the charts are NAME.svg.
const (
	reportPage = "report.md"
	reportData = "report.json"
	goalsName  = "budgets"
)

// save writes the report for people and for programs into dir, which is made
// when there is none. Charts of an earlier report that this one does not have
// stay.
func (r *Report) save(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var data bytes.Buffer
	if err := r.encode(&data); err != nil {
		return err
	}
	files := map[string][]byte{reportData: data.Bytes(), reportPage: []byte(r.markdown())}
	if len(r.Rows) > 0 {
		goals := r.goals()
		files[goalsName+".svg"] = goals.SVG()
	}
	for _, s := range r.Scenarios {
		for _, c := range s.Charts {
			files[c.Name+".svg"] = c.SVG()
		}
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// markdown is the report as a page.
func (r *Report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Performance of longwire %s\n\n", r.Machine.Version)
	fmt.Fprintf(&b, "Written by `longwire bench`%s. How each figure comes about, and what it does not say: [the method](README.md).\n\n", r.when())
	r.Machine.describe(&b)
	if len(r.Rows) > 0 {
		r.describeBudgets(&b)
	}
	for i := range r.Scenarios {
		if c := r.Scenarios[i].Capacity; c != nil {
			describeCapacity(&b, c)
		}
	}
	for i := range r.Scenarios {
		r.Scenarios[i].describe(&b)
	}
	return b.String()
}

func (r *Report) when() string {
	if r.Machine.At.IsZero() {
		return ""
	}
	return fmt.Sprintf(" on %s in %.0f minutes", r.Machine.At.Format("2 January 2006"), max(1, r.Took/60))
}

// describe tells where it was measured.
func (m *Machine) describe(b *strings.Builder) {
	cpu := ""
	if m.CPU != "" {
		cpu = " (" + m.CPU + ")"
	}
	fmt.Fprintf(b, "**Machine.** %d CPUs%s", m.CPUs, cpu)
	if m.Memory > 0 {
		fmt.Fprintf(b, ", %.0f GiB of memory", float64(m.Memory)/(1<<30))
	}
	fmt.Fprintf(b, ", %s on %s, %s. fsync takes %.2f ms (median). Gateway, devices and callers share the CPUs.", m.OS, m.Arch, m.Go, m.FsyncMS)
	if m.Load > 0 {
		fmt.Fprintf(b, " Load average in the minute before: %.1f.", m.Load)
	}
	fmt.Fprintf(b, " Each side of a measurement lasts %g s, under load with %s clients; one process can have %s connections by its limit of open files.\n\n",
		m.Duration, thousands(float64(m.Clients)), thousands(float64(m.Files)))
}

func (r *Report) describeBudgets(b *strings.Builder) {
	fmt.Fprint(b, "## Budgets\n\n")
	if n := r.runs(); n > 1 {
		fmt.Fprintf(b, "The median of %d runs, each with fresh processes and stores; *held* says how many met the must. "+
			"A verdict is given when three of five runs or more agree.\n\n", n)
	}
	fmt.Fprintf(b, "![Each budget's measured value as a share of what is allowed](%s.svg)\n\n", goalsName)
	cells := r.budgetCells()
	for i := range cells[0] {
		cells[0][i] = strings.ToLower(cells[0][i])
	}
	writeMarkdownTable(b, cells)
	fmt.Fprint(b, "\n<details><summary>What each value comes from</summary>\n\n")
	for _, row := range r.Rows {
		fmt.Fprintf(b, "- `%s`: %s\n", row.Name, row.Detail)
	}
	fmt.Fprint(b, "\n</details>\n\n")
}

// goals is the chart of the budgets. Where more is better the shares are turned
// over: a value of half of what must be is twice what is allowed.
func (r *Report) goals() chart.Goals {
	g := chart.Goals{Title: "Budgets: measured, as a share of what is allowed"}
	for i := range r.Rows {
		row := &r.Rows[i]
		goal := chart.Goal{Name: row.What, Value: row.measured(), Further: row.share(row.Stretch)}
		if row.Measured != nil {
			goal.Share = row.share(*row.Measured)
		}
		if len(row.Runs) > 1 {
			least, most := row.extremes()
			goal.Least, goal.Most = row.share(least), row.share(most)
		}
		g.Rows = append(g.Rows, goal)
	}
	return g
}

// share is a value over the bound, or the bound over a value that must be at
// least as much.
func (r *Row) share(v float64) float64 {
	switch {
	case v == 0:
		return 0
	case r.AtLeast:
		return r.Must / v
	}
	return v / r.Must
}

func describeCapacity(b *strings.Builder, c *Capacity) {
	fmt.Fprint(b, "## How many clients a machine holds\n\n")
	t := c.table()
	writeMarkdownTable(b, t.cells())
	fmt.Fprintf(b, "\n%s\n\n", c.note())
}

func (s *Scenario) describe(b *strings.Builder) {
	fmt.Fprintf(b, "## %s\n\n%s\n\n", s.Title, s.What)
	if s.Failure != "" {
		fmt.Fprintf(b, "It could not be measured: %s\n\n", s.Failure)
		return
	}
	for _, f := range s.Findings {
		fmt.Fprintf(b, "- %s\n", f)
	}
	fmt.Fprintln(b)
	for i := range s.Charts {
		fmt.Fprintf(b, "![%s](%s.svg)\n\n", s.Charts[i].Describe(), s.Charts[i].Name)
	}
	for i := range s.Tables {
		writeMarkdownTable(b, s.Tables[i].cells())
		fmt.Fprintln(b)
	}
}

// writeMarkdownTable has its first line as the head and figures to the right.
func writeMarkdownTable(b *strings.Builder, lines [][]string) {
	for i, line := range lines {
		fmt.Fprintf(b, "| %s |\n", strings.Join(line, " | "))
		if i == 0 {
			fmt.Fprintf(b, "|---|%s\n", strings.Repeat("--:|", len(line)-1))
		}
	}
}
