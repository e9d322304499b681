//go:build unix

package app

import (
	"net"
	"syscall"
)

// listenPrivate makes the socket so that nobody else can reach it for even a
// moment: bind obeys the umask. It is the whole process's; a file that another
// goroutine makes meanwhile is the owner's alone, too.
func listenPrivate(path string) (net.Listener, error) {
	before := syscall.Umask(0o077)
	defer syscall.Umask(before)
	return net.Listen("unix", path)
}
