// Package gatewaytest has a device for tests of packages above the gateway: a
// Link without a socket, and a gateway on the in-memory store.
package gatewaytest

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
)

// Link is a connected device without a connection. It records its transmissions. React,
// if set, is called for each transmission in turn, from a goroutine of the link.
type Link struct {
	Session *gateway.Session
	Welcome gateway.Welcome

	react  func(*Link, gateway.Transmission)
	probe  func(*Link) bool
	window int
	max    int
	remote netip.AddrPort

	mu            sync.Mutex
	cond          sync.Cond
	inWindow      []gateway.Seq
	transmissions []gateway.Transmission
	forgot        []gateway.Seq
	closes        []gateway.Close
	busy          bool
	seen          time.Time
	ended         bool
	todo          []gateway.Transmission
	reacting      sync.WaitGroup
}

// Options of a Link; zero values are a window of 16, 256 KiB payloads, the address
// 192.0.2.7:40000 and a device that acks everything at once.
type Options struct {
	Hello  gateway.Hello
	Window int
	Max    int
	Remote netip.AddrPort
	React  func(*Link, gateway.Transmission) // nil = flush and ack
	Probe  func(*Link) (asked bool)          // nil = cannot be asked
}

// AckAll flushes and acks.
func AckAll(l *Link, p gateway.Transmission) { l.Sent(p); l.Ack(p, gateway.AckOK, nil) }

// FlushOnly is a device that reads and never acks.
func FlushOnly(l *Link, p gateway.Transmission) { l.Sent(p) }

// Connect registers a device; it is disconnected when the test ends.
func Connect(t testing.TB, g *gateway.Gateway, id gateway.ClientID, o Options) *Link {
	t.Helper()
	l, err := TryConnect(t, g, id, o)
	if err != nil {
		t.Fatalf("connect %s: %v", id, err)
	}
	return l
}

// TryConnect is Connect for a registration that may be refused.
func TryConnect(t testing.TB, g *gateway.Gateway, id gateway.ClientID, o Options) (*Link, error) {
	l := NewLink(o)
	o.Hello.Client = id
	if o.Hello.Dialect == "" {
		o.Hello.Dialect = "v2"
	}
	s, w, err := g.Connect(context.Background(), o.Hello, l)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.Session, l.Welcome = s, w
	ended := l.ended
	l.mu.Unlock()
	if ended { // the link ended while it registered
		s.Closed(l.Closes()[0].Reason)
	}
	l.reacting.Go(l.run)
	t.Cleanup(func() { l.Disconnect(gateway.ReasonConnectionLost) })
	s.Start()
	return l, nil
}

// NewLink returns a link that is not registered.
func NewLink(o Options) *Link {
	l := &Link{react: o.React, probe: o.Probe, seen: time.Now(), window: o.Window, max: o.Max, remote: o.Remote}
	if !l.remote.IsValid() {
		l.remote = netip.MustParseAddrPort("192.0.2.7:40000")
	}
	l.cond.L = &l.mu
	if l.react == nil {
		l.react = AckAll
	}
	if l.window == 0 {
		l.window = 16
	}
	if l.max == 0 {
		l.max = gateway.MaxPayload
	}
	return l
}

func (l *Link) run() {
	for {
		l.mu.Lock()
		for len(l.todo) == 0 && !l.ended {
			l.cond.Wait()
		}
		if l.ended {
			l.mu.Unlock()
			return
		}
		p := l.todo[0]
		l.todo = l.todo[1:]
		l.mu.Unlock()
		l.react(l, p)
	}
}

// Deliver implements gateway.Link.
func (l *Link) Deliver(p gateway.Transmission) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.ended:
		return gateway.ErrLinkClosed
	case len(p.Payload) > l.max:
		return gateway.ErrTooLarge
	case l.busy:
		return gateway.ErrLinkBusy
	case len(l.inWindow) >= l.window && !slices.Contains(l.inWindow, p.Seq):
		return gateway.ErrWindowFull
	}
	if !slices.Contains(l.inWindow, p.Seq) {
		l.inWindow = append(l.inWindow, p.Seq)
	}
	p.Payload = slices.Clone(p.Payload)
	l.transmissions = append(l.transmissions, p)
	l.todo = append(l.todo, p)
	l.cond.Broadcast()
	return nil
}

// Flush implements gateway.Link.
func (l *Link) Flush() {}

// Forget implements gateway.Link.
func (l *Link) Forget(seq gateway.Seq, _ bool) (unsent bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leave(seq)
	l.forgot = append(l.forgot, seq)
	return false
}

func (l *Link) leave(seq gateway.Seq) {
	l.inWindow = slices.DeleteFunc(l.inWindow, func(s gateway.Seq) bool { return s == seq })
}

// Close implements gateway.Link.
func (l *Link) Close(c gateway.Close) {
	l.mu.Lock()
	l.closes = append(l.closes, c)
	l.mu.Unlock()
	go l.Disconnect(c.Reason)
}

// Probe implements gateway.Link.
func (l *Link) Probe() (asked bool) { return l.probe != nil && l.probe(l) }

// Speak makes the device have sent something now.
func (l *Link) Speak() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen = time.Now()
}

// Stats implements gateway.Link.
func (l *Link) Stats() gateway.LinkStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return gateway.LinkStats{Dialect: "v2", Transport: "tcp", Confirmed: true, LastSeen: l.seen, RemoteAddr: l.remote}
}

// MaxPayload implements gateway.Link.
func (l *Link) MaxPayload() int { return l.max }

// Window implements gateway.Link.
func (l *Link) Window() int { return l.window }

// Sent reports to the session that p has reached the socket. An ASK transmits
// nothing.
func (l *Link) Sent(p gateway.Transmission) {
	if !p.Ask {
		l.Session.Sent(p.Seq, p.Ephemeral, time.Now())
	}
}

// Ack reports the device's answer to the session.
func (l *Link) Ack(p gateway.Transmission, code gateway.AckCode, result []byte) {
	if code != gateway.AckWorking {
		l.mu.Lock()
		l.leave(p.Seq)
		l.mu.Unlock()
	}
	l.Session.Acked(p.Seq, p.Ephemeral, code, result, time.Now())
}

// SetBusy makes Deliver return ErrLinkBusy, or accept transmissions again.
func (l *Link) SetBusy(busy bool) {
	l.mu.Lock()
	l.busy = busy
	l.mu.Unlock()
	if !busy {
		l.Session.Writable()
	}
}

// Disconnect ends the connection once.
func (l *Link) Disconnect(reason string) {
	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		return
	}
	l.ended = true
	l.cond.Broadcast()
	s := l.Session
	l.mu.Unlock()
	if s != nil { // otherwise Connect calls Closed
		s.Closed(reason)
	}
}

// Transmissions returns all delivered transmissions so far, repeats included.
func (l *Link) Transmissions() []gateway.Transmission {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.transmissions)
}

// Closes returns the reasons that the gateway gave for closing.
func (l *Link) Closes() []gateway.Close {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.closes)
}

// Forgotten returns the sequences that the gateway removed from the window.
func (l *Link) Forgotten() []gateway.Seq {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.forgot)
}
