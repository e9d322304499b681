// Package tcpserver is the TCP edge: it accepts device connections, moves bytes
// between their sockets and a protocol.Session each, and translates between
// that session and the gateway.
//
// # One connection, one actor
//
// Whatever happens to a connection (bytes came, a deadline is due, the gateway
// delivers) leaves its mark and asks for a turn. Turns run on a small pool of
// workers, one at a time for each connection: a turn gives the session its
// input and the time, writes what it has to say, and tells the gateway what
// happened, in order, with no lock held. So the gateway is called from turns
// only, and a Link method never calls it back.
//
//	socket ─▶ readLoop ─▶ inbox ┐
//	wheel ──▶ Fire ─────────────┼─▶ turn ─▶ protocol.Session ─▶ gateway.Session
//	gateway ▶ Link ─────────────┘    └────▶ socket
//
// Calls that wait for the store (Connect, Received) take the turn to a
// goroutine of their own, so that they hold up no worker; nothing is read from
// that connection meanwhile.
//
// # What an idle connection costs
//
// One goroutine that waits for readability on a stack of 2 KB, the conn, its
// protocol session and the net package's part: no buffer, no runtime timer, no
// second goroutine. Buffers come from pools when there is data. The goroutine
// only moves what it has read into the connection's inbox, for a stack that has
// grown once, by parsing or by the gateway, would stay as large.
//
// # Writing
//
// Nobody waits for a device to read. A turn tries one write that does not
// block; what the socket does not take is written by a goroutine that lives
// only as long as there is something left. A device that takes nothing for
// Config.WriteTimeout is closed as a slow consumer.
package tcpserver
