package app

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
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
func (c *cleanups) run() error { return c.each(func(string) {}) }

// each is run. It calls begun with the part before each step.
func (c *cleanups) each(begun func(part string)) error {
	var errs []error
	for i := len(*c) - 1; i >= 0; i-- {
		step := (*c)[i]
		begun(step.part)
		if err := step.do(); err != nil {
			errs = append(errs, fmt.Errorf("close the %s: %w", step.part, err))
		}
	}
	*c = nil
	return errors.Join(errs...)
}

// runWithin is run, and gives up after a time: a disk may hang.
func (c *cleanups) runWithin(d time.Duration) error {
	var part atomic.Value
	part.Store("")
	done := make(chan error, 1)
	go func() { done <- c.each(func(p string) { part.Store(p) }) }()
	late := time.NewTimer(d)
	defer late.Stop()
	select {
	case err := <-done:
		return err
	case <-late.C:
		return fmt.Errorf("close the %s: it takes more than %v; what was accepted is stored", part.Load(), d.Round(time.Second))
	}
}
