package config

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Row shows one setting. The Value of a secret is masked.
type Row struct {
	Key     string `json:"key"`
	Value   string `json:"value"`
	Source  string `json:"source"`
	Default string `json:"default"`
	Env     string `json:"env"`
	Flag    string `json:"flag"`
	Kind    string `json:"kind"`
	Help    string `json:"help"`
}

// Rows returns every setting, in the order of the file.
func Rows(c *Config, from Provenance) []Row {
	defaults := settings(Default())
	var rows []Row
	for i, s := range settings(c) {
		rows = append(rows, Row{Key: s.key, Value: s.text(), Source: from.Of(s.key).String(), Default: defaults[i].text(),
			Env: s.env, Flag: "--" + s.flag, Kind: s.kind(), Help: s.help()})
	}
	return rows
}

// Show writes each setting with its value and its source.
func Show(w io.Writer, c *Config, from Provenance) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "SETTING\tVALUE\tSOURCE")
	for _, r := range Rows(c, from) {
		fmt.Fprintf(t, "%s\t%s\t%s\n", r.Key, cmp.Or(r.Value, "-"), r.Source)
	}
	return t.Flush()
}

// Init writes a file with every setting, commented out at its default. A setting
// that stays commented out follows the defaults of later versions.
func Init(w io.Writer) error {
	var b strings.Builder
	b.WriteString("# Longwire settings. A line without # in front sets a value; the values shown are the\n" +
		"# defaults. The environment (" + envPrefix + "TCP_ADDR for tcp.addr) and flags (--tcp-addr) win over this file.\n")
	current := ""
	for _, s := range settings(Default()) {
		group, name, ok := strings.Cut(s.key, ".")
		indent := "  "
		if !ok {
			group, name, indent = "", s.key, ""
		}
		if group != current {
			current = group
			b.WriteByte('\n')
			for _, sec := range sections() {
				if sec.name == group {
					fmt.Fprintf(&b, "# %s.\n%s:\n", sec.help, sec.name)
				}
			}
		}
		fmt.Fprintf(&b, "%s# %s\n%s# %s: %s\n", indent, s.comment(), indent, name, s.yaml())
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// comment returns the help with the bounds.
func (s setting) comment() string {
	var notes []string
	if s.list() {
		notes = append(notes, "a list")
	}
	for _, tag := range []struct{ name, word string }{{"oneof", "one of"}, {"min", "at least"}, {"max", "at most"}} {
		if v := s.field.Tag.Get(tag.name); v != "" && v != "0" && v != "0s" {
			notes = append(notes, tag.word+" "+strings.ReplaceAll(v, "|", ", "))
		}
	}
	if len(notes) == 0 {
		return s.help()
	}
	return fmt.Sprintf("%s (%s)", s.help(), strings.Join(notes, ", "))
}

// yaml returns the value in YAML.
func (s setting) yaml() string {
	text := s.text()
	switch {
	case s.list():
		return "[" + text + "]"
	case text == "":
		return `""`
	}
	return text
}
