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
	s := b.shard(f.Client)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.pinned() {
		switch kept(&f) {
		case keptNever:
			return
		case keptAlways:
			e, x := entryOf(now, &f)
			s.keep(note{f.Client, e, x, begins(&f)})
			return
		}
	}
	s.takeNotes()
	s.change(f.Client, now, begins(&f), func(l *line) bool {
		switch {
		case l.trace != nil:
			l.push(l.traced(now, &f))
			return true
		case kept(&f) == keptCounted:
			if l.heartbeat(now, f.Began.UnixNano()) {
				l.notify()
			}
			return false // the line is not in use
		case kept(&f) == keptAlways:
			l.push(entryOf(now, &f))
			return true
		}
		return false
	})
}

// keeping says which frames a line without a trace has.
type keeping uint8

const (
	keptNever   keeping = iota
	keptCounted         // a heartbeat in time
	keptAlways
)

func kept(f *protocol.Frame) keeping {
	if !f.Registered {
		return keptNever // connected or refused says it
	}
	switch f.Type {
	case protocol.FrameHeartbeat, protocol.FrameHeartbeatAck:
		if f.Out {
			return keptNever
		}
		return keptCounted
	case protocol.FrameRegisterAck, protocol.FrameBlank:
		return keptNever
	}
	return keptAlways
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
	e := entry{at: st.At.UnixNano(), kind: Stepped, step: st.Kind, seq: uint64(st.Seq), count: uint32(st.Attempts)}
	e.message, _ = st.Message.UUID()
	if st.Ephemeral {
		e.flags |= flagEphemeral
	}
	var x *extra
	if st.Reason != "" {
		x = &extra{reason: st.Reason}
	}
	s := b.shard(string(st.Client))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep(note{string(st.Client), e, x, true})
}

// Forgotten implements gateway.StepObserver: the client's line and its trace end.
func (b *Book) Forgotten(id gateway.ClientID) {
	b.EndTrace(id)
	s := b.open(string(id))
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
	s := b.open(client)
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
