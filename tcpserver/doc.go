// Package tcpserver is the TCP edge: it accepts device connections, moves bytes
// between their sockets and a protocol.Session each, and translates between
// that session and the gateway.
//
// # One connection, one actor
//
// Whatever happens to a connection (bytes came, a deadline is due, the gateway
// delivers) leaves its mark and asks for a turn. A connection has one turn at a
// time, on a worker, a poller or the goroutine that delivers: it gives the
// session its input and the time, writes what it has to say, and tells the
// gateway what happened, in order, with no lock held. So the gateway is called
// from turns only, and a Link method never calls it back.
//
//	socket ─▶ transport ─▶ input ┐
//	wheel ──▶ Fire ──────────────┼─▶ turn ─▶ protocol.Session ─▶ gateway.Session
//	gateway ▶ Link ──────────────┘    └────▶ transport ─▶ socket
//
// Calls that wait for the store (Connect, Received) take the turn to a
// goroutine for such calls, so that they hold up no worker; nothing is read from
// that connection meanwhile.
//
// # Two transports
//
// Plain TCP on Linux is polled: each processor has a goroutine, a poller, that
// waits on one epoll instance for thousands of sockets, registered once each
// and edge-triggered. An event sets a bit of the conn and runs a turn, which
// reads and writes the socket itself, on the poller's goroutine while no call
// to the gateway may wait, and on a worker's from there. A server without TLS and
// proxies accepts the descriptor itself. Elsewhere it is duplicated from the
// accepted connection, whose part in package net is then closed. Every system call on it is made under conn.mu, and an event names the
// conn's generation beside the descriptor's number: a number that is used again
// is never mistaken.
//
// TLS, pipes and other systems are streams: a goroutine waits for input and
// moves it to the connection's inbox, for a stack that has grown once, by
// parsing or by the gateway, would stay as large.
//
// # What an idle connection costs
//
// No buffer and no runtime timer: buffers come from pools when there is data.
// Polled: the conn, its protocol session and a word of a table, about 430 bytes
// and no goroutine. A stream: a goroutine on a stack of 2 KB and the net
// package's part, 1 KB more of heap. For an acked online push a polled
// connection takes two system calls instead of three and about 0.8 of the CPU,
// and the process of the gateway a third of the memory (ratios of same runs).
//
// # Writing
//
// Nobody waits for a device to read. A turn tries one write that does not
// block; what the socket does not take waits for an event, and in a stream for
// a goroutine that lives only as long as there is something left. A device that
// takes nothing for Config.WriteTimeout is closed as a slow consumer.
package tcpserver
