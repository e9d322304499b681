package device

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
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
	accept protocol.Registered // what clients are told
	refuse protocol.CloseCode  // if not 0
	conns  chan *peer
}

func newGateway(t *testing.T) *gateway {
	return &gateway{t: t, accept: protocol.Registered{Session: "ses_1", Log: "log_1"}, conns: make(chan *peer, 10)}
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
				s.EOF(time.Now())
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

// do calls f with the session and handles what comes of it.
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
			p.s.Accept(time.Now(), p.g.accept)
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

func (p *peer) sendEphemeral(seq uint64, payload string) {
	p.do(func(s *protocol.Session) {
		_ = s.Send(time.Now(), protocol.Data{Seq: seq, Payload: []byte(payload), Ephemeral: true})
	})
}

func (p *peer) ack(seq uint64, code protocol.AckCode, result string) {
	p.do(func(s *protocol.Session) { _ = s.AckData(time.Now(), seq, code, []byte(result)) })
}

func (p *peer) close(code protocol.CloseCode, retry time.Duration) {
	p.do(func(s *protocol.Session) { s.Close(time.Now(), protocol.Close{Code: code, RetryAfter: retry}) })
}

// lose cuts the connection without a word.
func (p *peer) lose() { p.conn.Close() }

// want waits until nothing moves and compares what has come since the last
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

// calls is a handler that notes its calls and does what the payload says.
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

func TestVerdicts(t *testing.T) {
	for _, dialect := range []protocol.Dialect{protocol.V2, protocol.Text} {
		h := new(calls)
		run(t, Config{Handler: h.handle, Dialect: dialect}, func(t *testing.T, g *gateway, c *Client) {
			p := <-g.conns
			p.send(1, "a")
			p.want("ack 1 ok did a")
			p.send(2, "refuse")
			p.want("ack 2 reject jammed")
			p.send(3, "later")
			p.want("ack 3 retry")
			p.send(4, "panic")
			p.want("ack 4 reject handler panicked")
			p.sendEphemeral(1, "now")
			p.want("ack e1 ok did now")
			p.send(3, "later")
			p.want("ack 3 retry")
			h.want(t, "a", "refuse", "later", "panic", "now", "later")
		})
	}
}

func TestV1DeliveryAndUplink(t *testing.T) {
	h := new(calls)
	run(t, Config{Handler: h.handle, Dialect: protocol.V1}, func(t *testing.T, g *gateway, c *Client) {
		p := <-g.conns
		p.send(7, "a")
		time.Sleep(time.Second)
		p.want("ack 7 ok")
		sent := make(chan error, 2)
		for _, payload := range []string{"up", "up too"} {
			go func() { sent <- c.Send(t.Context(), []byte(payload)) }()
			time.Sleep(time.Second)
			p.want("data " + payload)
			p.ack(0, protocol.AckOK, "")
			if err := <-sent; err != nil {
				t.Errorf("Send: %v", err)
			}
		}
		h.want(t, "a")
	})
}

func TestIdleClientStaysConnected(t *testing.T) {
	for _, dialect := range []protocol.Dialect{protocol.V1, protocol.V2, protocol.Text} {
		run(t, Config{Dialect: dialect}, func(t *testing.T, g *gateway, c *Client) {
			p := <-g.conns
			time.Sleep(10 * time.Minute)
			p.send(1, "x")
			time.Sleep(time.Second)
			p.want("ack 1 ok")
		})
	}
}

func TestRepeatIsAckedAgainNotHandledAgain(t *testing.T) {
	for _, dialect := range []protocol.Dialect{protocol.V2, protocol.Text} {
		h := new(calls)
		run(t, Config{Handler: h.handle, Dialect: dialect}, func(t *testing.T, g *gateway, c *Client) {
			p := <-g.conns
			p.send(5, "a")
			p.send(6, "refuse")
			p.want("ack 5 ok did a", "ack 6 reject jammed")
			p.lose()
			p = <-g.conns
			p.send(5, "a")
			p.send(6, "refuse")
			p.send(7, "b")
			p.want("ack 5 ok did a", "ack 6 reject jammed", "ack 7 ok did b")
			h.want(t, "a", "refuse", "b")
		})
	}
}

// Text does not name its log: after a restore the same sequence may be another
// message, and must be handled.
func TestTextTellsMessagesApartByPayload(t *testing.T) {
	h := new(calls)
	run(t, Config{Handler: h.handle, Dialect: protocol.Text}, func(t *testing.T, g *gateway, c *Client) {
		p := <-g.conns
		p.send(5, "a")
		p.want("ack 5 ok did a")
		p.lose()
		p = <-g.conns
		p.send(5, "another")
		p.send(4, "older number")
		p.want("ack 5 ok did another", "ack 4 ok did older number")
		h.want(t, "a", "another", "older number")
	})
}

// A handler that is still at work when the connection is lost answers on the
// next one.
func TestAnswerOnTheNextConnection(t *testing.T) {
	h := new(calls)
	run(t, Config{Handler: h.handle}, func(t *testing.T, g *gateway, c *Client) {
		h.block("slow")
		p := <-g.conns
		p.send(5, "slow")
		p.sendEphemeral(1, "now")
		synctest.Wait()
		p.lose()
		p = <-g.conns
		p.send(5, "slow")
		p.want()
		close(h.gate["slow"])
		p.want("ack 5 ok did slow") // and nothing of the ephemeral one
		h.want(t, "slow", "now")
	})
}

func TestLastSeqMovesOverAnUnbrokenRunOnly(t *testing.T) {
	h := new(calls)
	run(t, Config{Handler: h.handle, Workers: 4}, func(t *testing.T, g *gateway, c *Client) {
		h.block("slow")
		reconnect := func(p *peer, wantLog string, want uint64) *peer {
			t.Helper()
			p.lose()
			p = <-g.conns
			if p.register.LastSeq != want || p.register.Log != wantLog {
				t.Fatalf("registered with last_seq %d of %q, want %d of %q", p.register.LastSeq, p.register.Log, want, wantLog)
			}
			return p
		}
		p := <-g.conns
		if p.register.LastSeq != 0 || p.register.Log != "" {
			t.Fatalf("first registration: %+v", p.register)
		}
		p.send(10, "a")
		p.want("ack 10 ok did a")
		p.send(12, "slow")
		p.send(15, "b")
		p.want("ack 15 ok did b")
		p = reconnect(p, "log_1", 10)
		close(h.gate["slow"])
		synctest.Wait()
		p = reconnect(p, "log_1", 15)
		p.send(20, "later")
		p.want("ack 20 retry")
		p.send(21, "c")
		p.want("ack 21 ok did c")
		p = reconnect(p, "log_1", 15)
		p.send(20, "fine now")
		p.want("ack 20 ok did fine now")
		reconnect(p, "log_1", 21)
	})
}

func TestAnotherLogVoidsLastSeq(t *testing.T) {
	h := new(calls)
	state := new(MemoryState)
	run(t, Config{Handler: h.handle, State: state}, func(t *testing.T, g *gateway, c *Client) {
		p := <-g.conns
		p.send(10, "a")
		p.want("ack 10 ok did a")
		g.accept.Log = "log_2"
		p.lose()
		p = <-g.conns
		p.send(9, "new nine")
		p.want("ack 9 ok did new nine")
		h.want(t, "a", "new nine")
		if got, _ := state.Load(); got != (Position{"log_2", 9}) {
			t.Errorf("state %+v", got)
		}
	})
}

func TestStateSurvivesTheProcess(t *testing.T) {
	state := FileState{filepath.Join(t.TempDir(), "state.json")}
	h := new(calls)
	for process := range 2 {
		run(t, Config{Handler: h.handle, State: state}, func(t *testing.T, g *gateway, c *Client) {
			p := <-g.conns
			if want := uint64(process * 10); p.register.LastSeq != want {
				t.Errorf("process %d registered with last_seq %d, want %d", process, p.register.LastSeq, want)
			}
			p.send(10, "a")
			synctest.Wait()
			for _, e := range p.events {
				if e.Kind != protocol.KindAck || e.Seq != 10 || e.Code != protocol.AckOK {
					t.Errorf("process %d: got %+v", process, e)
				}
			}
		})
	}
	if !slices.Equal(h.list, []string{"a"}) {
		t.Errorf("handled %q, want once", h.list)
	}
}

func TestSend(t *testing.T) {
	for _, dialect := range []protocol.Dialect{protocol.V2, protocol.Text} {
		run(t, Config{Dialect: dialect}, func(t *testing.T, g *gateway, c *Client) {
			p := <-g.conns
			sent := make(chan error, 1)
			send := func(payload string) { go func() { sent <- c.Send(t.Context(), []byte(payload)) }(); synctest.Wait() }
			send("one")
			seq, _ := p.lastData()
			p.want("data one")
			if len(sent) != 0 {
				t.Fatal("Send returned before the ack")
			}
			p.ack(seq, protocol.AckOK, "")
			if err := <-sent; err != nil {
				t.Fatal(err)
			}

			send("two") // lost on the way, sent again on the next connection
			first, _ := p.lastData()
			p.lose()
			p = <-g.conns
			synctest.Wait()
			second, dup := p.lastData()
			if second != first || first <= seq || dup != (dialect == protocol.V2) {
				t.Errorf("after %d: sent as %d, again as %d (dup %v)", seq, first, second, dup)
			}
			p.want("data two")
			p.ack(second, protocol.AckRetry, "")
			time.Sleep(uplinkPause)
			p.want("data two")
			p.ack(second, protocol.AckReject, "not you")
			if err := <-sent; err == nil || err.Error() != "device: uplink rejected: not you" {
				t.Errorf("got %v", err)
			}

			if err := c.Send(t.Context(), make([]byte, 300<<10)); !errors.Is(err, protocol.ErrTooLarge) {
				t.Errorf("300 KiB: %v", err)
			}
		})
	}
}

func TestSendGivesUpWithItsContext(t *testing.T) {
	run(t, Config{Window: 1}, func(t *testing.T, g *gateway, c *Client) {
		p := <-g.conns
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Send(ctx, []byte("one")); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v", err)
		}
		sent := make(chan error, 1)
		go func() { sent <- c.Send(t.Context(), []byte("two")) }() // finds the window free again
		synctest.Wait()
		seq, _ := p.lastData()
		p.want("data one", "data two")
		p.ack(seq, protocol.AckOK, "")
		if err := <-sent; err != nil {
			t.Error(err)
		}
		p.lose()
		p = <-g.conns
		p.want() // nothing is left to be sent again
	})
}

func TestSendQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, newGateway(t), Config{})
		ctx, cancel := context.WithCancel(t.Context())
		for range maxUplinks {
			go c.Send(ctx, nil)
		}
		synctest.Wait()
		if err := c.Send(ctx, nil); !errors.Is(err, ErrQueueFull) {
			t.Errorf("got %v, want ErrQueueFull", err)
		}
		cancel()
		synctest.Wait()
		if n := len(c.uplinks); n != 0 {
			t.Errorf("%d uplinks left behind", n)
		}
	})
}

func TestBackoffObeysTheGateway(t *testing.T) {
	var waits []time.Duration
	cfg := Config{Backoff: Backoff{Min: time.Second, Max: 4 * time.Second},
		OnDisconnect: func(_ protocol.Close, retry time.Duration) { waits = append(waits, retry) }}
	run(t, cfg, func(t *testing.T, g *gateway, c *Client) {
		p := <-g.conns
		p.close(protocol.CloseOverloaded, 30*time.Second)
		began := time.Now()
		p = <-g.conns
		if waited := time.Since(began); waited < 30*time.Second || waited > 31*time.Second {
			t.Errorf("came back after %v, want 30 s to 31 s", waited)
		}
		for range 4 {
			p.lose()
			p = <-g.conns
		}
		for i, ceiling := range []time.Duration{31, 2, 4, 4, 4} {
			if waits[i] > ceiling*time.Second {
				t.Errorf("wait %d was %v, at most %d s", i, waits[i], ceiling)
			}
		}
		time.Sleep(settledAfter)
		p.lose()
		<-g.conns
		if last := waits[len(waits)-1]; last > time.Second {
			t.Errorf("after a long session the wait was %v, at most 1 s", last)
		}
	})
}

func TestFullJitter(t *testing.T) {
	b := Backoff{Min: time.Second, Max: 8 * time.Second}
	var low, high bool
	for range 1000 {
		w := b.wait(100, 0)
		if w < 0 || w >= 8*time.Second {
			t.Fatalf("waited %v, want below 8 s", w)
		}
		low, high = low || w < 2*time.Second, high || w > 6*time.Second
	}
	if !low || !high {
		t.Error("the waits are not spread over the whole range")
	}
}

func TestSomeCodesAreFinal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		g.refuse = protocol.CloseUnauthorized
		err := newClient(t, g, Config{}).Run(t.Context())
		var closed *ClosedError
		if !errors.As(err, &closed) || closed.Close.Code != protocol.CloseUnauthorized || !closed.Close.Remote {
			t.Errorf("got %v", err)
		}
		c, _ := New(Config{ID: "no spaces", Dial: g.dial, Logger: slog.New(slog.DiscardHandler)})
		if err := c.Run(t.Context()); !errors.As(err, &closed) || closed.Close.Reason != protocol.ReasonBadClientID {
			t.Errorf("bad id: got %v", err)
		}
		time.Sleep(time.Second) // virtual: the gateway's goroutines end
	})
}

// When Run ends while a handler works, the handler's context ends, and the
// delivery is not acked.
func TestRunWaitsForItsHandlers(t *testing.T) {
	h := new(calls)
	var last *peer
	run(t, Config{Handler: h.handle}, func(t *testing.T, g *gateway, c *Client) {
		h.block("slow")
		last = <-g.conns
		last.send(1, "slow")
		last.send(2, "queued")
		h.want(t, "slow")
	})
	if len(last.events) != 0 {
		t.Errorf("the gateway saw %+v", last.events)
	}
}

func TestConnectHooks(t *testing.T) {
	var log []string
	cfg := Config{OnConnect: func(r protocol.Registered) { log = append(log, "connected "+r.Session) },
		OnDisconnect: func(why protocol.Close, _ time.Duration) { log = append(log, "lost "+why.Reason) }}
	run(t, cfg, func(t *testing.T, g *gateway, c *Client) {
		p := <-g.conns
		synctest.Wait()
		p.close(protocol.CloseShutdown, 0)
		<-g.conns
		synctest.Wait()
		if want := []string{"connected ses_1", "lost shutdown", "connected ses_1"}; !slices.Equal(log, want) {
			t.Errorf("got %q, want %q", log, want)
		}
	})
}
