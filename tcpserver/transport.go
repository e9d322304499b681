package tcpserver

import (
	"net"
	"time"
)

// transport moves bytes between a connection and its socket, and never makes
// anybody wait. There are two: a stream has a goroutine that waits for input,
// and works on every system and over TLS; a polled connection has none and is
// told by a poller.
//
// All methods are called with conn.mu held; all but close, mayWrite, write and
// finish by whoever has the turn.
type transport interface {
	// listen makes input ask for a turn, again where that was paused.
	listen()
	// look is listen, and reading and writing are tried even if nobody has told
	// that they would do.
	look()
	// pause stops taking input off the socket until the next listen, where
	// that happens outside of turns.
	pause()
	// listening reports whether all input that is known of was taken.
	listening() bool
	// read is the oldest input that no turn has taken, nil for none.
	read() *inbound

	// mayWrite reports whether write is to be called.
	mayWrite() bool
	// write gives the socket as much of o as it takes at once.
	write(o *outbound) (n int, err error)
	// finish sees to it that the rest of o is written when the socket takes
	// it, and asks for a turn then. conn.out is o.
	finish(o *outbound, now time.Time)

	// closeWrite tells the device that nothing follows, where it can.
	closeWrite()
	// close closes the socket without waiting for anything. With reset the
	// kernel forgets what the device has not taken.
	close(reset bool)
	// netConn is the connection below, nil where there is only a socket.
	netConn() net.Conn
}

// unstarted is the transport before conn.start.
type unstarted struct{ nc net.Conn }

func (unstarted) listen()                            {}
func (unstarted) look()                              {}
func (unstarted) pause()                             {}
func (unstarted) listening() bool                    { return true }
func (unstarted) read() *inbound                     { return nil }
func (unstarted) mayWrite() bool                     { return false }
func (unstarted) write(*outbound) (n int, err error) { return 0, nil }
func (unstarted) finish(*outbound, time.Time)        {}
func (unstarted) closeWrite()                        {}
func (u unstarted) close(reset bool)                 { abandon(u.nc, reset) }
func (u unstarted) netConn() net.Conn                { return u.nc }
