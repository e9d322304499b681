//go:build unix

package tcpserver

import (
	"io"
	"syscall"
)

// waitReadable waits for input or the end of the stream. It returns false if the
// socket was closed.
func (u *underTLS) waitReadable() bool {
	return u.raw.Read(readable) == nil
}

// readable peeks without taking input.
func readable(fd uintptr) bool {
	var p [1]byte
	for {
		_, _, err := syscall.Recvfrom(int(fd), p[:], syscall.MSG_PEEK)
		if err != syscall.EINTR {
			return err != syscall.EAGAIN
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
