//go:build unix

package bench

import "syscall"

// connectionsByFileLimit is how many connections of clients one process can
// have, with room for its other files: HTTP callers here, and in the gateway
// under test, which has the same limit, an eighth that it keeps for itself.
func connectionsByFileLimit() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1000
	}
	files := min(uint64(limit.Cur), 2*maxClients)
	others := min(max(files/6, 700), 3000)
	return max(10, min(int(files)-int(others), maxClients))
}
