package test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/memstore"
	"github.com/longwire/longwire/internal/gatewaytest"
	"github.com/longwire/longwire/internal/wheel"
	"github.com/longwire/longwire/protocol"
	"github.com/longwire/longwire/tcpserver"
)

// crowdSize is how many devices take part; each gets ownMessages of its own
// and all get broadcasts.
const (
	crowdSize   = 2000
	ownMessages = 4
	broadcasts  = 2
)

// Devices of all dialects that drop connections, read slowly, ignore, refuse
// and put off what they get: every delivery still has exactly one final state,
// it is the one that the device gave, and each device sees first transmissions
// in the order in which they were accepted.
func TestRoughCrowd(t *testing.T) {
	c := newCrowd(t)
	c.connectAll(t)
	c.pushAll(t)
	c.calm.Store(true)
	c.waitUntilSettled(t)
	c.stopAll(t)

	c.checkFinalStates(t)
	c.checkOrder(t)
	c.checkDisturbances(t)
}

type crowd struct {
	store   gateway.Store
	gw      *gateway.Gateway
	srv     *tcpserver.Server
	devices map[gateway.ClientID]*roughDevice
	calm    atomic.Bool
	stop    chan struct{}
	running sync.WaitGroup

	events *eventLog

	mu   sync.Mutex
	seqs map[string]gateway.Seq       // by payload, as accepted
	ids  map[gateway.MessageID]string // payload
	want int                          // deliveries accepted
}

func newCrowd(t *testing.T) *crowd {
	t.Helper()
	c := &crowd{
		store:   memstore.New(memstore.Options{}),
		devices: map[gateway.ClientID]*roughDevice{},
		stop:    make(chan struct{}),
		seqs:    map[string]gateway.Seq{},
		ids:     map[gateway.MessageID]string{},
	}
	t.Cleanup(func() {
		if err := c.store.Close(); err != nil {
			t.Errorf("close the store: %v", err)
		}
	})
	c.gw = gatewaytest.New(t, c.store, gateway.Config{MaxAttempts: 50, EventBuffer: 1 << 18})
	w := wheel.New()
	w.Start()
	t.Cleanup(w.Stop)
	srv, err := tcpserver.New(tcpserver.Config{
		Addr: "127.0.0.1:0", Gateway: c.gw, Wheel: w,
		Protocol: protocol.Config{AckTimeout: time.Second, V1AckTimeout: time.Second, V1Gap: 5 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	c.srv = srv
	served := make(chan error, 1)
	go func() { served <- srv.Serve() }()
	t.Cleanup(func() {
		srv.Close()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	c.events = followEvents(t, c.gw)
	for i := range crowdSize {
		dialect := []protocol.Dialect{protocol.V1, protocol.V2, protocol.Text}[i%3]
		id := fmt.Sprintf("%s-%d", dialect, i)
		c.devices[gateway.ClientID(id)] = newRoughDevice(id, dialect, srv.Addr().String(), &c.calm, uint64(i))
	}
	return c
}

func (c *crowd) connectAll(t *testing.T) {
	t.Helper()
	for _, d := range c.devices {
		c.running.Go(func() { d.run(c.stop) })
	}
	waitFor(t, "all devices have registered", func() bool { return c.gw.Stats().Online == crowdSize })
}

// pushAll pushes to every device, in rounds, from several callers. One device
// has one caller, so that its order is known.
func (c *crowd) pushAll(t *testing.T) {
	t.Helper()
	var callers sync.WaitGroup
	const share = 16
	lanes := make([][]gateway.ClientID, share)
	i := 0
	for id := range c.devices {
		lanes[i%share] = append(lanes[i%share], id)
		i++
	}
	for _, lane := range lanes {
		callers.Go(func() {
			for n := range ownMessages {
				for _, id := range lane {
					c.push(t, gateway.Audience{Client: id}, fmt.Sprintf("%s/%d", id, n), 1)
				}
			}
		})
	}
	for n := range broadcasts {
		c.push(t, gateway.Audience{All: true}, fmt.Sprintf("all/%d", n), crowdSize)
	}
	callers.Wait()
}

func (c *crowd) push(t *testing.T, to gateway.Audience, payload string, recipients int) {
	t.Helper()
	r, err := c.gw.Push(context.Background(), gateway.PushRequest{To: to, Payload: []byte(payload)})
	if err != nil {
		t.Errorf("push %s: %v", payload, err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seqs[payload] = r.Message.Seq
	c.ids[r.Message.ID] = payload
	c.want += recipients
}

func (c *crowd) waitUntilSettled(t *testing.T) {
	t.Helper()
	waitFor(t, "every delivery is final", func() bool { return c.store.Stats().Queued == 0 })
	waitFor(t, "every final state is told", func() bool { return c.events.finals() >= c.want })
}

func (c *crowd) stopAll(t *testing.T) {
	t.Helper()
	close(c.stop)
	c.running.Wait()
	waitFor(t, "all devices are offline", func() bool { return c.gw.Stats().Online == 0 })
}

func (c *crowd) checkFinalStates(t *testing.T) {
	t.Helper()
	c.events.mu.Lock()
	defer c.events.mu.Unlock()
	if c.events.err != nil {
		t.Fatalf("event stream: %v", c.events.err)
	}
	if got := len(c.events.final); got != c.want {
		t.Errorf("%d deliveries have a final state, %d were accepted", got, c.want)
	}
	for k, states := range c.events.final {
		if len(states) != 1 {
			t.Errorf("delivery of %q to %s has the final states %v", c.ids[k.message], k.client, states)
			continue
		}
		d, payload := c.devices[k.client], c.ids[k.message]
		switch states[0] {
		case gateway.EventMessageAcked:
			if !d.accepted[payload] {
				t.Errorf("%q is acked, %s never said so", payload, k.client)
			}
		case gateway.EventMessageRejected:
			if !d.rejected[payload] {
				t.Errorf("%q is rejected, %s never said so", payload, k.client)
			}
		default:
			t.Errorf("%q to %s ended as %s", payload, k.client, states[0])
		}
	}
}

func (c *crowd) checkOrder(t *testing.T) {
	t.Helper()
	for id, d := range c.devices {
		if got, want := len(d.order), ownMessages+broadcasts; got != want {
			t.Errorf("%s saw %d messages, want %d: %q", id, got, want, d.order)
		}
		for i := 1; i < len(d.order); i++ {
			if c.seqs[d.order[i-1]] >= c.seqs[d.order[i]] {
				t.Errorf("%s saw %q before %q, accepted the other way round", id, d.order[i-1], d.order[i])
			}
		}
	}
}

// checkDisturbances makes sure that the crowd was as rough as it should be.
func (c *crowd) checkDisturbances(t *testing.T) {
	t.Helper()
	drops, rejects := 0, 0
	for _, d := range c.devices {
		drops += d.drops
		rejects += len(d.rejected)
	}
	g := c.gw.Stats()
	t.Logf("%d deliveries, %d transmissions, %d of them repeats, %d dropped connections, %d rejected",
		c.want, g.Delivered, g.Redelivered, drops, rejects)
	if drops == 0 || rejects == 0 || g.Redelivered == 0 {
		t.Error("nothing was dropped, rejected or repeated; the test sees nothing")
	}
	if p := c.srv.Stats().Panics; p != 0 {
		t.Errorf("%d panics", p)
	}
}

// eventLog keeps the final states that the event stream tells of.
type eventLog struct {
	mu    sync.Mutex
	final map[deliveryKey][]gateway.EventType
	n     int
	err   error
}

type deliveryKey struct {
	message gateway.MessageID
	client  gateway.ClientID
}

// followEvents reads the stream until the test ends.
func followEvents(t *testing.T, gw *gateway.Gateway) *eventLog {
	t.Helper()
	l := &eventLog{final: map[deliveryKey][]gateway.EventType{}}
	ctx, cancel := context.WithCancel(context.Background())
	sub := gw.SubscribeNow()
	done := make(chan struct{})
	go func() {
		defer close(done)
		var buf []gateway.Event
		for {
			var err error
			if buf, err = sub.Next(ctx, buf[:0]); err != nil {
				l.fail(ctx, err)
				return
			}
			l.add(buf)
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return l
}

func (l *eventLog) fail(ctx context.Context, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if ctx.Err() == nil {
		l.err = err
	}
}

func (l *eventLog) add(events []gateway.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range events {
		switch e.Type {
		case gateway.EventMessageAcked, gateway.EventMessageRejected, gateway.EventMessageExpired,
			gateway.EventMessageCanceled, gateway.EventMessageFailed:
			k := deliveryKey{e.Message, e.Client}
			l.final[k] = append(l.final[k], e.Type)
			l.n++
		}
	}
}

func (l *eventLog) finals() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n
}

// waitFor polls a condition that other goroutines or processes bring about.
func waitFor(t testing.TB, what string, ok func() bool) {
	t.Helper()
	waitWithin(t, time.Minute, what, ok)
}

func waitWithin(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for deadline := time.Now().Add(limit); !ok(); <-poll.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain: %s", limit, what)
		}
	}
}
