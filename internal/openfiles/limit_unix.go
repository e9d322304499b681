//go:build unix

package tcpserver

import "syscall"

// maxConnsByFileLimit leaves some of the process's files to the store, the API and
// the rest.
func maxConnsByFileLimit() int { return ConnectionsOf(FileLimit()) }

// FileLimit returns how many files the process may have open, 0 for no limit.
func FileLimit() int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 1 << 11
	}
	return int(min(uint64(l.Cur), 1<<30))
}

// The reserve holds up to 512 tables and some logs of the store. The rest of it is
// for callers of the API and for refused connections that get a close.
const (
	leastReserve = 768
	mostReserve  = 2048
)

// ConnectionsOf divides files between devices and the rest. The rest gets an
// eighth, between leastReserve and mostReserve, but never more than half.
func ConnectionsOf(files int) int {
	reserve := min(max(files/8, leastReserve), mostReserve, files/2)
	return max(1, files-reserve)
}
