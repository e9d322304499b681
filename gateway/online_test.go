package gateway_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/gatewaytest"
)

func online(g *gateway.Gateway, id gateway.ClientID, text string, wait time.Duration) (gateway.OnlineResult, error) {
	return g.PushOnline(context.Background(), gateway.OnlineRequest{Client: id, Payload: []byte(text), Wait: wait})
}

func TestOnlineAnswer(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: func(l *gatewaytest.Link, p gateway.Transmission) {
			if !p.Ephemeral {
				t.Error("an online delivery is not marked ephemeral")
			}
			l.Sent(p)
			time.Sleep(7 * time.Millisecond)
			l.Ack(p, gateway.AckOK, append([]byte("re: "), p.Payload...))
		}})
		r, err := online(g, "a", "reboot", time.Second)
		if err != nil || string(r.Result) != "re: reboot" || r.State != gateway.Acked || r.RTT != 7*time.Millisecond {
			t.Errorf("%+v, %v", r, err)
		}
		if _, err := g.Message(r.Message); gateway.CodeOf(err) != gateway.CodeMessageNotFound {
			t.Errorf("something was stored: %v", err)
		}
	})
}

func TestOnlineRefusals(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		gatewaytest.Connect(t, g, "off", gatewaytest.Options{}).Disconnect(gateway.ReasonClientClosed)
		gatewaytest.Connect(t, g, "small", gatewaytest.Options{Max: 2})
		gatewaytest.Connect(t, g, "deaf", gatewaytest.Options{React: gatewaytest.FlushOnly})
		gatewaytest.Connect(t, g, "no", gatewaytest.Options{React: func(l *gatewaytest.Link, p gateway.Transmission) {
			l.Sent(p)
			l.Ack(p, gateway.AckReject, []byte("why"))
		}})
		for id, want := range map[gateway.ClientID]gateway.Code{
			"never":  gateway.CodeClientNotFound,
			"off":    gateway.CodeClientOffline,
			"small":  gateway.CodePayloadTooLarge,
			"deaf":   gateway.CodeAckTimeout,
			"not ok": gateway.CodeValidation,
		} {
			start := time.Now()
			_, err := online(g, id, "hello", 3*time.Second)
			if gateway.CodeOf(err) != want {
				t.Errorf("%s: %v, want %s", id, err, want)
			}
			if took := time.Since(start); (took == 3*time.Second) != (id == "deaf") {
				t.Errorf("%s: answered after %v", id, took)
			}
		}
		r, err := online(g, "no", "hello", time.Second)
		if err != nil || r.State != gateway.Rejected || string(r.Result) != "why" {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// A timed-out call leaves no entry in the window, and its late ack is not taken
// for another call's.
func TestOnlineTimeoutFreesTheWindow(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{Window: 1, React: gatewaytest.FlushOnly})
		if _, err := online(g, "a", "1", time.Second); gateway.CodeOf(err) != gateway.CodeAckTimeout {
			t.Fatal(err)
		}
		answer := make(chan gateway.OnlineResult)
		go func() {
			r, err := online(g, "a", "2", 10*time.Second)
			if err != nil {
				t.Error(err)
			}
			answer <- r
		}()
		synctest.Wait()
		wantTexts(t, l, "1", "2")
		l.Ack(l.Transmissions()[0], gateway.AckOK, []byte("late"))
		l.Ack(l.Transmissions()[1], gateway.AckOK, []byte("two"))
		if r := <-answer; string(r.Result) != "two" {
			t.Errorf("answer %q, want two", r.Result)
		}
	})
}

// The ack of a device that forgets the EPHEMERAL flag settles nothing, and the
// caller's error names the mistake. With the flag the answer still counts.
func TestOnlineAckWithoutItsFlag(t *testing.T) {
	wrongly := func(l *gatewaytest.Link, p gateway.Transmission) {
		l.Sent(p)
		l.Session.Acked(p.Seq, false, gateway.AckOK, nil, time.Now())
		l.Session.AckedOther(p.Seq, false)
	}
	var log strings.Builder
	bubble(t, gateway.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, func(t *testing.T, g *gateway.Gateway) {
		gatewaytest.Connect(t, g, "wrong", gatewaytest.Options{React: wrongly})
		gatewaytest.Connect(t, g, "then-right", gatewaytest.Options{React: func(l *gatewaytest.Link, p gateway.Transmission) {
			wrongly(l, p)
			l.Ack(p, gateway.AckOK, []byte("done"))
		}})
		stored := gatewaytest.Connect(t, g, "stored", gatewaytest.Options{React: gatewaytest.FlushOnly})
		lost := gatewaytest.Connect(t, g, "lost", gatewaytest.Options{React: wrongly})
		time.AfterFunc(5*time.Second, func() { lost.Disconnect(gateway.ReasonConnectionLost) })
		for _, id := range []gateway.ClientID{"wrong", "lost"} {
			_, err := online(g, id, "reboot", 3*time.Second)
			if gateway.CodeOf(err) != gateway.CodeAckTimeout || !strings.Contains(err.Error(), "acked 1 without the EPHEMERAL flag") {
				t.Errorf("%s: got %v, want a timeout that names the flag", id, err)
			}
		}
		if r, err := online(g, "then-right", "reboot", 3*time.Second); err != nil || string(r.Result) != "done" {
			t.Errorf("then-right: got %+v, %v, want the answer", r, err)
		}
		online(g, "wrong", "again", time.Second)
		synctest.Wait()
		if got := log.String(); strings.Count(got, "client=wrong ") != 1 {
			t.Errorf("logged %q, want one line for the client", got)
		}
		stored.Session.AckedOther(8, true)
		if want := "client=stored session=" + string(stored.Session.ID()) + " id=8 flag=true"; !strings.Contains(log.String(), want) {
			t.Errorf("logged %q, want %s", log.String(), want)
		}
	})
}

func TestOnlineConnectionLost(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{Window: 1, React: gatewaytest.FlushOnly})
		errs := make(chan error, 2)
		for _, text := range []string{"in the window", "behind it"} {
			go func() {
				_, err := online(g, "a", text, time.Minute)
				errs <- err
			}()
			synctest.Wait()
		}
		l.Disconnect(gateway.ReasonConnectionLost)
		codes := map[gateway.Code]int{}
		for range 2 {
			codes[gateway.CodeOf(<-errs)]++
		}
		if codes[gateway.CodeAckTimeout] != 1 || codes[gateway.CodeClientOffline] != 1 {
			t.Errorf("got %v: what was sent may have arrived, what was not sent has not", codes)
		}
	})
}

func TestOnlineCallersAreBounded(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		gatewaytest.Connect(t, g, "a", gatewaytest.Options{Window: 1, React: gatewaytest.FlushOnly})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		for range 65 { // one in the window, 64 that wait
			go func() {
				g.PushOnline(ctx, gateway.OnlineRequest{Client: "a", Wait: time.Minute})
				done <- struct{}{}
			}()
			synctest.Wait()
		}
		if _, err := online(g, "a", "x", time.Minute); gateway.CodeOf(err) != gateway.CodeQueueFull {
			t.Errorf("one too many: %v", err)
		}
		cancel()
		for range 65 {
			<-done
		}
	})
}

// endingLink is a connection that ends while a transmission is handed to it.
type endingLink struct {
	*gatewaytest.Link
	end func()
}

func (l *endingLink) Deliver(gateway.Transmission) error {
	l.end()
	return gateway.ErrLinkClosed
}

// The caller pumps on its own goroutine: a second reply would block it for good.
func TestOnlineConnectionEndsDuringDeliver(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		l := &endingLink{Link: gatewaytest.NewLink(gatewaytest.Options{})}
		s, _, err := g.Connect(context.Background(), gateway.Hello{Client: "a"}, l)
		if err != nil {
			t.Fatal(err)
		}
		l.end = func() { s.Closed(gateway.ReasonConnectionLost) }
		s.Start()
		synctest.Wait()
		if _, err := online(g, "a", "x", time.Second); gateway.CodeOf(err) != gateway.CodeClientOffline {
			t.Errorf("got %v, want client-offline", err)
		}
	})
}

// The link writes the frames that it has with its last output, after the session has
// ended. So a call whose frame has not left yet may still arrive.
func TestOnlineConnectionEndsBeforeTheFlush(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, g *gateway.Gateway, l *gatewaytest.Link){
		"takeover": func(t *testing.T, g *gateway.Gateway, _ *gatewaytest.Link) {
			gatewaytest.Connect(t, g, "a", gatewaytest.Options{})
		},
		"end": func(_ *testing.T, _ *gateway.Gateway, l *gatewaytest.Link) { l.Disconnect(gateway.ReasonKicked) },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
				l := gatewaytest.Connect(t, g, "a", gatewaytest.Options{React: func(*gatewaytest.Link, gateway.Transmission) {}})
				ended := make(chan error, 1)
				go func() {
					_, err := online(g, "a", "x", time.Minute)
					ended <- err
				}()
				synctest.Wait()
				if len(l.Transmissions()) != 1 {
					t.Fatal("the link has no frame")
				}
				end(t, g, l)
				if err := <-ended; gateway.CodeOf(err) != gateway.CodeAckTimeout {
					t.Errorf("got %v, want ack-timeout", err)
				}
			})
		})
	}
}

// Calls that begin together are sent by the batch's Flush, in order.
func TestOnlineBatch(t *testing.T) {
	bubble(t, gateway.Config{}, func(t *testing.T, g *gateway.Gateway) {
		a := gatewaytest.Connect(t, g, "a", gatewaytest.Options{Window: 2})
		b := gatewaytest.Connect(t, g, "b", gatewaytest.Options{})
		synctest.Wait() // both have read their queues
		var batch gateway.OnlineBatch
		calls := make([]collectedCall, 5)
		for i, id := range []gateway.ClientID{"a", "b", "a", "a", "b"} {
			r := gateway.OnlineRequest{Client: id, Payload: []byte(fmt.Sprint(i))}
			if err := g.StartOnline(&calls[i].call, r, &calls[i], &batch); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if n := batch.Clients(); n != 2 || len(a.Transmissions())+len(b.Transmissions()) != 0 {
			t.Errorf("before the flush %d clients wait, and some have got something", n)
		}
		batch.Flush()
		synctest.Wait()
		wantTexts(t, a, "0", "2", "3")
		wantTexts(t, b, "1", "4")
		for i := range calls {
			if c := &calls[i]; c.times != 1 || c.err != nil || c.result.State != gateway.Acked {
				t.Errorf("call %d was answered %d times, with %+v, %v", i, c.times, c.result, c.err)
			}
			if calls[i].call.Withdraw() {
				t.Errorf("call %d was answered and can be withdrawn", i)
			}
		}
	})
}

type collectedCall struct {
	call   gateway.OnlineCall
	times  int
	result gateway.OnlineResult
	err    error
}

func (c *collectedCall) Answered(r gateway.OnlineResult, err error) {
	c.times++
	c.result, c.err = r, err
}
