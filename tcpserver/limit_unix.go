//go:build unix

package tcpserver

import "syscall"

// maxConnsByFileLimit leaves an eighth of the process's files, 64 to 2,048, to
// the store, the HTTP side and the rest.
func maxConnsByFileLimit() int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return 1 << 10
	}
	files := min(uint64(l.Cur), 1<<30)
	return int(max(1, files-min(files, max(64, min(2048, files/8)))))
}
