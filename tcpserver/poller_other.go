//go:build !linux

package tcpserver

// systemKernel returns nil: connections are streams here.
func systemKernel() kernel { return nil }
