//go:build unix

package openfiles

import "syscall"

// Limit returns how many files the process may have open, 0 for no limit. The runtime
// has already raised the soft limit to the hard one.
func Limit() int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 1 << 11
	}
	return int(min(uint64(l.Cur), 1<<30))
}
