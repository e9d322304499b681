//go:build unix

package tcpserver

import "syscall"

// maxConnsByFileLimit leaves some of the process's files to the store, the HTTP
// side and the rest.
func maxConnsByFileLimit() int { return ConnectionsOf(FileLimit()) }

// FileLimit returns how many files the process may have open, 0 for no limit.
func FileLimit() int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 1 << 11
	}
	return int(min(uint64(l.Cur), 1<<30))
}

// The store has up to 512 tables open, and some logs; what is left of the
// reserve is for callers of the API and refused connections that are told why.
const (
	leastReserve = 768
	mostReserve  = 2048
)

// ConnectionsOf divides files between devices and the rest: an eighth is kept, leastReserve to mostReserve, but
// never more than half.
func ConnectionsOf(files int) int {
	reserve := min(max(files/8, leastReserve), mostReserve, files/2)
	return max(1, files-reserve)
}
