package gateway_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
)

// asked is a client "a" that has lost its connection with deliveries 1 to n
// unacked, and is back with another one on which it wants to be asked.
type asked struct {
	*gatewaytest.Link
	t        *testing.T
	g        *gateway.Gateway
	messages []gateway.Message
}

func askedThrough(t *testing.T, g *gateway.Gateway, n int, through gateway.Seq, window int) *asked {
	t.Helper()
	a := &asked{t: t, g: g}
	l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: gatewaytest.FlushOnly})
	for i := range n {
		a.messages = append(a.messages, push(t, g, "a", fmt.Sprint(i+1)))
	}
	synctest.Wait()
	l.Disconnect(gateway.ReasonConnectionLost)
	a.back(through, window)
	return a
}

// back connects the client, which flushes and answers nothing.
func (a *asked) back(through gateway.Seq, window int) {
	a.t.Helper()
	a.Link = gatewaytest.Connect(a.t, a.g, "a", gatewaytest.Options{Window: window, React: gatewaytest.FlushOnly,
		Hello: gateway.Hello{Log: a.g.Log(), Asks: true, AskThrough: through}})
	synctest.Wait()
}

func (a *asked) answer(seq gateway.Seq, code gateway.AckCode, result string) {
	a.Ack(gateway.Transmission{Seq: seq}, code, []byte(result))
	synctest.Wait()
}

func (a *asked) timeout(seq gateway.Seq) {
	a.Session.AckTimeout(seq, false)
	synctest.Wait()
}

func (a *asked) got(want ...string) {
	a.t.Helper()
	wantTexts(a.t, a.Link, want...)
}

// state waits until the settled state is visible.
func (a *asked) state(i int, want gateway.State, attempts int) gateway.Delivery {
	a.t.Helper()
	time.Sleep(100 * time.Millisecond)
	return wantState(a.t, a.g, a.messages[i-1], want, attempts)
}

func TestADeviceIsAskedForWhatItHandledAndSentTheRest(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		a := askedThrough(t, g, 3, 2, 16)
		if !a.Welcome.Ask || a.Welcome.Time.IsZero() {
			t.Errorf("the welcome is %+v", a.Welcome)
		}
		for _, p := range a.Transmissions() {
			if !p.Ask || !p.Dup || p.Payload != nil {
				t.Errorf("%+v, want a question without a payload", p)
			}
		}
		a.got("? 1", "? 2")
		a.state(1, gateway.Queued, 1) // a question transmits nothing
		a.answer(1, gateway.AckOK, "locked")
		a.got("? 1", "? 2")
		a.answer(2, gateway.AckReject, "door open")
		a.got("? 1", "? 2", "3 again")
		a.answer(3, gateway.AckOK, "")
		if d := a.state(1, gateway.Acked, 1); string(d.Result) != "locked" || d.Reason != "" || d.SentAt.IsZero() {
			t.Errorf("acked with %q, reason %q, sent at %v", d.Result, d.Reason, d.SentAt)
		}
		if d := a.state(2, gateway.Rejected, 1); string(d.Result) != "door open" {
			t.Errorf("rejected with %q", d.Result)
		}
		a.state(3, gateway.Acked, 2)
		if st := g.Stats(); st.Asks != 2 || st.AskAnswers["ok"] != 1 || st.AskAnswers["reject"] != 1 || st.Redelivered != 1 {
			t.Errorf("counted: %d asks, answers %v, %d repeats", st.Asks, st.AskAnswers, st.Redelivered)
		}
	})
}

func TestNoFirstTransmissionLeavesWhileAnAskIsUnanswered(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		a := askedThrough(t, g, 5, 5, 2)
		push(t, g, "a", "new")
		synctest.Wait()
		a.got("? 1", "? 2") // the window
		a.answer(2, gateway.AckOK, "")
		a.got("? 1", "? 2", "? 3")
		a.answer(1, gateway.AckOK, "")
		a.answer(3, gateway.AckOK, "")
		a.got("? 1", "? 2", "? 3", "? 4", "? 5")
		a.answer(5, gateway.AckOK, "")
		a.got("? 1", "? 2", "? 3", "? 4", "? 5")
		a.answer(4, gateway.AckOK, "")
		a.got("? 1", "? 2", "? 3", "? 4", "? 5", "new")
	})
}

// A hole is a delivery that the device has not handled, below others that it has.
func TestAHoleComesBeforeAnythingNewer(t *testing.T) {
	for name, unanswered := range map[string]func(*asked){
		"answered not handled": func(a *asked) { a.answer(1, gateway.AckSend, "") },
		"the ack timeout":      func(a *asked) { a.timeout(1) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
				a := askedThrough(t, g, 2, 2, 16)
				push(t, g, "a", "new")
				a.answer(2, gateway.AckOK, "")
				a.got("? 1", "? 2")
				a.SetBusy(true)
				unanswered(a)
				a.got("? 1", "? 2")
				a.SetBusy(false)
				synctest.Wait()
				a.got("? 1", "? 2", "1 again", "new")
				a.state(1, gateway.Sent, 2)
				a.answer(1, gateway.AckOK, "at last")
				a.state(1, gateway.Acked, 2)
			})
		})
	}
}

// A window that is narrower than on the connection before is full of deliveries
// that the device wants later. Other verdicts do not wait for them.
func TestAsksPassWhatTheDeviceWantsLater(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		a := askedThrough(t, g, 3, 3, 1)
		push(t, g, "a", "new")
		a.got("? 1")
		a.answer(1, gateway.AckSend, "")
		a.got("? 1", "1 again")
		a.answer(1, gateway.AckRetry, "")
		a.got("? 1", "1 again", "? 2")
		a.answer(2, gateway.AckOK, "")
		a.state(2, gateway.Acked, 1)
		a.got("? 1", "1 again", "? 2", "? 3")
		a.answer(3, gateway.AckRetry, "")
		time.Sleep(time.Minute)
		a.got("? 1", "1 again", "? 2", "? 3", "1 again")
		a.answer(1, gateway.AckOK, "")
		a.got("? 1", "1 again", "? 2", "? 3", "1 again", "3 again")
		a.answer(3, gateway.AckOK, "")
		a.got("? 1", "1 again", "? 2", "? 3", "1 again", "3 again", "new")
	})
}

// transmissionStore fails to read single transmissions.
type transmissionStore struct {
	gateway.Store
	broken atomic.Bool
}

func (s *transmissionStore) Transmission(client gateway.ClientID, seq gateway.Seq) (gateway.Transmission, bool, error) {
	if s.broken.Load() {
		return gateway.Transmission{}, false, gateway.ErrUnavailable
	}
	return s.Store.Transmission(client, seq)
}

func TestAHoleThatCannotBeReadHoldsBackWhatIsNewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := memstore.New(memstore.Options{})
		t.Cleanup(func() { memory.Close() })
		store := &transmissionStore{Store: memory}
		a := askedThrough(t, gatewaytest.New(t, store, gateway.Config{}), 1, 1, 16)
		push(t, a.g, "a", "new")
		store.broken.Store(true)
		a.answer(1, gateway.AckSend, "")
		a.got("? 1")
		store.broken.Store(false)
		time.Sleep(5 * time.Second)
		a.got("? 1", "1 again", "new")
	})
}

func TestAnswersToAnAsk(t *testing.T) {
	for name, tc := range map[string]struct {
		code     gateway.AckCode
		state    gateway.State
		attempts int
		reason   string
		got      []string // after a second, with "new" behind it
	}{
		"ok":           {gateway.AckOK, gateway.Acked, 1, "", []string{"? 1", "new"}},
		"reject":       {gateway.AckReject, gateway.Rejected, 1, gateway.ReasonDeviceRejected, []string{"? 1", "new"}},
		"retry later":  {gateway.AckRetry, gateway.Sent, 2, "", []string{"? 1", "new", "1 again"}},
		"not handled":  {gateway.AckSend, gateway.Sent, 2, "", []string{"? 1", "1 again", "new"}},
		"not kept":     {gateway.AckNotKept, gateway.Acked, 1, gateway.ReasonVerdictNotKept, []string{"? 1", "new"}},
		"working":      {gateway.AckWorking, gateway.Queued, 1, "", []string{"? 1", "new"}},
		"unknown code": {9, gateway.Rejected, 1, gateway.ReasonDeviceRejected, []string{"? 1", "new"}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
				a := askedThrough(t, g, 1, 1, 16)
				push(t, g, "a", "new")
				a.answer(1, tc.code, "")
				time.Sleep(time.Second)
				synctest.Wait()
				a.got(tc.got...)
				if d := a.state(1, tc.state, tc.attempts); d.Reason != tc.reason {
					t.Errorf("reason %q, want %q", d.Reason, tc.reason)
				}
				wantNotKept := uint64(0)
				if tc.code == gateway.AckNotKept {
					wantNotKept = 1
				}
				if st := g.Stats(); st.NotKept != wantNotKept || st.NotHandled != 0 {
					t.Errorf("counted: %d not kept, %d payloads not handled", st.NotKept, st.NotHandled)
				}
			})
		})
	}
}

func TestNotHandledAsTheAnswerToAPayloadIsRetryLater(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		a := askedThrough(t, g, 1, 0, 16)
		a.got("1 again")
		a.answer(1, gateway.AckSend, "")
		a.state(1, gateway.Queued, 1)
		time.Sleep(time.Second)
		a.got("1 again", "1 again")
		a.answer(1, gateway.AckNotKept, "")
		a.state(1, gateway.Acked, 2)
		if st := g.Stats(); st.NotHandled != 1 || st.RetryLater != 1 || st.NotKept != 1 {
			t.Errorf("counted: %d not handled, %d retry later, %d not kept", st.NotHandled, st.RetryLater, st.NotKept)
		}
	})
}

func TestWorkingIsShownAndSettlesNothing(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		a := &asked{t: t, g: g}
		a.back(0, 16)
		start := time.Now()
		rec, err := g.PushAndAwait(context.Background(), gateway.PushRequest{To: gateway.Audience{Client: "a"}, Payload: []byte("x"),
			TTL: time.Minute}, time.Second)
		if err != nil || time.Since(start) != time.Second {
			t.Fatalf("the caller waits %v: %v", time.Since(start), err)
		}
		a.messages = append(a.messages, rec.Message)
		for _, tc := range []struct{ said, shown string }{
			{"40 %", "40 %"},
			{"", "40 %"},
			{strings.Repeat("ä", 600), strings.Repeat("ä", 512)},
			{"x" + strings.Repeat("ä", 512), strings.Repeat("ä", 512)},
			{strings.Repeat("ä", 512) + "x", strings.Repeat("ä", 511) + "x"},
			{strings.Repeat("\x80", 2000), strings.Repeat("\x80", 1020)},
		} {
			a.answer(1, gateway.AckWorking, tc.said)
			if d := a.state(1, gateway.Sent, 1); string(d.Progress) != tc.shown {
				t.Errorf("%d bytes that end in %.9q show as %d bytes", len(tc.said), tc.said[max(0, len(tc.said)-9):], len(d.Progress))
			}
		}
		a.answer(1, gateway.AckOK, "done")
		if d := a.state(1, gateway.Acked, 1); d.Progress != nil || string(d.Result) != "done" {
			t.Errorf("acked with %q, progress %q", d.Result, d.Progress)
		}
	})
}

func TestWorkingEndsWithTheTimeToLive(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		a := &asked{t: t, g: g}
		a.back(0, 16)
		a.messages = append(a.messages, pushFor(t, g, "a", "x", 5*time.Second))
		for range 10 {
			a.answer(1, gateway.AckWorking, "")
			time.Sleep(900 * time.Millisecond)
		}
		a.state(1, gateway.Expired, 1)
		if len(a.Forgotten()) == 0 {
			t.Error("the link still times the delivery")
		}
	})
}

// A device that worked and fell silent may have lost the payload.
func TestAfterWorkingTheAckTimeoutSendsThePayload(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		a := askedThrough(t, g, 1, 1, 16)
		a.answer(1, gateway.AckWorking, "half")
		a.timeout(1)
		a.got("? 1", "1 again")
		a.answer(1, gateway.AckWorking, "more")
		if d := a.state(1, gateway.Sent, 2); string(d.Progress) != "more" {
			t.Errorf("progress %q", d.Progress)
		}
		a.Disconnect(gateway.ReasonConnectionLost)
		if d := a.state(1, gateway.Queued, 2); d.Progress != nil {
			t.Errorf("progress %q without a connection", d.Progress)
		}
	})
}

func TestAWorkerThatGivesUpIsSentThePayload(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		a := askedThrough(t, g, 1, 1, 16)
		a.answer(1, gateway.AckWorking, "half")
		a.answer(1, gateway.AckSend, "")
		a.got("? 1", "1 again")
		if d := a.state(1, gateway.Sent, 2); d.Progress != nil {
			t.Errorf("progress %q of a worker that gave up", d.Progress)
		}
		if n := g.Stats().NotHandled; n != 0 {
			t.Errorf("%d payloads were answered not handled", n)
		}
	})
}

func TestWithoutAnAgreementEverythingIsSentAgain(t *testing.T) {
	for name, hello := range map[string]gateway.Hello{
		"no ask_through":      {Log: "this", AskThrough: 2},
		"another log":         {Log: "another", Asks: true, AskThrough: 2},
		"no log":              {Asks: true, AskThrough: 2},
		"nothing was handled": {Log: "this", Asks: true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
				a := askedThrough(t, g, 2, 0, 16)
				a.Disconnect(gateway.ReasonConnectionLost)
				if hello.Log == "this" {
					hello.Log = g.Log()
				}
				l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{Hello: hello})
				synctest.Wait()
				wantTexts(t, l, "1 again", "2 again")
				if l.Welcome.Ask != hello.Asks {
					t.Errorf("the welcome is %+v", l.Welcome)
				}
			})
		})
	}
}

func TestATakeoverWhileAsksAreUnanswered(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		old := askedThrough(t, g, 3, 3, 16)
		old.got("? 1", "? 2", "? 3")
		a := &asked{t: t, g: g, messages: old.messages}
		a.back(3, 16)
		a.got("? 1", "? 2", "? 3")
		// The device's verdict on the replaced connection is still true; an
		// answer that is no verdict is valid on that connection only.
		old.answer(1, gateway.AckOK, "late")
		old.answer(2, gateway.AckSend, "")
		old.answer(3, gateway.AckWorking, "on the old one")
		old.answer(3, gateway.AckRetry, "")
		a.got("? 1", "? 2", "? 3")
		if d := a.state(1, gateway.Acked, 1); string(d.Result) != "late" {
			t.Errorf("result %q", d.Result)
		}
		a.answer(2, gateway.AckOK, "")
		a.answer(3, gateway.AckOK, "")
		a.state(2, gateway.Acked, 1)
		if d := a.state(3, gateway.Acked, 1); d.Progress != nil {
			t.Errorf("progress %q", d.Progress)
		}
		push(t, g, "a", "new")
		synctest.Wait()
		a.got("? 1", "? 2", "? 3", "new")
	})
}

func TestADrainWhileAsksAreUnanswered(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		a := askedThrough(t, g, 2, 2, 16)
		g.Drain()
		a.answer(1, gateway.AckOK, "")
		a.state(1, gateway.Acked, 1)
		a.Disconnect(gateway.ReasonShutdown)
		a.state(2, gateway.Queued, 1)
		if n := g.Stats().InFlight; n != 0 {
			t.Errorf("%d deliveries are counted as in flight", n)
		}
	})
}

func TestWhatBecomesFinalWhileItIsAskedForLetsTheNextOnesGo(t *testing.T) {
	for name, end := range map[string]func(*asked){
		"canceled": func(a *asked) { a.g.Cancel(context.Background(), a.messages[0].ID) },
		"purged":   func(a *asked) { a.g.Disconnect(context.Background(), "a", gateway.DisconnectOptions{Purge: true}) },
		"expired":  func(*asked) { time.Sleep(25 * time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
				a := askedThrough(t, g, 1, 1, 16)
				end(a)
				if name == "purged" {
					a.back(1, 16)
				}
				push(t, g, "a", "new")
				synctest.Wait()
				if got := texts(a.Transmissions()); got[len(got)-1] != "new" {
					t.Errorf("the device got %q, want new at the end", got)
				}
			})
		})
	}
}

// The attempts limit transmissions, and a question is none.
func TestADeviceIsAskedThoughTheAttemptsAreUsedUp(t *testing.T) {
	for code, want := range map[gateway.AckCode]gateway.State{gateway.AckOK: gateway.Acked, gateway.AckSend: gateway.Failed} {
		t.Run(want.String(), func(t *testing.T) {
			bubble(t, gateway.Config{MaxAttempts: 1}, func(t *testing.T, g *gateway.Gateway) {
				a := askedThrough(t, g, 1, 1, 16)
				a.got("? 1")
				a.answer(1, code, "")
				a.got("? 1")
				a.state(1, want, 1)
			})
		})
	}
}

// The device may have handled a delivery that another link has carried: it has not
// rejected it.
func TestTooLargeAfterATransmissionIsFailed(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		for _, hello := range []gateway.Hello{{}, {Log: g.Log(), Asks: true}} {
			l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: gatewaytest.FlushOnly})
			m := push(t, g, "a", "12345")
			hello.AskThrough = m.Seq
			synctest.Wait()
			l.Disconnect(gateway.ReasonConnectionLost)
			l = gatewaytest.Connect(t, g, "a", gatewaytest.Options{Max: 4, Hello: hello, React: answers(gateway.AckSend, gateway.AckOK)})
			next := push(t, g, "a", "1234")
			time.Sleep(2 * time.Second)
			wantState(t, g, next, gateway.Acked, 1)
			if d := delivery(t, g, m.ID, "a"); d.State != gateway.Failed || d.Reason != gateway.ReasonTooLargeForProtocol || d.Attempts != 1 {
				t.Errorf("it is %s, %s after %d attempts", d.State, d.Reason, d.Attempts)
			}
			l.Session.Acked(m.Seq, false, gateway.AckOK, []byte("done"), time.Now())
			synctest.Wait()
			d := delivery(t, g, m.ID, "a")
			if d.State != gateway.Failed || string(d.LateResult) != "done" && hello.Asks { // the others were sent nothing to answer
				t.Errorf("after the device's answer it is %s, with the late result %q", d.State, d.LateResult)
			}
			l.Disconnect(gateway.ReasonConnectionLost)
		}
	})
}

// An online call has no verdict to be asked for. The codes that answer its
// payload count.
func TestAnswersToAnOnlineCall(t *testing.T) {
	for name, tc := range map[string]struct {
		codes  []gateway.AckCode
		state  gateway.State
		reason string
	}{
		"retry later":    {[]gateway.AckCode{gateway.AckRetry}, gateway.Rejected, gateway.ReasonDeviceRejected},
		"not handled":    {[]gateway.AckCode{gateway.AckSend}, gateway.Rejected, gateway.ReasonDeviceRejected},
		"not kept":       {[]gateway.AckCode{gateway.AckNotKept}, gateway.Acked, gateway.ReasonVerdictNotKept},
		"working and ok": {[]gateway.AckCode{gateway.AckWorking, gateway.AckWorking, gateway.AckOK}, gateway.Acked, ""},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
				gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: func(l *gatewaytest.Link, p gateway.Transmission) {
					l.Sent(p)
					for _, code := range tc.codes {
						l.Ack(p, code, []byte("said"))
					}
				}})
				r, err := online(g, "a", "x", time.Second)
				if err != nil || r.State != tc.state || r.Reason != tc.reason {
					t.Errorf("%+v, %v; want %s, reason %q", r, err, tc.state, tc.reason)
				}
			})
		})
	}
	t.Run("working extends no wait", func(t *testing.T) {
		bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
			gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: func(l *gatewaytest.Link, p gateway.Transmission) {
				for range 30 {
					l.Ack(p, gateway.AckWorking, nil)
					time.Sleep(100 * time.Millisecond)
				}
			}})
			start := time.Now()
			if _, err := online(g, "a", "x", time.Second); gateway.CodeOf(err) != gateway.CodeAckTimeout || time.Since(start) != time.Second {
				t.Errorf("%v after %v", err, time.Since(start))
			}
			time.Sleep(3 * time.Second) // the device has said it all
		})
	})
}
