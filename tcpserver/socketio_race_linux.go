//go:build linux && race

package tcpserver

import "syscall"

// receive and send use package syscall, which the race detector knows: a write to a
// socket happens before the read of its bytes.
func receive(fd int32, p []byte) (int, syscall.Errno) { return errnoOf(syscall.Read(int(fd), p)) }
func send(fd int32, p []byte) (int, syscall.Errno)    { return errnoOf(syscall.Write(int(fd), p)) }

func errnoOf(n int, err error) (int, syscall.Errno) {
	if err == nil {
		return n, 0
	}
	errno, _ := err.(syscall.Errno)
	return 0, errno
}
