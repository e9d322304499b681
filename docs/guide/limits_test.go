package guide

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/longwire/longwire/internal/config"
)

var quoted = regexp.MustCompile("`([^`]+)`")

// names returns what a cell has in code.
func names(cell string) []string {
	var list []string
	for _, m := range quoted.FindAllStringSubmatch(cell, -1) {
		list = append(list, m[1])
	}
	return list
}

// rowsOf returns the cells of the rows of the page's tables that have so many.
func rowsOf(text string, cells int) [][]string {
	var rows [][]string
	for _, line := range strings.Split(text, "\n") {
		row := strings.Split(line, "|")
		if len(row) != cells+2 || strings.HasPrefix(line, "|---") || strings.Contains(line, "| setting |") || strings.Contains(line, "| constants |") {
			continue
		}
		rows = append(rows, row[1:len(row)-1])
	}
	return rows
}

// A setting that bounds something.
var bound = regexp.MustCompile(`(?:\.max_|_max_|_per_ip$|_per_key$|_rate$|_limit$|_burst$|_budget$|_memory$|_timeout$|failures|buffer|retention|forget_after|min_free|window$|concurrency)`)

// A limit of the settings is on the page, and a row of the page has a setting and a
// metric that exist and a code that callers or devices may see.
func TestLimitsAreTheSettings(t *testing.T) {
	settings := map[string]bool{}
	for _, r := range config.Rows(config.Default(), config.Provenance{}) {
		settings[r.Key] = true
	}
	metrics := source(t, "../../internal/metrics")
	codes := description(t) + source(t, "../../protocol")
	told := map[string]bool{}
	rows := rowsOf(pages(t)["limits.md"], 7)
	for _, row := range rows {
		metric, setting := names(row[5]), names(row[6])
		if len(names(row[4])) == 0 || len(metric) == 0 || len(setting) == 0 {
			t.Errorf("%s: no code, metric or setting", row[0])
		}
		for _, code := range names(row[4]) {
			if !strings.Contains(codes, `"`+code+`"`) && !strings.Contains(codes, "/"+code+`"`) {
				t.Errorf("%s: there is no code %s", row[0], code)
			}
		}
		for _, m := range metric {
			if !strings.Contains(metrics, `"`+strings.TrimPrefix(m, "longwire_")+`"`) && !strings.Contains(metrics, `"`+m+`"`) {
				t.Errorf("%s: there is no metric %s", row[0], m)
			}
		}
		for _, s := range setting {
			if told[s] = true; !settings[s] {
				t.Errorf("%s: there is no setting %s", row[0], s)
			}
		}
	}
	if len(rows) < 20 {
		t.Fatalf("%d rows, want those of all tables", len(rows))
	}
	for _, s := range slices.Sorted(maps.Keys(settings)) {
		if bound.MatchString(s) && !told[s] {
			t.Errorf("the page does not have %s", s)
		}
	}
}

// description is the API's, with its lists of codes.
func description(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// A constant whose name says that it is a bound.
var fixedBound = regexp.MustCompile(`^(?:max|Max|bulk|reserved)[A-Z]`)

// A bound in the code is on the page, with its package, and one on the page is in
// the code.
func TestLimitsAreTheConstants(t *testing.T) {
	told := map[string]bool{}
	packages := map[string]bool{"internal/audit": true}
	for _, row := range rowsOf(pages(t)["limits.md"], 3) {
		for _, dir := range names(row[0]) {
			packages[dir] = true
			for _, c := range names(row[2]) {
				told[dir+" "+c] = true
			}
		}
	}
	if len(told) < 50 {
		t.Fatalf("%d constants, want those of the table", len(told))
	}
	there := map[string]bool{}
	for dir := range packages {
		for _, c := range constants(t, filepath.Join("../..", dir)) {
			there[dir+" "+c] = true
		}
	}
	for _, c := range slices.Sorted(maps.Keys(there)) {
		if !told[c] {
			t.Errorf("the page does not have the bound %s", c)
		}
	}
	for _, c := range slices.Sorted(maps.Keys(told)) {
		if !there[c] {
			t.Errorf("the page has %s, which is not in the code", c)
		}
	}
}

// constants returns the bounds of one package's files.
func constants(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v, %v", dir, files, err)
	}
	var list []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.CONST {
				continue
			}
			for _, s := range g.Specs {
				for _, id := range s.(*ast.ValueSpec).Names {
					if fixedBound.MatchString(id.Name) {
						list = append(list, id.Name)
					}
				}
			}
		}
	}
	return list
}
