package archtest

import (
	"go/ast"
	"regexp"
	"strings"
)

// mark is a pattern that suggests a literal translation. Most sentences with one
// become plain when they are written again: subject, verb, object; present tense;
// the actor named; one clause. The example is a line that must be found.
type mark struct {
	pattern *regexp.Regexp
	cure    string
	example string
}

var marks = []mark{
	{regexp.MustCompile(`\b(?i:who|whom|whoever)\b`),
		"name the caller, goroutine, process or device",
		"whoever takes a call out of the window answers it"},
	{regexp.MustCompile(`\b(?i:nobody|somebody|everybody|anybody)\b`),
		"say no caller, another goroutine, every session",
		"closed when somebody waits"},
	{regexp.MustCompile(`\b[Ww]hat (a|an|are|came|can|cannot|comes|devices|each|follows|had|has|have|is|it|live|may|must|` +
		`nobody|others|somebody|the|there|they|this|waits|was|were)\b`),
		"use a noun: the queued deliveries, the next step",
		"cancel what is queued"},
	{regexp.MustCompile(`\b(tell|tells|telling|told|hear|hears|heard)\b`),
		"calls return, report, notify or signal",
		"Sent tells that the frame was flushed"},
	{regexp.MustCompile(`, for (a|each|in|it|its|nobody|package|that|the|there|they|this|two|what)\b`),
		"write because, or begin a new sentence",
		"it is sent again, for the ack may be lost"},
	{regexp.MustCompile(`\b[Ww]here (a|it|its|net|nobody|nothing|one|others|that|the|there|they|this|waiting)\b`),
		"write if, or name the place",
		"nil where it has shown none"},
	{regexp.MustCompile(`\b[Oo]f (which|these|those)\b`),
		"begin a new sentence",
		"it is one of several, of which the last counts"},
	{regexp.MustCompile(`\b(go on|goes on|went on|goes ahead|of its own|by itself|all the same|ever after|as good as|in so far)\b|\b[Mm]eanwhile\b`),
		"say what continues, and when",
		"final meanwhile"},
}

// findMark returns the first mark of a line, nil if there is none.
func findMark(line string) *mark {
	for i := range marks {
		if marks[i].pattern.MatchString(line) {
			return &marks[i]
		}
	}
	return nil
}

// wording counts the comment lines of a package and those with a mark.
type wording struct {
	lines  int
	marked int
}

// count adds the comments of f and calls found for each marked line. Directives and
// the annotations of the API's description do not count.
func (w *wording) count(f *ast.File, found func(c *ast.Comment, line string, m *mark)) {
	for _, group := range f.Comments {
		for _, c := range group.List {
			line, ok := strings.CutPrefix(c.Text, "//")
			if !ok || strings.HasPrefix(line, "go:") || strings.HasPrefix(strings.TrimSpace(line), "@") {
				continue
			}
			w.lines++
			if m := findMark(line); m != nil {
				w.marked++
				found(c, strings.TrimSpace(line), m)
			}
		}
	}
}

// Bounds of the marked lines of a package: a share, and a number that is always
// allowed, because a mark is sometimes right. All packages together have a lower share.
const (
	packageShare = 0.03
	packageLines = 2
	totalShare   = 0.02
)

// fits reports whether the package keeps the bounds.
func (w wording) fits() bool {
	return w.marked <= packageLines || float64(w.marked) <= packageShare*float64(w.lines)
}
