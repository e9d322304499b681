// Package tcpserver is the TCP edge. It accepts device connections, moves bytes
// between each socket and its protocol.Session, and translates between that session
// and the gateway.
//
// # One connection, one actor
//
// Every change to a connection (input, a due deadline, a delivery of the gateway)
// leaves its mark and requests a turn. A connection has one turn at a time, on a
// worker, a poller or the goroutine that delivers. The turn gives the session its
// input and the time, writes the session's output, and passes its events to the
// gateway, in order and without a lock. So only turns call the gateway, and a Link
// method never calls it back.
//
//	socket ─▶ transport ─▶ input ┐
//	wheel ──▶ Fire ──────────────┼─▶ turn ─▶ protocol.Session ─▶ gateway.Session
//	gateway ▶ Link ──────────────┘    └────▶ transport ─▶ socket
//
// A call that waits for the store (Connect, Received) moves the turn to a goroutine
// for such calls, so that it blocks no worker. Until the turn ends, nothing is read
// from that connection.
//
// # Two transports
//
// Plain TCP on Linux is polled. Each processor has a goroutine, a poller, that waits
// on one epoll instance for thousands of sockets. A socket is registered once and
// edge-triggered. An event sets a bit of the conn and runs a turn, which reads and
// writes the socket itself. The turn runs on the poller's goroutine until a call to
// the gateway may wait, then on a worker's. A server without TLS and proxies accepts
// the descriptor itself. Other servers duplicate it from the accepted connection and
// then close that connection's part in package net. Every system call on the socket
// needs conn.mu. An event names the conn's generation beside the descriptor's number,
// so that a reused number is never mistaken.
//
// TLS, pipes and other systems are streams. A goroutine waits for input and moves it
// to the connection's inbox. It does no more, because its stack would stay as large as
// parsing or the gateway once made it.
//
// # The cost of an idle connection
//
// An idle connection has no buffer and no runtime timer: buffers come from pools when
// there is data. A polled connection takes about 430 bytes, for the conn, its protocol
// session and a word of a table, and no goroutine. A stream has a goroutine on a stack
// of 2 KB, and package net takes 1 KB more of heap. For an acked online push a polled
// connection takes two system calls instead of three and about 0.8 of the CPU. The
// gateway's process takes a third of the memory (ratios of same runs).
//
// # Writing
//
// No goroutine waits for a device to read. A turn tries one write that does not block.
// The rest waits for an event; in a stream it waits in a goroutine that lives until
// the output is written. A device that reads nothing for Config.WriteTimeout is closed
// as a slow consumer.
package tcpserver
