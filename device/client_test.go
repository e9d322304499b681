package device

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/protocol"
)

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
		p.want("ack 5 working")
		close(h.gate["slow"])
		p.want("ack 5 ok did slow") // and nothing of the ephemeral one
		h.want(t, "slow", "now")
	})
}

func TestAskThroughIsTheHighestAnswered(t *testing.T) {
	h := new(calls)
	run(t, Config{Handler: h.handle, Workers: 4}, func(t *testing.T, g *gateway, c *Client) {
		h.block("slow")
		reconnect := func(p *peer, wantLog string, want uint64) *peer {
			t.Helper()
			p.lose()
			p = <-g.conns
			if r := p.register; !r.Asks || r.AskThrough != want || r.Log != wantLog {
				t.Fatalf("registered with ask_through %d of %q (asks %v), want %d of %q", r.AskThrough, r.Log, r.Asks, want, wantLog)
			}
			return p
		}
		p := <-g.conns
		if r := p.register; !r.Asks || r.AskThrough != 0 || r.Log != "" {
			t.Fatalf("first registration: %+v", r)
		}
		p.send(10, "a")
		p.want("ack 10 ok did a")
		p.send(12, "slow")
		p.send(15, "b")
		p.want("ack 15 ok did b")
		p = reconnect(p, "log_1", 15)
		p.ask(10, 12, 15)
		p.want("ack 10 ok did a", "ack 12 working", "ack 15 ok did b")
		close(h.gate["slow"])
		p.want("ack 12 ok did slow")
		p.send(20, "later")
		p.want("ack 20 retry")
		p = reconnect(p, "log_1", 20)
		p.ask(20)
		p.want("ack 20 send")
		p.repeat(20, "later")
		p.want("ack 20 retry")
		p.send(21, "c")
		p.want("ack 21 ok did c")
		p = reconnect(p, "log_1", 21)
		p.ask(20, 21)
		p.want("ack 20 send", "ack 21 ok did c")
		p.repeat(20, "fine now")
		p.want("ack 20 ok did fine now")
	})
}

// A verdict is answered again when the connection is lost before the gateway
// has it, and by the next process too; the handler is not called again.
func TestSameVerdictWhenAsked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	h := new(calls)
	cfg := func() Config { return Config{Handler: h.handle, State: &FileState{Path: path}} }
	run(t, cfg(), func(t *testing.T, g *gateway, c *Client) {
		h.block("refuse slowly")
		p := <-g.conns
		p.send(1, "refuse")
		p.send(2, "answer")
		p.want("ack 1 reject jammed", "ack 2 ok did answer")
		p.send(3, "refuse slowly")
		h.want(t, "refuse", "answer", "refuse slowly")
		p.lose() // before the answer leaves
		close(h.gate["refuse slowly"])
		synctest.Wait()
		p = <-g.conns
		p.ask(1, 2, 3)
		p.want("ack 1 reject jammed", "ack 2 ok did answer", "ack 3 reject jammed")
	})
	run(t, cfg(), func(t *testing.T, g *gateway, c *Client) {
		p := <-g.conns
		if p.register.AskThrough != 3 {
			t.Errorf("the next process registered with ask_through %d, want 3", p.register.AskThrough)
		}
		p.ask(1, 2, 3, 4)
		p.want("ack 1 reject jammed", "ack 2 ok did answer", "ack 3 reject jammed", "ack 4 send")
		p.repeat(2, "answer")
		p.repeat(4, "new")
		p.want("ack 2 ok did answer", "ack 4 ok did new")
		h.want(t, "refuse", "answer", "refuse slowly", "new")
	})
}

// What waits, or is under way, is still handled after any number of later
// deliveries.
func TestWaitingDeliveryIsHandledAfterManyOthers(t *testing.T) {
	for _, later := range []uint64{512, 10_000} {
		h := new(calls)
		run(t, Config{Handler: h.handle, Workers: 2}, func(t *testing.T, g *gateway, c *Client) {
			h.block("slow")
			p := <-g.conns
			p.send(1, "later")
			p.send(2, "slow")
			p.want("ack 1 retry")
			for seq := uint64(3); seq < 3+later; seq++ {
				p.send(seq, "refuse")
				p.want(fmt.Sprintf("ack %d reject jammed", seq))
			}
			p.lose()
			p = <-g.conns
			p.ask(1, 2)
			p.want("ack 1 send", "ack 2 working")
			close(h.gate["slow"])
			p.want("ack 2 ok did slow")
			p.repeat(1, "now")
			p.want("ack 1 ok did now")
		})
	}
}

func TestAnotherLogVoidsTheLedger(t *testing.T) {
	h := new(calls)
	state := new(MemoryState)
	run(t, Config{Handler: h.handle, State: state}, func(t *testing.T, g *gateway, c *Client) {
		p := <-g.conns
		p.send(10, "a")
		p.want("ack 10 ok did a")
		g.accept.Log = "log_2"
		p.lose()
		p = <-g.conns
		synctest.Wait()
		if got, _ := state.Load(); got.Log != "log_2" || got.AskThrough != 0 || len(got.Verdicts) > 0 {
			t.Errorf("state before the first delivery: %+v", got)
		}
		p.send(9, "new nine")
		p.want("ack 9 ok did new nine")
		h.want(t, "a", "new nine")
		if got, _ := state.Load(); got.Log != "log_2" || got.AskThrough != 9 {
			t.Errorf("state %+v", got)
		}
		g.forget = true // the log is the same, and yet it is not resumed
		p.lose()
		p = <-g.conns
		p.send(9, "another nine")
		p.want("ack 9 ok did another nine")
	})
}

// The state of another device, as in a copied image, would answer ok for deliveries that
// this one has never got.
func TestTheStateBelongsToOneDevice(t *testing.T) {
	states := map[string]func() State{
		"memory": func() State { return new(MemoryState) },
		"file":   func() State { return &FileState{Path: filepath.Join(t.TempDir(), "state")} },
	}
	for name, open := range states {
		state := open()
		run(t, Config{Handler: new(calls).handle, State: state}, func(t *testing.T, g *gateway, c *Client) {
			p := <-g.conns
			p.send(10, "a")
			p.want("ack 10 ok did a")
			g.accept.Log = "log_2"
			p.lose()
			p = <-g.conns
			p.send(11, "b")
			p.want("ack 11 ok did b")
			if _, err := New(Config{Addr: "a", ID: c.cfg.ID, State: state}); err != nil {
				t.Errorf("%s: its own state: %v", name, err)
			}
			if _, err := New(Config{Addr: "a", ID: c.cfg.ID + "2", State: state}); err == nil {
				t.Errorf("%s: the state of another device is taken", name)
			}
		})
	}
	old := new(MemoryState)
	old.Save(Change{Saved: Saved{Log: "log_1", AskThrough: 7}})
	if _, err := New(Config{Addr: "a", ID: "d", State: old}); err != nil {
		t.Errorf("a state without an id: %v", err)
	}
}

// A gateway that does not ask sends all again, and gets only the codes that it
// knows.
func TestWithoutAgreement(t *testing.T) {
	h := new(calls)
	run(t, Config{Handler: h.handle, Workers: 2}, func(t *testing.T, g *gateway, c *Client) {
		h.block("slow")
		p := <-g.conns
		p.send(1, "slow")
		p.send(2, "refuse")
		p.want("ack 2 reject jammed")
		g.accept.Ask = false
		p.lose()
		p = <-g.conns
		p.repeat(1, "slow")
		p.repeat(2, "refuse")
		p.want("ack 2 reject jammed")
		time.Sleep(time.Minute)
		p.want()
		close(h.gate["slow"])
		p.want("ack 1 ok did slow")
	})
}

// The gateway gets an AckWorking for a slow handler before its ack timeout.
func TestSlowHandlerSaysThatItWorks(t *testing.T) {
	var report chan string
	cfg := Config{Handler: func(ctx context.Context, m Message) ([]byte, error) {
		for note := range report {
			Progress(ctx, note)
		}
		return nil, nil
	}}
	run(t, cfg, func(t *testing.T, g *gateway, c *Client) {
		report = make(chan string)
		p := <-g.conns
		p.send(1, "slow")
		time.Sleep(25 * time.Second)
		p.want("ack 1 working")
		report <- "a third"
		report <- "two thirds"
		time.Sleep(progressEvery)
		p.want("ack 1 working two thirds")
		report <- strings.Repeat("x", maxNote) + "end"
		time.Sleep(progressEvery)
		p.want("ack 1 working " + strings.Repeat("x", maxNote-3) + "end")
		close(report)
		p.want("ack 1 ok")
		time.Sleep(time.Minute)
		p.want()
	})
	Progress(context.Background(), "of no delivery")
}

// More deliveries wait than a window holds: some have ended. A new connection
// shows which.
func TestReconnectsWhenTooManyWait(t *testing.T) {
	h := new(calls)
	run(t, Config{Handler: h.handle}, func(t *testing.T, g *gateway, c *Client) {
		p := <-g.conns
		for seq := uint64(1); seq <= maxHoles+1; seq++ {
			p.send(seq, "later")
			synctest.Wait()
		}
		p = <-g.conns
		p.send(7, "not final") // one that the gateway asks for comes first
		p.want("ack 7 ok did not final")
		p.send(maxHoles+2, "new")
		p.want(fmt.Sprintf("ack %d ok did new", maxHoles+2))
	})
}

func TestStateSurvivesTheProcess(t *testing.T) {
	state := &FileState{Path: filepath.Join(t.TempDir(), "valve.state")}
	h := new(calls)
	for process := range 2 {
		run(t, Config{Handler: h.handle, State: state}, func(t *testing.T, g *gateway, c *Client) {
			p := <-g.conns
			if want := uint64(process * 10); p.register.AskThrough != want {
				t.Errorf("process %d registered with ask_through %d, want %d", process, p.register.AskThrough, want)
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

// The time before a registration is none of a settled one.
func TestASlowStartDoesNotEndTheBackoff(t *testing.T) {
	var waits []time.Duration
	cfg := Config{Backoff: Backoff{Min: time.Millisecond, Max: time.Hour},
		TokenSource:  func(context.Context) (string, error) { time.Sleep(settledAfter); return "", nil },
		OnDisconnect: func(_ protocol.Close, retry time.Duration) { waits = append(waits, retry) }}
	run(t, cfg, func(t *testing.T, g *gateway, c *Client) {
		for range 12 {
			p := <-g.conns
			p.lose()
		}
		<-g.conns
		if longest := slices.Max(waits); longest <= time.Millisecond {
			t.Errorf("after 12 short registrations in a row the longest wait was %v", longest)
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

// A proxy, or the portal of a network, that answers in another protocol for a while does
// not keep the device away for good.
func TestComesBackAfterAFaultOfTheOtherEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		g.garble = []string{"HTTP/1.1 503 Service Unavailable\r\n\r\n", "\x02\x02\x02[]", "\x03\x02\x00"}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- newClient(t, g, Config{}).Run(ctx) }()
		select {
		case <-g.conns:
		case err := <-ended:
			t.Errorf("Run returned %v", err)
			ended <- err
		}
		cancel()
		<-ended
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

// A token that ends is replaced on the next connection; when there is none, the
// gateway is not bothered.
func TestTokenSourceIsAskedForEachConnection(t *testing.T) {
	asked := 0
	cfg := Config{Token: "unused", TokenSource: func(context.Context) (string, error) {
		if asked++; asked == 2 {
			return "", errors.New("the issuer is away")
		}
		return fmt.Sprint("token-", asked), nil
	}}
	run(t, cfg, func(t *testing.T, g *gateway, c *Client) {
		p := <-g.conns
		synctest.Wait()
		if p.register.Token != "token-1" {
			t.Errorf("got %q, want token-1", p.register.Token)
		}
		p.close(protocol.CloseCredentialsExpired, 0)
		p = <-g.conns
		synctest.Wait()
		if p.register.Token != "token-3" {
			t.Errorf("got %q, want token-3", p.register.Token)
		}
	})
}

// A delivery for which there is no room is asked for again, and then handled.
func TestTooManyDeliveriesAreAskedForAgain(t *testing.T) {
	h := new(calls)
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t, newGateway(t), Config{Handler: h.handle})
		l := newLink(c, nil, "") // no worker runs yet
		for seq := range uint64(maxJobs + 1) {
			l.deliver(protocol.Event{Kind: protocol.KindData, Seq: seq + 1, Payload: []byte("x")})
		}
		if len(c.answers) != 1 || c.answers[0].Seq != maxJobs+1 || c.answers[0].Code != protocol.AckRetry {
			t.Fatalf("answers %+v, want one: retry %d", c.answers, maxJobs+1)
		}
		<-c.jobs
		l.deliver(protocol.Event{Kind: protocol.KindData, Seq: maxJobs + 1, Payload: []byte("x")})
		if len(c.answers) != 1 || len(c.jobs) != maxJobs {
			t.Errorf("%d answers, %d jobs: the repeat was not taken", len(c.answers), len(c.jobs))
		}
	})
}

// steps are the steps of a device as lines.
type steps struct {
	mu    sync.Mutex
	lines []string
	first uint64 // number of the first uplink
}

func (s *steps) trace(st Step) {
	s.mu.Lock()
	defer s.mu.Unlock()
	number := fmt.Sprint(st.Seq)
	if st.Kind == protocol.KindData && st.Sent && s.first == 0 {
		s.first = st.Seq
	}
	if s.first > 0 && st.Seq >= s.first {
		number = fmt.Sprintf("up%d", st.Seq-s.first+1)
	}
	line := st.Kind.String()
	switch st.Kind {
	case protocol.KindData, protocol.KindAsk, protocol.KindAck:
		line += " " + number
	case protocol.KindSent:
		return
	}
	if st.Kind == protocol.KindAck {
		line += " " + st.Code.String()
	}
	if len(st.Payload) > 0 {
		line += " " + string(st.Payload[:min(len(st.Payload), 10)])
	}
	for _, w := range []struct {
		word string
		set  bool
	}{{"sent", st.Sent}, {"known", st.Known}, {"asked", st.Ask}, {"too large", errors.Is(st.Err, protocol.ErrTooLarge)}} {
		if w.set {
			line += " " + w.word
		}
	}
	if st.Wait > 0 {
		line += " wait " + st.Wait.String()
	}
	s.lines = append(s.lines, line)
}

func (s *steps) want(t *testing.T, lines ...string) {
	t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.lines, lines) {
		t.Errorf("traced %q, want %q", s.lines, lines)
	}
	s.lines = nil
}

func TestTrace(t *testing.T) {
	st, h := new(steps), new(calls)
	run(t, Config{Handler: h.handle, Trace: st.trace}, func(t *testing.T, g *gateway, c *Client) {
		p := <-g.conns
		st.want(t, "registered")
		p.send(1, "a")
		st.want(t, "data 1 a", "ack 1 ok did a sent")
		p.repeat(1, "a")
		st.want(t, "data 1 a known", "ack 1 ok did a sent")
		if err := c.Post([]byte("one")); err != nil {
			t.Fatal(err)
		}
		st.want(t, "data up1 one sent")
		seq, _ := p.lastData()
		p.ack(seq, protocol.AckRetry, "")
		st.want(t, "ack up1 retry wait 1s")
		time.Sleep(time.Second)
		st.want(t, "data up1 one sent")
		p.ack(seq, protocol.AckOK, "")
		st.want(t, "ack up1 ok")
		_ = c.Post([]byte(strings.Repeat("x", 1<<20)))
		st.want(t, "data up2 xxxxxxxxxx sent too large")
		p.lose()
		p = <-g.conns
		st.want(t, "closed", "registered")
		p.ask(1)
		st.want(t, "ask 1", "ack 1 ok did a sent asked")
	})
}

// A mute device answers nothing, and its deliveries are new on the next connection.
func TestMute(t *testing.T) {
	st, h := new(steps), new(calls)
	run(t, Config{Handler: h.handle, Trace: st.trace, Mute: true}, func(t *testing.T, g *gateway, c *Client) {
		p := <-g.conns
		p.send(1, "a")
		p.repeat(1, "a")
		time.Sleep(time.Minute)
		p.want()
		h.want(t)
		st.want(t, "registered", "data 1 a", "data 1 a")
		p.lose()
		p = <-g.conns
		if p.register.AskThrough != 0 {
			t.Errorf("ask_through is %d, want 0", p.register.AskThrough)
		}
	})
}

// A Handler can leave the answer to the program.
func TestAnswerLater(t *testing.T) {
	came := make(chan Message, 4)
	run(t, Config{Handler: func(_ context.Context, m Message) ([]byte, error) {
		came <- m
		return nil, fmt.Errorf("a person answers: %w", Later)
	}}, func(t *testing.T, g *gateway, c *Client) {
		p := <-g.conns
		p.send(1, "a")
		p.send(2, "b")
		p.sendEphemeral(1, "now")
		a, b, now := <-came, <-came, <-came
		p.want()
		p.repeat(1, "a")
		p.want("ack 1 working")
		c.Answer(b, nil, errors.New("jammed"))
		c.Answer(now, []byte("done"), nil)
		p.want("ack 2 reject jammed", "ack e1 ok done")
		p.lose()
		p = <-g.conns
		c.Answer(a, []byte("done"), nil)
		p.want()
		p.ask(1)
		p.want("ack 1 ok done")
	})
}

// A v1 device that ends sends the answer that waits for its turn on the wire.
func TestV1SendsItsLastAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGateway(t)
		ctx, cancel := context.WithCancel(t.Context())
		handled := make(chan struct{})
		c := newClient(t, g, Config{Dialect: protocol.V1, Handler: func(context.Context, Message) ([]byte, error) {
			close(handled)
			return nil, nil
		}})
		ended := make(chan error)
		go func() { ended <- c.Run(ctx) }()
		p := <-g.conns
		_ = c.Post([]byte("up")) // the answer follows it after the gap
		p.send(1, "a")
		<-handled
		synctest.Wait()
		cancel()
		<-ended
		p.want("data up", "ack 1 ok")
		time.Sleep(time.Second) // virtual: the gateway's goroutines end
	})
}
