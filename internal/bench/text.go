package bench

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// text is the report for a terminal.
func (r *Report) text() string {
	var b strings.Builder
	fmt.Fprintln(&b, r.Machine.line())
	fmt.Fprintln(&b)
	if len(r.Rows) > 0 {
		r.writeBudgets(&b)
	}
	for i := range r.Scenarios {
		if i > 0 || len(r.Rows) > 0 {
			fmt.Fprintln(&b)
		}
		r.Scenarios[i].writeText(&b)
	}
	return b.String()
}

// writeBudgets writes the table of promises and what each value comes from.
func (r *Report) writeBudgets(b *strings.Builder) {
	writeColumns(b, r.budgetCells())
	fmt.Fprintln(b)
	width := 0
	for _, row := range r.Rows {
		width = max(width, len(row.Name))
	}
	for _, row := range r.Rows {
		fmt.Fprintf(b, "%-*s  %s\n", width, row.Name, row.Detail)
	}
}

// budgetCells is the table of promises. With several runs each has a column that
// says how many met it, and how far apart they were.
func (r *Report) budgetCells() [][]string {
	several := r.runs() > 1
	head := []string{"WHAT", "MEASURED", "MUST", "STRETCH", "VERDICT"}
	if several {
		head = []string{"WHAT", "MEDIAN", "LEAST", "MOST", "HELD", "MUST", "STRETCH", "VERDICT"}
	}
	lines := [][]string{head}
	for _, row := range r.Rows {
		cells := []string{row.What, row.measured()}
		if several {
			cells = append(cells, row.spread()...)
		}
		lines = append(lines, append(cells, row.Unit.goal(row.Must, row.AtLeast), row.Unit.goal(row.Stretch, row.AtLeast), row.Verdict))
	}
	return lines
}

// runs is how often the budgets were measured.
func (r *Report) runs() (n int) {
	for _, row := range r.Rows {
		n = max(n, len(row.Runs))
	}
	return n
}

func (r *Row) measured() string {
	if r.Measured == nil {
		return "-"
	}
	return r.Unit.text(*r.Measured)
}

// spread is the least and the greatest value and in how many runs the budget was
// met.
func (r *Row) spread() []string {
	if len(r.Runs) == 0 {
		return []string{"-", "-", "-"}
	}
	least, most := r.extremes()
	return []string{r.Unit.text(least), r.Unit.text(most), fmt.Sprintf("%d of %d", r.Held, len(r.Runs))}
}

// extremes are the least and the greatest of the runs, of which there is one at
// least.
func (r *Row) extremes() (least, most float64) { return slices.Min(r.Runs), slices.Max(r.Runs) }

func (s *Scenario) writeText(b *strings.Builder) {
	fmt.Fprintf(b, "%s: %s\n", strings.ToUpper(s.Name), s.Title)
	if s.Failure != "" {
		fmt.Fprintf(b, "could not be measured: %s\n", s.Failure)
		return
	}
	for i := range s.Tables {
		fmt.Fprintln(b)
		writeColumns(b, s.Tables[i].cells())
	}
	if len(s.Findings) > 0 {
		fmt.Fprintln(b)
	}
	for _, f := range s.Findings {
		fmt.Fprintf(b, "- %s\n", f)
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
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				cells = append(cells, "-")
				continue
			}
			cells = append(cells, t.Columns[i].Unit.text(float64(v)))
		}
		lines = append(lines, cells)
	}
	return lines
}

// line is the machine in one line.
func (m *Machine) line() string {
	s := fmt.Sprintf("%d CPUs, %s, %s, %s, longwire %s, fsync p50 %.2f ms, %s clients", m.CPUs, m.OS, m.Arch, m.Go, m.Version,
		m.FsyncMS, thousands(float64(m.Clients)))
	if m.Load > 0 {
		s += fmt.Sprintf(", load before %.1f", m.Load)
	}
	return s
}

// writeColumns aligns cells by their number of characters.
func writeColumns(b *strings.Builder, lines [][]string) {
	var widths []int
	for _, line := range lines {
		for i, cell := range line {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, line := range lines {
		for i, cell := range line {
			if i == len(line)-1 {
				b.WriteString(cell)
				break
			}
			b.WriteString(cell)
			b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
		}
		b.WriteByte('\n')
	}
}
