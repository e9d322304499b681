package app

import (
	"errors"
	"fmt"
)

// cleanups is a stack of steps that close the parts of an App. A part adds its step
// when it is open.
type cleanups []cleanup

type cleanup struct {
	part string
	do   func() error
}

// add puts a step on the stack.
func (c *cleanups) add(part string, do func() error) { *c = append(*c, cleanup{part, do}) }

// addQuiet adds a step that reports no error.
func (c *cleanups) addQuiet(part string, do func()) {
	c.add(part, func() error { do(); return nil })
}

// run takes every step, the last added first, and returns the errors of all.
func (c *cleanups) run() error {
	var errs []error
	for i := len(*c) - 1; i >= 0; i-- {
		step := (*c)[i]
		if err := step.do(); err != nil {
			errs = append(errs, fmt.Errorf("close the %s: %w", step.part, err))
		}
	}
	*c = nil
	return errors.Join(errs...)
}
