package archtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

const module = "github.com/longwire/longwire"

// graph has the imports of each package, without its tests. Packages of the
// module appear by their path below it, with a leading "./" ("./api").
type graph map[string][]string

// local returns the path below the module if the package is ours.
func local(path string) (string, bool) { return strings.CutPrefix(path, "./") }

// check returns a sentence for each import that breaks a rule of rows.
func check(g graph, rows []row, owners map[string][]string) []string {
	var complaints []string
	for _, name := range slices.Sorted(maps.Keys(g)) {
		path, _ := local(name)
		from := place(path, rows)
		if from == nil {
			complaints = append(complaints, fmt.Sprintf("%s has no band; give it a row in the table", path))
			continue
		}
		for _, imported := range g[name] {
			if why := forbidden(from, imported, rows, owners); why != "" {
				complaints = append(complaints, fmt.Sprintf("%s imports %s: %s", path, strings.TrimPrefix(imported, "./"), why))
			}
		}
	}
	return complaints
}

// forbidden returns why from may not import a package, "" if it may.
func forbidden(from *row, imported string, rows []row, owners map[string][]string) string {
	if path, ok := local(imported); ok {
		return forbiddenLocal(from, path, rows)
	}
	if !strings.Contains(strings.SplitN(imported, "/", 2)[0], ".") { // of the standard library
		if slices.Contains(from.never, imported) {
			return from.path + " must not need it"
		}
		return ""
	}
	who, ok := owner(imported, owners)
	if from.stdlib && !slices.Contains(who, from.path) {
		return from.path + " uses the standard library only"
	}
	if ok && !slices.Contains(who, from.path) {
		if len(who) == 0 {
			return "no package may"
		}
		return "only " + strings.Join(who, " and ") + " may"
	}
	return ""
}

func forbiddenLocal(from *row, path string, rows []row) string {
	to := place(path, rows)
	switch {
	case to == nil:
		return "it has no band"
	case to == from:
		return ""
	case to.band == tools:
		return "tools are imported by nobody"
	case to.band == helpers:
		if from.band < tools {
			return "test helpers are imported by tests only"
		}
	case to.room != "" && to.room != from.path && to.room != from.room && from.band < tools:
		return "only " + to.room + " may"
	case to.band == from.band && (to.room == "" || !slices.Contains(from.only, to.path)):
		return fmt.Sprintf("sideways, both are %s", bandNames[from.band])
	case to.band > from.band:
		return fmt.Sprintf("up, from %s to %s", bandNames[from.band], bandNames[to.band])
	case from.only != nil && !slices.Contains(from.only, to.path):
		if len(from.only) == 0 {
			return from.path + " imports none of ours"
		}
		return fmt.Sprintf("%s imports only %s", from.path, strings.Join(from.only, ", "))
	}
	return ""
}

// place returns the row of a package, nil if there is none.
func place(path string, rows []row) *row {
	var best *row
	for i := range rows {
		if r := &rows[i]; within(path, r.path) && (best == nil || len(r.path) > len(best.path)) {
			best = r
		}
	}
	return best
}

// owner returns the rows that may import a third-party package.
func owner(imported string, owners map[string][]string) (who []string, ok bool) {
	best := ""
	for prefix, rows := range owners {
		if within(imported, prefix) && len(prefix) > len(best) {
			best, who, ok = prefix, rows, true
		}
	}
	return who, ok
}

// within reports whether path is prefix or below it.
func within(path, prefix string) bool {
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || rest[0] == '/')
}

// linkedAgainst returns the packages of deps that are within one of modules.
func linkedAgainst(deps, modules []string) []string {
	var bad []string
	for _, d := range deps {
		if slices.ContainsFunc(modules, func(m string) bool { return within(d, m) }) {
			bad = append(bad, d)
		}
	}
	return bad
}
