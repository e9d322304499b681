// Package clocktest has a clock whose wall time a test may step while its
// monotonic time runs on, as a machine's does.
package clocktest

import (
	"sync/atomic"
	"time"
	"unsafe"
)

// Clock is the machine's clock, stepped by Step. The zero value is not stepped.
// All methods may be called from any goroutine, but not in a bubble of
// testing/synctest: its times have no monotonic reading.
type Clock struct {
	by atomic.Int64 // all steps so far
}

// Step sets the wall clock forwards, or backwards if d is negative. To a process
// whose machine is suspended for d the clock does the same.
func (c *Clock) Step(d time.Duration) { c.by.Add(int64(d)) }

// Now is time.Now after the steps. Its monotonic reading is time.Now's.
func (c *Clock) Now() time.Time { return stepped(time.Now(), time.Duration(c.by.Load())) }

// reading is how package time lays out a Time with a monotonic reading: one bit
// that says so, 33 bits of seconds, 30 bits of nanoseconds; then the monotonic
// nanoseconds. No function of that package changes one without the other. The
// test of this package fails if the layout changes.
type reading struct {
	wall uint64
	ext  int64
	loc  *time.Location
}

const (
	hasMonotonic = 1 << 63
	nanoBits     = 30
	nanoMask     = 1<<nanoBits - 1
)

// stepped changes the wall reading of t alone.
func stepped(t time.Time, by time.Duration) time.Time {
	r := (*reading)(unsafe.Pointer(&t))
	if r.wall&hasMonotonic == 0 {
		panic("clocktest: a time without a monotonic reading")
	}
	nanos := int64(r.wall&nanoMask) + int64(by%time.Second)
	seconds := int64(by / time.Second)
	switch {
	case nanos < 0:
		nanos, seconds = nanos+int64(time.Second), seconds-1
	case nanos >= int64(time.Second):
		nanos, seconds = nanos-int64(time.Second), seconds+1
	}
	r.wall = r.wall&^nanoMask + uint64(seconds)<<nanoBits | uint64(nanos)
	return t
}
