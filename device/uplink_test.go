package device

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/protocol"
)

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
			time.Sleep(firstPause)
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

// A gateway whose disk is full is asked less and less often (SPEC §2.2), also over
// connections.
func TestRetryLaterWaitsLonger(t *testing.T) {
	run(t, Config{}, func(t *testing.T, g *gateway, c *Client) {
		p := <-g.conns
		go c.Send(t.Context(), []byte("one"))
		synctest.Wait()
		seq, _ := p.lastData()
		p.want("data one")
		for n, pause := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
			due := time.Now().Add(pause * time.Second)
			p.ack(seq, protocol.AckRetry, "")
			if synctest.Wait(); n == 2 {
				p.lose()
				p = <-g.conns
			}
			time.Sleep(time.Until(due) - time.Nanosecond)
			p.want()
			time.Sleep(time.Nanosecond)
			p.want("data one")
		}
	})
}

// The time to send again may pass between the look at the uplinks and the setting of the
// timer.
func TestARetryThatIsOverdueIsDue(t *testing.T) {
	c := &Client{uplinks: []*uplink{{seq: 1, pause: time.Second, notBefore: time.Now().Add(-time.Nanosecond)}}}
	if _, due := c.nextRetry(); !due {
		t.Error("the uplink waits until something else happens")
	}
	c.uplinks[0].inFlight = true
	if _, due := c.nextRetry(); due {
		t.Error("an uplink in the window is sent again")
	}
}

func TestSendReturnsNilOnlyWhenAckedOk(t *testing.T) {
	for code := protocol.AckOK; code < protocol.AckWorking+2; code++ {
		synctest.Test(t, func(t *testing.T) {
			c := newClient(t, newGateway(t), Config{})
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			sent := make(chan error, 1)
			go func() { sent <- c.Send(ctx, nil) }()
			synctest.Wait()
			c.uplinkAcked(protocol.Event{Kind: protocol.KindAck, Seq: c.lastUp, Code: code})
			if err := <-sent; (err == nil) != (code == protocol.AckOK) {
				t.Errorf("acked with %d %s, Send returned %v", code, code, err)
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
