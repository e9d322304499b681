package bench

import (
	"fmt"
	"slices"
	"strings"
)

// oneOf is a flag that takes one of a few words.
type oneOf struct {
	value *string
	words []string
}

func (c *oneOf) String() string { return *c.value }
func (c *oneOf) Type() string   { return strings.Join(c.words, "|") }

func (c *oneOf) Set(s string) error {
	if !slices.Contains(c.words, s) {
		return fmt.Errorf("must be one of %s", strings.Join(c.words, ", "))
	}
	*c.value = s
	return nil
}
