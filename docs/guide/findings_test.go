package guide

import (
	"slices"
	"strings"
	"testing"

	"github.com/longwire/longwire/internal/findings"
)

// The pages and the API's description have the codes of findings, in the order of the
// source, and the pages have their scopes.
func TestFindingsAreOnThePages(t *testing.T) {
	var want []string
	for _, c := range findings.Codes() {
		want = append(want, string(c)+" "+findings.ScopeOf(c))
	}
	for _, page := range []string{"findings.md", "zh-CN/findings.md"} {
		var got []string
		for _, row := range rowsOf(read(t, page)[page], 4) {
			if cell := names(row[0]); len(cell) == 1 {
				got = append(got, cell[0]+" "+strings.Join(names(row[1]), " "))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s has the rows\n%v, want\n%v", page, got, want)
		}
	}
	enum := schemas(t)["FindingCode"].Enum
	for i, c := range findings.Codes() {
		if len(enum) != len(want) || enum[i] != string(c) {
			t.Fatalf("the description has the codes %v, want those of %v", enum, want)
		}
	}
}
