//go:build unix

package tcpserver

import "syscall"

// maxConnsByFileLimit leaves some of the process's files to the store, the HTTP
// side and the rest.
func maxConnsByFileLimit() int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 1 << 10
	}
	return connsOf(min(uint64(l.Cur), 1<<30))
}

// The store has up to 512 tables open, and some logs; what is left of the
// reserve is for callers of the API and refused connections that are told why.
const (
	leastReserve = 768
	mostReserve  = 2048
)

// connsOf divides files: an eighth is kept, leastReserve to mostReserve, but
// never more than half.
func connsOf(files uint64) int {
	reserve := min(max(files/8, leastReserve), mostReserve, files/2)
	return int(max(1, files-reserve))
}
