package bench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// Files of a report; the charts are NAME.svg.
const (
	reportPage  = "report.md"
	reportData  = "report.json"
	budgetsName = "budgets"
)

// save writes page, data and charts into dir, which it makes if necessary. Other
// charts of an earlier report stay.
func (r *Report) save(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var data bytes.Buffer
	if err := r.encode(&data); err != nil {
		return err
	}
	files := map[string][]byte{reportData: data.Bytes(), reportPage: []byte(r.page())}
	charts := []Chart{budgetChart(r.Budgets)}
	for _, s := range r.Scenarios {
		charts = append(charts, s.Charts...)
	}
	for _, c := range charts {
		svg, err := c.svg()
		if err != nil {
			return err
		}
		files[c.Name+".svg"] = svg
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// page is the report for people: Markdown with aligned tables, so that they are
// also readable in a terminal.
func (r *Report) page() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Performance of longwire %s\n\nWritten by `longwire-bench` on %s in %.0f s. [The method](README.md) explains each figure and its limits.\n\n",
		r.Machine.Version, r.Machine.At.Format("2 January 2006"), r.Took)
	r.Machine.describe(&b)
	if len(r.Budgets) > 0 {
		fmt.Fprintf(&b, "## Budgets\n\n![Each budget's measured value as a share of its bound](%s.svg)\n\n", budgetsName)
		writeTable(&b, r.budgetCells())
		fmt.Fprint(&b, "\nThe median of the rounds counts; a row “slowest” has the worst of them.\n")
	}
	for i := range r.Scenarios {
		r.Scenarios[i].describe(&b)
	}
	return wrapped(b.String())
}

// wrapped breaks the lines of a page after 120 characters, tables and images left out.
func wrapped(page string) string {
	const width = 120
	var b strings.Builder
	for line := range strings.Lines(page) {
		indent := ""
		switch {
		case strings.HasPrefix(line, "|"), strings.HasPrefix(line, "!"):
			b.WriteString(line)
			continue
		case strings.HasPrefix(line, "- "):
			indent = "  "
		}
		n := 0
		for i, word := range strings.Split(strings.TrimSuffix(line, "\n"), " ") {
			w := utf8.RuneCountInString(word)
			switch {
			case i == 0:
			case n+1+w > width:
				b.WriteString("\n" + indent)
				n = len(indent)
			default:
				b.WriteByte(' ')
				n++
			}
			b.WriteString(word)
			n += w
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// describe writes the machine and the settings.
func (m *Machine) describe(b *strings.Builder) {
	fmt.Fprintf(b, "**Machine.** %d CPUs", m.CPUs)
	if m.CPU != "" {
		fmt.Fprintf(b, " (%s)", m.CPU)
	}
	if m.Memory > 0 {
		fmt.Fprintf(b, ", %.0f GiB of memory", float64(m.Memory)/(1<<30))
	}
	fmt.Fprintf(b, ", %s on %s, %s; fsync p50 %.2f ms; load average before %.1f. Gateway, devices and callers share the CPUs.\n", m.OS, m.Arch, m.Go, m.FsyncMS, m.Load)
	fmt.Fprintf(b, "**Settings.** %d rounds of %g s for each side, %s clients, seed %d; a process can have %s connections.\n\n",
		m.Rounds, m.Duration, thousands(m.Clients), m.Seed, thousands(m.Files))
}

func (r *Report) budgetCells() [][]string {
	cells := [][]string{{"budget", "scenario", "median", "least", "most", "must", "stretch", "verdict"}}
	for _, row := range r.Budgets {
		cells = append(cells, []string{row.What, row.Scenario, row.Unit.text(row.Median), row.Unit.text(row.Least), row.Unit.text(row.Most), row.goal(row.Must),
			row.goal(row.Stretch), row.Verdict})
	}
	return cells
}

// goal writes a bound with its direction.
func (r *Row) goal(v float64) string {
	switch {
	case v == 0 && r.Must != 0:
		return ""
	case r.AtLeast:
		return "≥ " + r.Unit.text(Figure(v))
	}
	return "≤ " + r.Unit.text(Figure(v))
}

func (s *Scenario) describe(b *strings.Builder) {
	fmt.Fprintf(b, "\n## %s: %s\n\nClients: %s. Load: %s.\n", s.Name, s.Title, s.State, s.Load)
	if s.Failure != "" {
		fmt.Fprintf(b, "\nIt could not be measured: %s\n", s.Failure)
		return
	}
	for i := range s.Tables {
		fmt.Fprintln(b)
		writeTable(b, s.Tables[i].cells())
	}
	fmt.Fprintln(b)
	for _, n := range s.Notes {
		fmt.Fprintf(b, "- %s\n", n)
	}
	for i := range s.Charts {
		fmt.Fprintf(b, "\n![%s](%s.svg)\n", s.Charts[i].describe(), s.Charts[i].Name)
	}
}

// cells is the table as text, the head included.
func (t *Table) cells() [][]string {
	head := []string{t.Of}
	for _, c := range t.Columns {
		head = append(head, c.Name)
	}
	lines := [][]string{head}
	for _, l := range t.Lines {
		cells := []string{l.Label}
		for i, v := range l.Values {
			cells = append(cells, t.Columns[i].Unit.text(v))
		}
		lines = append(lines, cells)
	}
	return lines
}

// writeTable takes the first line as the head and aligns figures to the right.
func writeTable(b *strings.Builder, lines [][]string) {
	widths := make([]int, len(lines[0]))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell), 3)
		}
	}
	for n, line := range lines {
		for i, cell := range line {
			padding := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 {
				fmt.Fprintf(b, "| %s%s |", cell, padding)
			} else {
				fmt.Fprintf(b, " %s%s |", padding, cell)
			}
		}
		fmt.Fprintln(b)
		if n == 0 {
			fmt.Fprintf(b, "|%s|", strings.Repeat("-", widths[0]+2))
			for _, w := range widths[1:] {
				fmt.Fprintf(b, "%s:|", strings.Repeat("-", w+1))
			}
			fmt.Fprintln(b)
		}
	}
}
