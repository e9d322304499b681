//go:build unix

package app

import (
	"net"
	"syscall"
)

// listenPrivate creates the socket under a umask, so that no other user can reach
// it even for a moment. The umask applies to the whole process: a file that another
// goroutine creates at the same time is private to its owner, too.
func listenPrivate(path string) (net.Listener, error) {
	before := syscall.Umask(0o077)
	defer syscall.Umask(before)
	return net.Listen("unix", path)
}
