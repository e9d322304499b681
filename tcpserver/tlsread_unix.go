//go:build unix

package tcpserver

import (
	"io"
	"syscall"
)

// waitReadable waits until there is something to read, or the end; false when
// the socket was closed.
func (u *underTLS) waitReadable() bool {
	return u.raw.Read(readable) == nil
}

// readable looks without taking.
func readable(fd uintptr) bool {
	var p [1]byte
	for {
		_, _, err := syscall.Recvfrom(int(fd), p[:], syscall.MSG_PEEK)
		if err != syscall.EINTR {
			return err != syscall.EAGAIN
		}
	}
}

// readNow reads what is there.
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
