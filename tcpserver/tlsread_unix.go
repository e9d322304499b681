//go:build unix

package tcpserver

import (
	"io"
	"syscall"

	"golang.org/x/sys/unix"
)

// waitReadable waits for input or the end of the stream. It returns false if the
// socket was closed.
func (u *underTLS) waitReadable() bool {
	return u.raw.Read(readable) == nil
}

// readable looks without taking anything: a peek would take the error of a reset, and
// the read after it would find the end of the stream.
func readable(fd uintptr) bool {
	look := [1]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(look[:], 0)
		if err != unix.EINTR {
			return n != 0
		}
	}
}

// readNow reads the available input.
func (u *underTLS) readNow(p []byte) (n int, err error) {
	waited := u.raw.Read(func(fd uintptr) bool {
		for {
			if n, err = syscall.Read(int(fd), p); err != syscall.EINTR {
				return true
			}
		}
	})
	switch {
	case waited != nil: // closed
		return 0, waited
	case err == syscall.EAGAIN:
		return 0, errWouldWait
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}
