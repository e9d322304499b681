// Package guide checks that the pages for people say what is true of the tree.
package guide

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// A link in Markdown: its text, its target without the fragment, and the fragment.
var link = regexp.MustCompile(`\[([^\]]+)\]\(([^)#\s]*)(?:#([^)]*))?\)`)

// pages are the guide's pages in English and their text.
func pages(t *testing.T) map[string]string { return read(t, "*.md") }

// read returns the text of the files that match the pattern.
func read(t *testing.T, pattern string) map[string]string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	all := map[string]string{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[name] = string(b)
	}
	return all
}

// Every link within the tree leads somewhere, to a heading if it has a fragment, and
// one whose text is the name of a test leads to the file that has it.
func TestLinksLeadSomewhere(t *testing.T) {
	all := allPages(t)
	maps.Copy(all, read(t, "../../*.md"))
	for page, text := range all {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			name, target, fragment := m[1], filepath.Join(filepath.Dir(page), m[2]), m[3]
			if strings.Contains(m[2], "://") {
				continue
			}
			if m[2] == "" {
				target = page
			}
			info, err := os.Stat(target)
			if err != nil {
				t.Errorf("%s links to %s: %v", page, target, err)
				continue
			}
			if info.IsDir() {
				continue
			}
			b, err := os.ReadFile(target)
			switch {
			case err != nil:
				t.Errorf("%s links to %s: %v", page, target, err)
			case fragment != "" && !slices.Contains(anchors(string(b)), fragment):
				t.Errorf("%s links to %s#%s, which is no heading", page, target, fragment)
			case strings.HasPrefix(name, "Test") || strings.HasPrefix(name, "Fuzz"):
				if !strings.Contains(string(b), "func "+name+"(") {
					t.Errorf("%s names %s, which is not in %s", page, name, target)
				}
			}
		}
	}
}

// anchors returns the fragments by which a browser finds the headings of a page.
func anchors(text string) (list []string) {
	for line := range strings.Lines(text) {
		heading, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
		if !ok || !strings.HasPrefix(line, "#") {
			continue
		}
		list = append(list, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(heading)))
	}
	return list
}

// Each row of the tables of promises names its test.
func TestPromisesAreShown(t *testing.T) {
	rows, shown := 0, false
	for _, line := range strings.Split(pages(t)["guarantees.md"], "\n") {
		switch {
		case !strings.HasPrefix(line, "|"):
			shown = false
		case strings.HasSuffix(line, "| shown by |"):
			shown = true
		case shown && !strings.HasPrefix(line, "|---"):
			rows++
			if cells := strings.Split(line, "|"); !link.MatchString(cells[len(cells)-2]) {
				t.Errorf("no test shows this: %s", line)
			}
		}
	}
	if rows < 20 {
		t.Errorf("%d promises found, want the tables of guarantees.md", rows)
	}
}

// Metrics that a page names in code exist.
func TestMetricsExist(t *testing.T) {
	code := source(t, "../../internal/metrics")
	for page, text := range allPages(t) {
		for _, m := range regexp.MustCompile("`longwire_([a-z_]+)[`{]").FindAllStringSubmatch(text, -1) {
			if !strings.Contains(code, `"`+m[1]+`"`) && !strings.Contains(code, `"longwire_`+m[1]+`"`) {
				t.Errorf("%s names the metric %s, which does not exist", page, m[1])
			}
		}
	}
}

// A compiler that the page of examples calls does not write its program over a folder of
// the module.
func TestExamplesCanBeBuilt(t *testing.T) {
	page := read(t, "../../examples/*.md")["../../examples/README.md"]
	built := regexp.MustCompile(`cc .*-o (\S+)`).FindAllStringSubmatch(page, -1)
	for _, m := range built {
		if info, err := os.Stat(filepath.Join("../..", m[1])); err == nil && info.IsDir() {
			t.Errorf("%s: %s is a folder of the module", m[0], m[1])
		}
	}
	if len(built) == 0 {
		t.Error("the page builds nothing")
	}
}

// The lists of problems and reasons are those of the API's description.
func TestListsAreComplete(t *testing.T) {
	_, text, _ := strings.Cut(pages(t)["operations.md"], "## Problems and reasons")
	text, _, _ = strings.Cut(text, "\n## ")
	first := regexp.MustCompile("(?m)^\\| (`[^|]*) \\|")
	code := regexp.MustCompile("`([^`]+)`")
	var got, want []string
	for _, row := range first.FindAllStringSubmatch(text, -1) {
		for _, c := range code.FindAllStringSubmatch(row[1], -1) {
			got = append(got, c[1])
		}
	}
	described := schemas(t)
	for _, list := range []string{"ProblemType", "DeliveryReason", "NoAckReason", "CloseReason"} {
		for _, v := range described[list].Enum {
			want = append(want, filepath.Base(v))
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("the page lists %q, want %q", got, want)
	}
}

// What a page prints in Go is part of an example that runs.
func TestExamplesRun(t *testing.T) {
	squeeze := func(code string) string { return strings.Join(strings.Fields(code), " ") }
	b, err := os.ReadFile("../../client/example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := 0
	for page, text := range pages(t) {
		for _, block := range strings.Split(text, "```go\n")[1:] {
			code, _, _ := strings.Cut(block, "```")
			if blocks++; !strings.Contains(squeeze(string(b)), squeeze(code)) {
				t.Errorf("%s prints code that no example of package client has:\n%s", page, code)
			}
		}
	}
	if blocks == 0 {
		t.Error("no code found")
	}
}

func source(t *testing.T, dir string) string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: %v, %v", dir, names, err)
	}
	var all strings.Builder
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}
