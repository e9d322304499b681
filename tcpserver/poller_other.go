//go:build !linux

package tcpserver

import "net"

// systemKernel returns nil: on this system connections are streams.
func systemKernel() kernel { return nil }

// acceptSockets returns ln, because no poller can take a bare socket.
func acceptSockets(ln net.Listener) net.Listener { return ln }
