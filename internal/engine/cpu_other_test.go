//go:build !unix

package engine

import "time"

// cpuTime is what the process has used of all cores, 0 where it cannot be told.
func cpuTime() time.Duration { return 0 }
