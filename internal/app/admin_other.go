//go:build !unix

package app

import "net"

// listenPrivate relies on the access list that the socket inherits from the
// data directory.
func listenPrivate(path string) (net.Listener, error) { return net.Listen("unix", path) }
