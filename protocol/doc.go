// Package protocol is the device protocol of Longwire: its three dialects and the
// session that speaks them. SPEC.md is the normative text; comments cite its
// sections.
//
// A Session is a value, not a process. It takes bytes and the time, and returns
// bytes, events and the next deadline. It owns no socket, goroutine, timer or
// clock, and serves both ends of the wire:
//
//	s := protocol.NewServer(cfg, now)
//	s.Receive(now, bytes)                   // what a read returned
//	for e, ok := s.Next(); ok; e, ok = s.Next() {
//		…                               // KindRegister → s.Accept, KindData → s.AckData, …
//	}
//	out = s.AppendOutput(out[:0])           // write it, then
//	s.Flushed(now, len(out))
//	at, ok := s.Deadline()                  // call s.Advance then
//
// The driver serializes the calls. Time must not go back.
//
// # Where things are
//
//	wire.go         constants and limits         v1.go frame.go text.go   the three codecs
//	session.go      life of a session            sniff.go                 which dialect is it
//	input.go        from bytes to messages       output.go                from messages to bytes
//	register.go     registration, both ends      heartbeat.go             is the peer alive
//	window.go       deliveries and their acks    ask.go                   the verdict on a delivery
//	stopwait.go     one frame at a time          work.go                  memory while busy
//	close.go        codes and reasons            traits.go                the table of the dialects
package protocol
