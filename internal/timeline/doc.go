// Package timeline remembers the last events of each client in memory: its
// connections, refusals, frames, and the steps of its deliveries.
//
// A Book is fed by the three observers of the program: protocol.FrameObserver where
// frames are read and written, gateway.StepObserver where deliveries move on, and
// tcpserver.Observer where connections begin and end. None of them knows the book.
//
// A client gets a line with its first payload, ack or refusal. A client that is only
// connected and answers heartbeats has none: its record and its live session already
// show the connection. Heartbeats in time are counted.
//
// A line has at most MaxEntries entries. All lines together have Config.Memory; beyond
// it the longest line that was idle for longest loses its older half, so that a device
// that floods shortens no other line. Lines in use do not grow at each other's cost. A
// trace keeps every frame of one client with its bytes. Its time and its bytes are
// bounded.
package timeline
