//go:build unix

package bench

import "syscall"

// clientsByFileLimit is how many connections one process can have, with room
// for its other files. The gateway under test has the same limit.
func clientsByFileLimit() int {
	const others = 1000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur > maxClients+others {
		return maxClients
	}
	return max(int(limit.Cur)-others, 10)
}
