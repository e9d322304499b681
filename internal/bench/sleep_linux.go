package bench

import (
	"syscall"
	"time"
)

// preciseSleep sleeps for d or a little longer. time.Sleep may take a millisecond
// longer than d, which can be more than the measured latency.
func preciseSleep(d time.Duration) {
	for end := time.Now().Add(d); d > 0; d = time.Until(end) {
		t := syscall.NsecToTimespec(int64(d))
		_ = syscall.Nanosleep(&t, nil) // a signal ends it early
	}
}
