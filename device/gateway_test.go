package device

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/protocol"
)

// gateway is the other side: it takes connections and answers registrations.
type gateway struct {
	t      *testing.T
	accept protocol.Registered // sent to clients
	forget bool                // resumes nothing
	refuse protocol.CloseCode  // if not 0
	garble []string            // the answers to the first REGISTERs
	conns  chan *peer
}

func newGateway(t *testing.T) *gateway {
	return &gateway{t: t, accept: protocol.Registered{Session: "ses_1", Log: "log_1", Ask: true}, conns: make(chan *peer, 10)}
}

// peer is the gateway's end of one connection.
type peer struct {
	g        *gateway
	conn     net.Conn
	kick     chan struct{}
	register protocol.Register

	mu     sync.Mutex
	s      *protocol.Session
	events []protocol.Event // data and acks, as they came
	ended  bool
}

func (g *gateway) dial(context.Context, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	if len(g.garble) > 0 {
		answer := g.garble[0]
		g.garble = g.garble[1:]
		go func() {
			defer ours.Close()
			_, _ = ours.Read(make([]byte, 1000))
			_, _ = io.WriteString(ours, answer)
			_, _ = io.Copy(io.Discard, ours)
		}()
		return theirs, nil
	}
	p := &peer{g: g, conn: ours, kick: make(chan struct{}, 1), s: protocol.NewServer(nil, time.Now())}
	go p.read()
	go p.write()
	return theirs, nil
}

func (p *peer) read() {
	buf := make([]byte, 1000)
	for {
		n, err := p.conn.Read(buf)
		p.do(func(s *protocol.Session) {
			if s.Receive(time.Now(), buf[:n]); err != nil {
				s.EOF()
			}
		})
		if err != nil {
			return
		}
	}
}

// write also advances the session's time, often enough for the v1 gap.
func (p *peer) write() {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	defer p.conn.Close()
	for {
		p.mu.Lock()
		p.s.Advance(time.Now())
		p.handle()
		out, ended := p.s.AppendOutput(nil), p.ended
		p.mu.Unlock()
		if len(out) > 0 {
			if _, err := p.conn.Write(out); err == nil {
				p.do(func(s *protocol.Session) { s.Flushed(time.Now(), len(out)) })
			}
		} else if ended {
			return
		} else {
			select {
			case <-p.kick:
			case <-tick.C:
			}
		}
	}
}

// do calls f with the session and handles its events.
func (p *peer) do(f func(s *protocol.Session)) {
	p.mu.Lock()
	f(p.s)
	p.handle()
	p.mu.Unlock()
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

func (p *peer) handle() {
	for e, ok := p.s.Next(); ok; e, ok = p.s.Next() {
		switch e.Kind {
		case protocol.KindRegister:
			if p.register = *e.Register; p.g.refuse != 0 {
				p.s.Refuse(time.Now(), protocol.Close{Code: p.g.refuse})
				continue
			}
			accept := p.g.accept
			accept.Resumed = !p.g.forget && p.register.Log == accept.Log
			p.s.Accept(time.Now(), accept)
			p.g.conns <- p
		case protocol.KindData, protocol.KindAck, protocol.KindStaleAck:
			p.events = append(p.events, e)
		case protocol.KindClosed:
			p.ended = true
		}
	}
}

func (p *peer) send(seq uint64, payload string) {
	p.do(func(s *protocol.Session) {
		if err := s.Send(time.Now(), protocol.Data{Seq: seq, Payload: []byte(payload)}); err != nil {
			p.g.t.Errorf("send %d: %v", seq, err)
		}
	})
}

// repeat sends a payload with DUP.
func (p *peer) repeat(seq uint64, payload string) {
	p.do(func(s *protocol.Session) {
		_ = s.Send(time.Now(), protocol.Data{Seq: seq, Payload: []byte(payload), Dup: true})
	})
}

func (p *peer) ask(seqs ...uint64) {
	p.do(func(s *protocol.Session) {
		for _, seq := range seqs {
			if err := s.Ask(time.Now(), seq); err != nil {
				p.g.t.Errorf("ask %d: %v", seq, err)
			}
		}
	})
}

func (p *peer) sendEphemeral(seq uint64, payload string) {
	p.do(func(s *protocol.Session) {
		_ = s.Send(time.Now(), protocol.Data{Seq: seq, Payload: []byte(payload), Ephemeral: true})
	})
}

func (p *peer) ack(seq uint64, code protocol.AckCode, result string) {
	p.do(func(s *protocol.Session) { _ = s.AckData(time.Now(), seq, code, []byte(result)) })
}

func (p *peer) close(code protocol.CloseCode, retry time.Duration) {
	p.do(func(s *protocol.Session) { s.Close(protocol.Close{Code: code, RetryAfter: retry}) })
}

// lose cuts the connection without a word.
func (p *peer) lose() { p.conn.Close() }

// want waits until all goroutines are idle and compares the events since the last
// call: "data 1 up", "ack 7 ok result", "ack e7 reject".
func (p *peer) want(lines ...string) {
	p.g.t.Helper()
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	var got []string
	for _, e := range p.events {
		line := e.Kind.String()
		if e.Kind != protocol.KindData {
			e := map[bool]string{true: "e"}[e.Ephemeral] + fmt.Sprint(e.Seq) + " " + e.Code.String()
			line += " " + e
		}
		got = append(got, strings.TrimSpace(line+" "+string(e.Payload)))
	}
	p.events = nil
	if !slices.Equal(got, lines) {
		p.g.t.Fatalf("the gateway saw %q, want %q", got, lines)
	}
}

// lastData returns the number of the last uplink.
func (p *peer) lastData() (seq uint64, dup bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.events {
		if e.Kind == protocol.KindData {
			seq, dup = e.Seq, e.Dup
		}
	}
	return seq, dup
}

// run starts a client against the gateway in a bubble of virtual time; it ends
// with the test.
func run(t *testing.T, cfg Config, test func(t *testing.T, g *gateway, c *Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		c := newClient(t, g, cfg)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- c.Run(ctx) }()
		test(t, g, c)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Run returned %v, want context.Canceled", err)
		}
		time.Sleep(time.Second) // virtual: the gateway's goroutines end
	})
}

func newClient(t *testing.T, g *gateway, cfg Config) *Client {
	t.Helper()
	cfg.ID, cfg.Dial, cfg.Logger = "d", g.dial, slog.New(slog.DiscardHandler)
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// calls is a handler that notes its calls and follows the payload.
type calls struct {
	mu   sync.Mutex
	list []string
	gate map[string]chan struct{} // payloads that wait
}

func (h *calls) handle(ctx context.Context, m Message) ([]byte, error) {
	h.mu.Lock()
	h.list = append(h.list, string(m.Payload))
	gate := h.gate[string(m.Payload)]
	h.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	switch word, _, _ := strings.Cut(string(m.Payload), " "); word {
	case "refuse":
		return nil, errors.New("jammed")
	case "later":
		return nil, fmt.Errorf("busy: %w", Retry)
	case "panic":
		panic("oops")
	}
	return []byte("did " + string(m.Payload)), nil
}

// block makes deliveries with this payload wait until its gate is closed.
func (h *calls) block(payload string) {
	h.gate = map[string]chan struct{}{payload: make(chan struct{})}
}

func (h *calls) want(t *testing.T, list ...string) {
	t.Helper()
	synctest.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.Equal(h.list, list) {
		t.Fatalf("handled %q, want %q", h.list, list)
	}
}
