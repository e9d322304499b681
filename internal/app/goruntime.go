package app

import (
	"os"
	"runtime"
)

// moreProcs are processors of Go's runtime beyond the CPUs. A goroutine that syncs a file
// keeps its processor until the runtime notices: with two CPUs that is half of the process,
// many times a second.
const moreProcs = 1

// addProcs gives the runtime its processors, unless GOMAXPROCS is set. A share of the CPUs
// stays as it is: above it the kernel stops a container for a while.
func addProcs() {
	n := runtime.GOMAXPROCS(0)
	if os.Getenv("GOMAXPROCS") == "" && n == runtime.NumCPU() {
		runtime.GOMAXPROCS(n + moreProcs)
	}
}
