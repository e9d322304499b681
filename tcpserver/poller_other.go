//go:build !linux

package tcpserver

import "net"

// systemKernel returns nil: connections are streams here.
func systemKernel() kernel { return nil }

// acceptSockets returns ln: there is no poller that could take a bare socket.
func acceptSockets(ln net.Listener) net.Listener { return ln }
