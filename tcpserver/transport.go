package tcpserver

import (
	"net"
	"time"
)

// transport moves bytes between a connection and its socket, and never blocks its
// caller. There are two. A stream has a goroutine that waits for input; it works on
// every system and over TLS. A polled connection has none; a poller reports its
// events.
//
// The caller of every method holds conn.mu. Only the goroutine with the turn calls
// the methods except close, mayWrite, write and finish.
type transport interface {
	// listen makes input request a turn. It also ends a pause.
	listen()
	// retryIO is listen, and the turn tries to read and write without a readiness
	// event.
	retryIO()
	// pause stops reading from the socket until the next listen, if the transport
	// reads outside of turns.
	pause()
	// listening reports whether all known input was taken.
	listening() bool
	// read returns the oldest input that no turn has taken, nil for none.
	read() *inbound

	// reset reports whether the connection is known to be reset, without a read.
	reset() bool

	// mayWrite reports whether write may be called.
	mayWrite() bool
	// write gives the socket as much of o as it takes at once.
	write(o *outbound) (n int, err error)
	// finish arranges that the rest of o is written when the socket takes it, and
	// that a turn is then requested. conn.out is o.
	finish(o *outbound, now time.Time)

	// closeWrite signals the end of output to the device, if the transport can.
	closeWrite()
	// close closes the socket without waiting. With reset the kernel drops the
	// output that the device has not taken.
	close(reset bool)
	// netConn returns the connection below, nil if there is only a socket.
	netConn() net.Conn
}
