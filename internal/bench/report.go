package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Report is the outcome of a run.
type Report struct {
	Machine Machine `json:"machine"`
	Rows    []Row   `json:"rows"`
}

// Machine is where it was measured.
type Machine struct {
	CPUs    int     `json:"cpus"`
	OS      string  `json:"os"` // with the kernel's version where it is known
	Arch    string  `json:"arch"`
	Go      string  `json:"go"`
	Version string  `json:"version"` // of longwire
	FsyncMS float64 `json:"fsync_p50_ms"`
	Load    float64 `json:"load,omitempty"` // of the minute before, in runnable threads; 0 = not known
	Clients int     `json:"clients"`
}

// Row is one budget and what was measured. Measured is nil when it was not.
type Row struct {
	Name     string   `json:"name"`
	What     string   `json:"what"`
	Unit     string   `json:"unit"`
	Measured *float64 `json:"measured"`
	Must     float64  `json:"must"`
	Stretch  float64  `json:"stretch,omitempty"`
	AtLeast  bool     `json:"at_least,omitempty"` // must and stretch are lower bounds
	Verdict  string   `json:"verdict"`
	Detail   string   `json:"detail"`

	unit unit
}

func (r *Report) write(out io.Writer, asJSON bool) error {
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	_, err := io.WriteString(out, r.table())
	return err
}

// table is the report for people.
func (r *Report) table() string {
	lines := [][]string{{"WHAT", "MEASURED", "MUST", "STRETCH", "VERDICT"}}
	for _, row := range r.Rows {
		measured := "-"
		if row.Measured != nil {
			measured = row.unit.text(*row.Measured)
		}
		lines = append(lines, []string{row.What, measured, row.unit.goal(row.Must, row.AtLeast), row.unit.goal(row.Stretch, row.AtLeast), row.Verdict})
	}
	var b strings.Builder
	fmt.Fprintln(&b, r.Machine.line())
	fmt.Fprintln(&b)
	writeColumns(&b, lines)
	fmt.Fprintln(&b)
	width := 0
	for _, row := range r.Rows {
		width = max(width, len(row.Name))
	}
	for _, row := range r.Rows {
		fmt.Fprintf(&b, "%-*s  %s\n", width, row.Name, row.Detail)
	}
	return b.String()
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
