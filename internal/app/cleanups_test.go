package app

import (
	"errors"
	"slices"
	"testing"
)

func TestCleanupsRunInReverse(t *testing.T) {
	var c cleanups
	var got []string
	step := func(part string) func() { return func() { got = append(got, part) } }
	broken := errors.New("broken")
	c.addQuiet("store", step("store"))
	c.add("audit log", func() error { step("audit log")(); return broken })
	c.addQuiet("gateway", step("gateway"))

	err := c.run()
	if want := []string{"gateway", "audit log", "store"}; !slices.Equal(got, want) {
		t.Errorf("got the steps %q, want %q", got, want)
	}
	if want := "close the audit log: broken"; !errors.Is(err, broken) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := c.run(); err != nil || len(got) != 3 {
		t.Errorf("the second run takes steps: %q, %v", got, err)
	}
}
