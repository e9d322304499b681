package bench

import (
	"bytes"
	_ "embed" // the page
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
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

//go:embed page.md.tmpl
var pageText string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"thousands":    thousands[int],
	"milliseconds": milliseconds.text,
	"gibibytes":    func(b int64) string { return fmt.Sprintf("%.0f", float64(b)/(1<<30)) },
	"budgets":      budgetCells,
	"cells":        (*Table).cells,
	"aligned":      aligned,
	"words":        Chart.words,
	"item":         item,
}).Parse(pageText))

// page is the report for people: Markdown with aligned tables, so that they are
// also readable in a terminal.
func (r *Report) page() string {
	var b strings.Builder
	if err := pageTemplate.Execute(&b, r); err != nil {
		panic(err) // the template does not fit the report
	}
	return b.String()
}

// item is an item of a list, in lines of at most 120 columns.
func item(text string) string {
	b, column := []byte("-"), 1
	for word := range strings.FieldsSeq(text) {
		if width := utf8.RuneCountInString(word); column+1+width > 120 {
			b, column = append(b, "\n  "...), 2+width
		} else {
			b, column = append(b, ' '), column+1+width
		}
		b = append(b, word...)
	}
	return string(b)
}

func budgetCells(rows []Row) [][]string {
	cells := [][]string{{"budget", "scenario", "median", "least", "most", "must", "stretch", "verdict"}}
	for _, row := range rows {
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

// cells is the table as text, the head included.
func (t *Table) cells() [][]string {
	lines := [][]string{{t.Of}}
	for _, c := range t.Columns {
		lines[0] = append(lines[0], c.Name)
	}
	for _, l := range t.Lines {
		cells := []string{l.Label}
		for i, v := range l.Values {
			cells = append(cells, t.Columns[i].Unit.text(v))
		}
		lines = append(lines, cells)
	}
	return lines
}

// aligned is a table whose first line is the head, with figures to the right.
func aligned(lines [][]string) string {
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
	var b strings.Builder
	for n, line := range lines {
		fmt.Fprintf(&b, "| %-*s |", widths[0], line[0])
		for i, cell := range line[1:] {
			fmt.Fprintf(&b, " %*s |", widths[i+1], cell)
		}
		fmt.Fprintln(&b)
		if n == 0 {
			fmt.Fprintln(&b, rule)
		}
	}
	return b.String()
}
