package guide

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

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
		for _, cell := range row[4:7] {
			if len(names(cell)) == 0 && strings.TrimSpace(cell) != "none" {
				t.Errorf("%s: no code, metric or setting, and no word that there is none", row[0])
			}
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

// A bound in the code is on the page, with its package and value, and one on the page is
// in the code. So in both languages.
func TestLimitsAreTheConstants(t *testing.T) {
	for _, page := range []string{"limits.md", "zh-CN/limits.md"} {
		told := map[string]string{}
		source, asked := constants{}, map[string]bool{}
		for _, row := range rowsOf(read(t, page)[page], 3) {
			for _, dir := range names(row[0]) {
				for _, m := range valued.FindAllStringSubmatch(row[2], -1) {
					name := dir + " " + m[1]
					if _, ok := told[name]; ok {
						t.Errorf("%s has %s twice", page, name)
					}
					told[name] = m[2]
				}
				asked[dir] = true
				source.dir(t, dir)
			}
		}
		if len(told) < 50 {
			t.Fatalf("%s: %d constants, want those of the table", page, len(told))
		}
		there := source.bounds(asked)
		for _, c := range slices.Sorted(maps.Keys(there)) {
			if text, ok := told[c]; !ok {
				t.Errorf("%s does not have the bound %s", page, c)
			} else if text == "" || amount(text) != there[c] {
				t.Errorf("%s has %s as %q, which is %d in the code", page, c, text, there[c])
			}
		}
		for _, c := range slices.Sorted(maps.Keys(told)) {
			if _, ok := there[c]; !ok {
				t.Errorf("%s has %s, which is not in the code", page, c)
			}
		}
	}
}

// A constant on the page, and the amount behind it.
var valued = regexp.MustCompile("`([^`]+)`(?: ([0-9][0-9,.]*(?: [A-Za-z]+)?))?")

// units are those of amounts: bytes, and nanoseconds for times.
var units = map[string]int64{
	"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
	"ms": int64(time.Millisecond), "s": int64(time.Second), "min": int64(time.Minute), "h": int64(time.Hour), "d": int64(24 * time.Hour),
}

// amount returns what a page means by "4,096", "16 MiB" or "30 s", and -1 for other text.
func amount(text string) int64 {
	number, unit, _ := strings.Cut(text, " ")
	n, err := strconv.ParseInt(strings.ReplaceAll(number, ",", ""), 10, 64)
	if factor, ok := units[unit]; ok && err == nil {
		return n * factor
	}
	return -1
}

// constants are the packages of the module by folder, as far as constants need them. It
// imports for the type checker: of the standard library it knows what constants use.
type constants map[string]*types.Package

// dir checks one folder, without the bodies of functions.
func (c constants) dir(t *testing.T, dir string) {
	t.Helper()
	if _, err := c.Import(module + dir); err != nil {
		t.Fatal(err)
	}
}

const module = "github.com/longwire/longwire/"

// Import returns a package. It passes over errors of types, because they are in parts
// that no constant needs.
func (c constants) Import(path string) (*types.Package, error) {
	dir, own := strings.CutPrefix(path, module)
	if p := c[dir]; p != nil {
		return p, nil
	}
	if !own {
		p := types.NewPackage(path, filepath.Base(path))
		if path == "time" {
			duration := types.NewNamed(types.NewTypeName(token.NoPos, p, "Duration", nil), types.Typ[types.Int64], nil)
			p.Scope().Insert(duration.Obj())
			for name, d := range map[string]time.Duration{"Nanosecond": 1, "Microsecond": time.Microsecond, "Millisecond": time.Millisecond, "Second": time.Second, "Minute": time.Minute, "Hour": time.Hour} {
				p.Scope().Insert(types.NewConst(token.NoPos, p, name, duration, constant.MakeInt64(int64(d))))
			}
		}
		p.MarkComplete()
		c[dir] = p
		return p, nil
	}
	names, err := filepath.Glob(filepath.Join("../..", dir, "*.go"))
	if err != nil || len(names) == 0 {
		return nil, fmt.Errorf("%s: %v, %v", dir, names, err)
	}
	set := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	conf := types.Config{Importer: c, IgnoreFuncBodies: true, Error: func(error) {}}
	p, _ := conf.Check(path, set, files, nil)
	c[dir] = p
	return p, nil
}

// bounds returns the values of the bounds in these folders, by folder and name.
func (c constants) bounds(asked map[string]bool) map[string]int64 {
	all := map[string]int64{}
	for dir := range asked {
		p := c[dir]
		for _, name := range p.Scope().Names() {
			if k, ok := p.Scope().Lookup(name).(*types.Const); ok && fixedBound.MatchString(name) {
				n, _ := constant.Int64Val(constant.ToInt(k.Val()))
				all[dir+" "+name] = n
			}
		}
	}
	return all
}
