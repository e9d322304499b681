//go:build unix

package bench

import "syscall"

// connectionsByFileLimit is how many devices one process can be connected with. The
// rest of its files is for its store and for callers.
func connectionsByFileLimit() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1000
	}
	files := min(uint64(limit.Cur), 2_000_000)
	others := min(max(files/16, 700), 3000)
	return max(10, min(int(files)-int(others), 1_000_000))
}
