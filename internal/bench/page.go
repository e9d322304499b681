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
			return fmt.Errorf("draw %s: %w", c.Name, err)
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
	fmt.Fprintf(&b, "# Performance of longwire %s\n\n", r.Machine.Version)
	writeText(&b, fmt.Sprintf("Written by `longwire-bench` on %s in %.0f s. [The method](README.md) explains each figure and its limits.",
		r.Machine.At.Format("2 January 2006"), r.Took))
	fmt.Fprintln(&b)
	r.Machine.describe(&b)
	if len(r.Budgets) > 0 {
		fmt.Fprintf(&b, "\n## Budgets\n\n![Each budget's measured value as a share of its bound](%s.svg)\n\n", budgetsName)
		writeTable(&b, r.budgetCells())
		fmt.Fprint(&b, "\nThe median of the rounds counts; a row “slowest” has the worst of them.\n")
	}
	for i := range r.Scenarios {
		r.Scenarios[i].describe(&b)
	}
	return b.String()
}

// writeText writes a paragraph, or a point of a list, in lines of 120 characters.
func writeText(b *strings.Builder, text string) {
	const width = 120
	indent := ""
	if strings.HasPrefix(text, "- ") {
		indent = "  "
	}
	n := -1
	for word := range strings.FieldsSeq(text) {
		w := utf8.RuneCountInString(word)
		switch {
		case n < 0: // the first word
		case n+1+w > width:
			b.WriteString("\n" + indent)
			n = len(indent) - 1
		default:
			b.WriteByte(' ')
		}
		b.WriteString(word)
		n += 1 + w
	}
	b.WriteByte('\n')
}

// describe writes the machine and the settings.
func (m *Machine) describe(b *strings.Builder) {
	machine := fmt.Sprintf("**Machine.** %d CPUs", m.CPUs)
	if m.CPU != "" {
		machine += fmt.Sprintf(" (%s)", m.CPU)
	}
	if m.Memory > 0 {
		machine += fmt.Sprintf(", %.0f GiB of memory", float64(m.Memory)/(1<<30))
	}
	writeText(b, fmt.Sprintf("%s, %s on %s, %s; fsync p50 %.2f ms; load average before %.1f. Gateway, devices and callers share the CPUs.",
		machine, m.OS, m.Arch, m.Go, m.FsyncMS, m.Load))
	writeText(b, fmt.Sprintf("**Settings.** %d rounds of %g s for each side, %s clients, seed %d; a process can have %s connections.",
		m.Rounds, m.Duration, thousands(m.Clients), m.Seed, thousands(m.Files)))
}

func (r *Report) budgetCells() [][]string {
	cells := [][]string{{"budget", "scenario", "median", "least", "most", "must", "stretch", "verdict"}}
	for _, row := range r.Budgets {
		text := row.Unit.text
		cells = append(cells, []string{row.What, row.Scenario, text(row.Median), text(row.Least), text(row.Most),
			row.goal(row.Must), row.goal(row.Stretch), row.Verdict})
	}
	return cells
}

// goal writes a bound with its direction.
func (b *budget) goal(v float64) string {
	switch {
	case v == 0 && b.Must != 0:
		return ""
	case b.AtLeast:
		return "≥ " + b.Unit.text(Figure(v))
	}
	return "≤ " + b.Unit.text(Figure(v))
}

func (s *Scenario) describe(b *strings.Builder) {
	fmt.Fprintf(b, "\n## %s: %s\n\n", s.Name, s.Title)
	writeText(b, fmt.Sprintf("Clients: %s. Load: %s.", s.State, s.Load))
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
		writeText(b, "- "+n)
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
	rule := "|" + strings.Repeat("-", widths[0]+2) + "|"
	for _, w := range widths[1:] {
		rule += strings.Repeat("-", w+1) + ":|"
	}
	for n, line := range lines {
		fmt.Fprintf(b, "| %-*s |", widths[0], line[0])
		for i, cell := range line[1:] {
			fmt.Fprintf(b, " %*s |", widths[i+1], cell)
		}
		fmt.Fprintln(b)
		if n == 0 {
			fmt.Fprintln(b, rule)
		}
	}
}
