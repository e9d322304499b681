package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// outputFlag adds -o to a command with output.
func (e *environ) outputFlag(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&e.format, "output", "o", "table", `"table" for people, "json" for scripts: one JSON value per line`)
	before := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if e.format != "table" && e.format != "json" {
			return usagef("--output %q: want table or json", e.format)
		}
		if before != nil {
			return before(cmd, args)
		}
		return nil
	}
	cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
}

func (e *environ) json() bool { return e.format == "json" }

// printJSON writes v as one line.
func (e *environ) printJSON(v any) error {
	enc := json.NewEncoder(e.out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// isTerminal reports whether w is a terminal.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// coloured reports whether to use colours: on a terminal, except if NO_COLOR is set
// (no-color.org) or the terminal is dumb.
func (e *environ) coloured() bool {
	return isTerminal(e.out) && e.getenv("NO_COLOR") == "" && e.getenv("TERM") != "dumb"
}

type colour string

const (
	plain  colour = ""
	green  colour = "32"
	red    colour = "31"
	yellow colour = "33"
	dim    colour = "2"
)

// statusColour returns the colour of a state, the same in all tables.
func statusColour(s string) colour {
	switch s {
	case "acked", "online", "completed", "ok", "yes":
		return green
	case "rejected", "failed", "expired", "bad":
		return red
	case "queued", "sent", "pending", "warn":
		return yellow
	case "offline", "canceled":
		return dim
	}
	return plain
}

// table prints rows in columns as wide as their widest cell. It holds at most
// tableBlock rows: a list of a million clients is printed in blocks, each with
// its own widths but no second heading.
type table struct {
	out     io.Writer
	colours bool
	heading []string
	rows    [][]string
	headed  bool
	widths  []int
	live    bool // each row is printed at once, because the list has no end
}

const tableBlock = 500

func (e *environ) table(heading ...string) *table {
	return &table{out: e.out, colours: e.coloured(), heading: heading}
}

func (t *table) row(cells ...string) error {
	for i := range cells {
		cells[i] = printable(cells[i])
	}
	t.rows = append(t.rows, cells)
	if t.live || len(t.rows) == tableBlock {
		return t.flush()
	}
	return nil
}

// flush prints the held rows. An empty table prints its heading only.
func (t *table) flush() error {
	if t.widths == nil || !t.live { // a live row keeps the columns of those above it
		t.widths = make([]int, len(t.heading))
	}
	widths := t.widths
	for _, r := range append([][]string{t.heading}, t.rows...) {
		for i, c := range r {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	if !t.headed {
		t.line(&b, t.heading, widths, func(string) colour { return dim })
		t.headed = true
	}
	for _, r := range t.rows {
		t.line(&b, r, widths, statusColour)
	}
	t.rows = t.rows[:0]
	_, err := io.WriteString(t.out, b.String())
	return err
}

func (t *table) line(b *strings.Builder, cells []string, widths []int, pick func(string) colour) {
	last := len(cells) - 1
	for last > 0 && cells[last] == "" {
		last-- // no spaces at the end of a line
	}
	for i, c := range cells[:last+1] {
		b.WriteString(paint(c, pick(c), t.colours))
		if i < last {
			b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c)+2))
		}
	}
	b.WriteByte('\n')
}

func paint(s string, c colour, on bool) string {
	if !on || c == plain || s == "" {
		return s
	}
	return "\x1b[" + string(c) + "m" + s + "\x1b[0m"
}

// facts prints v as JSON, or for people "name  value" lines without empty values.
func (e *environ) facts(v any, pairs ...string) error {
	if e.json() {
		return e.printJSON(v)
	}
	width := 0
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			width = max(width, len(pairs[i]))
		}
	}
	on := e.coloured()
	for i := 0; i < len(pairs); i += 2 {
		name, value := pairs[i], printable(pairs[i+1])
		if value == "" {
			continue
		}
		label := paint(name, dim, on) + strings.Repeat(" ", width-len(name)+2)
		if _, err := fmt.Fprintf(e.out, "%s%s\n", label, paint(value, statusColour(value), on)); err != nil {
			return err
		}
	}
	return nil
}

// printable makes foreign text safe to print. A device's text must not move the
// cursor or mislead the reader.
func printable(s string) string {
	if !strings.ContainsFunc(s, unsafeRune) && utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unsafeRune(r):
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// printableLines makes each line of a text safe to print.
func printableLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = printable(lines[i])
	}
	return strings.Join(lines, "\n")
}

// unsafeRune reports whether r is a control character, or an invisible character
// that changes the direction of text.
func unsafeRune(r rune) bool {
	return r != ' ' && !unicode.IsPrint(r)
}

// clip returns s shortened to n characters.
func clip(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	r := []rune(s)
	return string(r[:n-1]) + "…"
}

// ago formats the time since t, "" for the zero time.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	return span(now.Sub(t)) + " ago"
}

// span formats a duration in its largest unit that fits.
func span(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}

// clock formats a time of day with milliseconds in the reader's zone, "" for the
// zero time.
func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04:05.000")
}

// pairs formats a map as k=v in the order of the keys.
func pairs(m map[string]string) string {
	all := make([]string, 0, len(m))
	for k, v := range m {
		all = append(all, k+"="+v)
	}
	slices.Sort(all)
	return strings.Join(all, ",")
}

// parsePairs parses k=v flags.
func parsePairs(flag string, given []string) (map[string]string, error) {
	if len(given) == 0 {
		return nil, nil
	}
	m := make(map[string]string, len(given))
	for _, kv := range given {
		k, v, ok := strings.Cut(kv, "=")
		if !ok || k == "" {
			return nil, usagef("--%s %q: want name=value", flag, kv)
		}
		m[k] = v
	}
	return m, nil
}

func count(n int) string { return strconv.Itoa(n) }

// bytesize formats n in the unit that people read best.
func bytesize(n uint64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/1024, 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	return fmt.Sprintf("%.1f %ciB", f, units[i])
}
