//go:build !unix

package tcpserver

// Never called: rawConnOf finds no descriptor on this system.

func (u *underTLS) waitReadable() bool { return false }

func (u *underTLS) readNow([]byte) (int, error) { return 0, errWouldWait }
