//go:build linux && race

package tcpserver

import "syscall"

// receive and send are the calls of package syscall, which the race detector
// knows: what goes through a socket has happened before it comes out.
func receive(fd int32, p []byte) (int, syscall.Errno) { return errnoOf(syscall.Read(int(fd), p)) }
func send(fd int32, p []byte) (int, syscall.Errno)    { return errnoOf(syscall.Write(int(fd), p)) }

func errnoOf(n int, err error) (int, syscall.Errno) {
	if err == nil {
		return n, 0
	}
	errno, _ := err.(syscall.Errno)
	return 0, errno
}
