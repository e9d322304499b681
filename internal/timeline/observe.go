package timeline

import (
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/protocol"
)

// MaxFrameBytes is how much of a traced frame is kept.
const MaxFrameBytes = 64 << 10

// Frame implements protocol.FrameObserver.
func (b *Book) Frame(f protocol.Frame) {
	now := f.At.UnixNano()
	b.change(f.Client, now, begins(&f), func(l *line) bool {
		switch {
		case l.trace != nil:
			l.push(l.traced(now, &f))
			return true
		case !f.Registered:
			return false // connected or refused says it
		case f.Type == protocol.FrameHeartbeatAck && !f.Out, f.Type == protocol.FrameHeartbeat && !f.Out:
			if l.heartbeat(now, f.Began.UnixNano()) {
				l.notify()
			}
			return false // the line is not in use
		case f.Type == protocol.FrameHeartbeat, f.Type == protocol.FrameHeartbeatAck, f.Type == protocol.FrameRegisterAck, f.Type == protocol.FrameBlank:
			return false
		}
		l.push(entryOf(now, &f))
		return true
	})
}

// begins reports whether a frame begins a line. Registrations, heartbeats and closes do
// not, because a whole fleet may send them at once.
func begins(f *protocol.Frame) bool {
	switch f.Type {
	case protocol.FrameData, protocol.FrameAsk, protocol.FrameAck, protocol.FrameError, protocol.FrameMalformed:
		return f.Registered
	}
	return false
}

// entryOf returns the entry of a frame, and its extra or nil.
func entryOf(now int64, f *protocol.Frame) (e entry, x *extra) {
	e = entry{at: now, conn: f.Began.UnixNano(), kind: Framed, frame: f.Type, code: f.Code, seq: f.Seq, size: uint32(f.Size)}
	if f.Out {
		e.flags |= flagOut
	}
	if f.Ephemeral {
		e.flags |= flagEphemeral
	}
	if f.Dup {
		e.flags |= flagDup
	}
	if f.Reason != "" {
		x = &extra{reason: f.Reason}
	}
	return e, x
}

// Step implements gateway.StepObserver.
func (b *Book) Step(st gateway.Step) {
	now := st.At.UnixNano()
	b.change(string(st.Client), now, true, func(l *line) bool {
		e := entry{at: now, kind: Stepped, step: st.Kind, seq: uint64(st.Seq), count: uint32(st.Attempts)}
		e.message, _ = st.Message.UUID()
		if st.Ephemeral {
			e.flags |= flagEphemeral
		}
		var x *extra
		if st.Reason != "" {
			x = &extra{reason: st.Reason}
		}
		l.push(e, x)
		if st.Kind == gateway.StepQueued {
			l.queuedFirst(now)
		}
		return true
	})
}

// Forgotten implements gateway.StepObserver: the client's line and its trace end.
func (b *Book) Forgotten(id gateway.ClientID) {
	b.EndTrace(id)
	s := b.shard(string(id))
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.lines[string(id)]; l != nil {
		l.gone = true
		l.notify()
		s.remove(l)
	}
}

// Connected implements tcpserver.Observer. A client without a line gets none: its live
// session says the same.
func (b *Book) Connected(began time.Time, h gateway.Hello, session gateway.SessionID) {
	now := b.now()
	b.change(string(h.Client), now, false, func(l *line) bool {
		x := helloExtra(&h)
		x.session = string(session)
		l.push(entry{at: now, conn: began.UnixNano(), kind: Connected}, x)
		return true
	})
}

func helloExtra(h *gateway.Hello) *extra {
	x := &extra{transport: h.Transport, dialect: h.Dialect}
	if h.Remote.IsValid() {
		x.remote = h.Remote.String()
	}
	return x
}

// Refused implements tcpserver.Observer. The first refusal of a known client begins
// its line; other ids have none.
func (b *Book) Refused(began time.Time, h gateway.Hello, reason string) {
	now := b.now()
	create := reason != protocol.ReasonOverloaded && !b.has(string(h.Client)) && b.cfg.Known != nil && b.cfg.Known(h.Client)
	b.change(string(h.Client), now, create, func(l *line) bool {
		x := helloExtra(&h)
		x.reason = reason
		e := entry{at: now, conn: began.UnixNano(), kind: Refused, count: 1}
		if last := l.last(); last != nil && last.kind == Refused && l.extras[l.next-1].reason == reason && l.trace == nil {
			x.until = now
			last.conn, last.count = e.conn, last.count+1
			l.setExtra(l.next-1, x)
			return false
		}
		l.push(e, x)
		return true
	})
}

// has reports whether a client has a line.
func (b *Book) has(client string) bool {
	s := b.shard(client)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lines[client] != nil
}

// Closed implements tcpserver.Observer.
func (b *Book) Closed(began time.Time, h gateway.Hello, reason string) {
	now := b.now()
	b.change(string(h.Client), now, false, func(l *line) bool {
		if reason == protocol.ReasonHeartbeatTimeout {
			l.push(entry{at: now, conn: began.UnixNano(), kind: HeartbeatMissed}, nil)
		}
		x := helloExtra(&h) // the line may have begun after the connection
		x.reason = reason
		l.push(entry{at: now, conn: began.UnixNano(), kind: Closed}, x)
		return true
	})
}
