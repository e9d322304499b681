package config

import (
	"fmt"
	"strings"
)

// DidYouMean returns " (did you mean …?)" when a known name resembles name, or
// has it as its last part; else "".
func DidYouMean(name string, known []string) string {
	best, bestAt := "", max(2, len(name)/4)+1
	for _, k := range known {
		if strings.HasSuffix(k, "."+name) {
			return fmt.Sprintf(" (did you mean %s?)", k)
		}
		if d := distance(strings.ToLower(name), strings.ToLower(k)); d < bestAt {
			best, bestAt = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s?)", best)
}

// distance returns how many letters must be changed, added or removed to turn a
// into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
