package guide

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/longwire/longwire/internal/why"
)

// codesIn returns the codes of the first column of the tables of a page, by heading.
func codesIn(page string) map[int][]string {
	code := regexp.MustCompile("`([a-z_]+)`")
	all := map[int][]string{}
	heading := 0
	for line := range strings.Lines(page) {
		if strings.HasPrefix(line, "## ") {
			heading++
		}
		cell, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		if heading == 0 || !strings.HasPrefix(line, "| `") {
			continue
		}
		for _, m := range code.FindAllStringSubmatch(cell, -1) {
			all[heading] = append(all[heading], m[1])
		}
	}
	return all
}

// The page has every code of the program and no other, in its language and in Chinese, and
// so has the description of the API.
func TestWhyPageHasEveryCode(t *testing.T) {
	described := schemas(t)
	lists := map[string][]string{"HistoryCode": why.LineCodes()}
	for _, c := range why.MessageCodes() {
		lists["MessageWhyCode"] = append(lists["MessageWhyCode"], string(c))
	}
	for _, c := range why.ClientCodes() {
		lists["ClientWhyCode"] = append(lists["ClientWhyCode"], string(c))
	}
	for schema, want := range lists {
		if got := described[schema].Enum; !slices.Equal(got, want) {
			t.Errorf("%s of openapi.json has %v, want %v: make docs", schema, got, want)
		}
	}
	for name, text := range map[string]string{"why.md": read(t, "why.md")["why.md"], "zh-CN/why.md": read(t, "zh-CN/why.md")["zh-CN/why.md"]} {
		in := codesIn(text)
		for schema, got := range map[string][]string{"MessageWhyCode": slices.Concat(in[1], in[2]), "ClientWhyCode": in[3], "HistoryCode": in[4]} {
			slices.Sort(got)
			want := slices.Sorted(slices.Values(lists[schema]))
			if !slices.Equal(got, want) {
				t.Errorf("%s has the codes %v, want %v of %s", name, got, want, schema)
			}
		}
	}
}
