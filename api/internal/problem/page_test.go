package problem

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// A page that prints a problem with its HTTP status prints the right one, in both
// languages.
func TestPagesHaveTheStatuses(t *testing.T) {
	row := regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| ([0-9]{3}) \\|")
	inline := regexp.MustCompile("\\b([0-9]{3}) `([a-z-]+)`")
	for _, page := range []string{"operations.md", "api-keys.md", "events.md", "device-auth.md", "timeline.md", "limits.md", "guarantees.md", "why.md", "defences.md"} {
		for _, folder := range []string{"", "zh-CN/"} {
			text, err := os.ReadFile("../../../docs/guide/" + folder + page)
			if os.IsNotExist(err) && folder != "" {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			told := row.FindAllStringSubmatch(string(text), -1)
			if page == "operations.md" && len(told) != len(kinds) {
				t.Errorf("%s%s has %d problems with a status, want %d", folder, page, len(told), len(kinds))
			}
			for _, m := range inline.FindAllStringSubmatch(strings.ReplaceAll(string(text), "\n", " "), -1) {
				if Kind(m[2]).Status() != 0 {
					told = append(told, []string{m[0], m[2], m[1]})
				}
			}
			for _, m := range told {
				if want := fmt.Sprint(Kind(m[1]).Status()); m[2] != want {
					t.Errorf("%s%s: %s, and the status is %s", folder, page, m[0], want)
				}
			}
		}
	}
}
