package gateway

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Config has a gateway's parts and limits. Zero durations and counts take the
// default named at the field.
type Config struct {
	Store Store // required

	NewID func() [16]byte // required: a UUIDv7, for messages and sessions

	// Authenticate decides whether a device may register; nil admits every
	// device. Its error is answered as CodeUnauthorized. If it wraps
	// ErrUnavailable, the decision could not be made, and the device is asked to
	// come back.
	Authenticate func(ctx context.Context, h Hello) (Grant, error)

	// GuardedGroups returns the groups that some caller is limited to, so that
	// being a member is a right. A registration neither enters nor leaves them.
	// Nil = none. The map must not change afterwards.
	GuardedGroups func() map[string]bool

	// DeviceGroups names the groups that devices enter and leave by naming them
	// in a registration; AnyGroup stands for all that are not guarded. Only the
	// operator changes other groups, except Grant.Groups. Nil = devices enter
	// none.
	DeviceGroups []string

	// AccountOf returns the tenant that a client in these groups is counted for, "" for
	// none. The answer depends on the groups only if some of them are guarded. Nil = none.
	AccountOf func(id ClientID, groups []string) string

	DefaultTTL  time.Duration // of a durable message: 24 h; MinTTL to MaxTTL
	OnlineWait  time.Duration // for the ack of an online delivery: 10 s; up to MaxWait
	MaxAttempts int           // transmissions before a delivery fails: 10; at least 1
	RejectTwins bool          // refuse a second connection with the same id instead of letting it take over

	EventBuffer      int // newest events in memory while somebody reads them: 4,096
	EventBufferBytes int // payload bytes in them: 16 MiB
	Workers          int // goroutines that move deliveries from the store to links: 2 × GOMAXPROCS, at least 4

	// Now is the clock of all times that are kept and shown: when a message was
	// accepted and expires, when a client was seen. Nil is time.Now. Durations
	// are measured on its monotonic reading.
	Now func() time.Time

	// Steps is notified of the steps of deliveries to single clients. Nil costs
	// nothing.
	Steps StepObserver

	// After calls f once after d, from any goroutine; nil is time.AfterFunc. Used
	// for rare retries only.
	After func(d time.Duration, f func())

	Logger *slog.Logger // nil discards
}

func (c *Config) setDefaults() {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	num := func(n *int, v int) {
		if *n <= 0 {
			*n = v
		}
	}
	def(&c.DefaultTTL, 24*time.Hour)
	def(&c.OnlineWait, 10*time.Second)
	num(&c.MaxAttempts, 10)
	num(&c.EventBuffer, 1<<12)
	num(&c.EventBufferBytes, 16<<20)
	num(&c.Workers, max(4, 2*runtime.GOMAXPROCS(0)))
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.After == nil {
		c.After = func(d time.Duration, f func()) { time.AfterFunc(d, f) }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

// Gateway ties the store to the live sessions. All methods may be called from any
// goroutine.
type Gateway struct {
	cfg       Config
	store     Store
	startedAt time.Time

	hub         *hub
	presence    presence // the hub
	evictor     evictor
	waiters     *waiters
	events      *eventLog
	runs        *runQueue
	sent        *sentCounts
	counts      counters
	acks        Latencies // from the last transmission to the ack
	onlineWaits sync.Pool // of *onlineWait
	once        onceCalls
	idsAhead    atomic.Int64 // how far ids of messages were ahead of the clock at most, ns
	late        lateAnswers
	closes      lastCloses
	conflicts   conflicts
	probes      probes
	twins       atomic.Int32 // registrations in holds
	mail        atomic.Int64 // bytes in the sessions' mailboxes
	notes       atomic.Int64 // deliveries that have notes
	ends        sentEnds
	refusals    RefusedList // those of the gateway itself; the client's next registration removes its entry
	unnamed     RefusedList // registrations without a valid id, by source
	noUplinks   RefusedList // clients whose uplinks are refused for a share
	forgotten   forgottenClients
	lastMany    Seq // sequence of the last AcceptedMany; owned by the observer

	tallying sync.Mutex // held to change tallies
	tallies  atomic.Pointer[tallies]

	draining atomic.Bool
	workers  sync.WaitGroup
}

// New returns a gateway on a store. Call Start before using it.
func New(cfg Config) *Gateway {
	cfg.setDefaults()
	g := &Gateway{
		cfg:       cfg,
		store:     cfg.Store,
		startedAt: cfg.Now().Round(0),
		hub:       newHub(),
		waiters:   newWaiters(),
		runs:      newRunQueue(),
		sent:      newSentCounts(),
	}
	g.presence = g.hub
	g.evictor.gateway, g.evictor.start = g, func(walk func()) { go walk() }
	g.onlineWaits.New = func() any { return newOnlineWait() }
	g.events = newEventLog(cfg.Store, cfg.EventBuffer, cfg.EventBufferBytes)
	cfg.Store.Observe((*observer)(g))
	return g
}

// Start launches the delivery workers. Stop ends them.
func (g *Gateway) Start() {
	for range g.cfg.Workers {
		g.workers.Go(g.runs.work)
	}
}

// Drain refuses new messages and new clients from now on and ends every wait.
// Await and PushAndAwait return the message as it stands. An online call ends
// with CodeAckTimeout and ReasonDraining, or with CodeDraining if no byte of it
// was sent. The gateway still takes acks and serves reads.
func (g *Gateway) Drain() {
	if g.draining.Swap(true) {
		return
	}
	g.waiters.drain()
	for s := range g.hub.all {
		s.endCalls()
	}
}

// Stop ends the workers and the event streams. The sessions must be closed
// before. The store stays open; its owner closes it.
func (g *Gateway) Stop() {
	g.Drain()
	g.runs.close()
	g.workers.Wait()
	g.events.close()
}

// Ready returns nil when the gateway accepts messages, else a CodeDraining or
// CodeUnavailable error.
func (g *Gateway) Ready() error {
	if g.draining.Load() {
		return errDraining
	}
	if err := g.store.Health(); err != nil {
		return &Error{Code: CodeUnavailable, Message: ErrUnavailable.Message, Cause: err, RetryAfter: time.Second}
	}
	return nil
}

// now returns the wall clock. The store keeps it, the API shows it, and expiry
// times are compared with it. It has no monotonic reading: that would hide a step
// of the clock from the comparison.
func (g *Gateway) now() time.Time { return g.cfg.Now().Round(0) }

// onWall converts t, which has a monotonic reading, to the wall clock as it is
// set now.
func (g *Gateway) onWall(t time.Time) time.Time {
	now := g.cfg.Now()
	return now.Round(0).Add(-now.Sub(t))
}

// newMessageID returns an id above all those before it. After a step back of the clock it
// carries a later time than the message's.
func (g *Gateway) newMessageID() MessageID {
	u := g.cfg.NewID()
	ahead := uid(u).madeAt().Sub(g.now())
	for was := g.idsAhead.Load(); int64(ahead) > was && !g.idsAhead.CompareAndSwap(was, int64(ahead)); {
		was = g.idsAhead.Load()
	}
	return MessageIDOf(u)
}

// Log names the sequence space of the store.
func (g *Gateway) Log() LogID { return g.store.Log() }

var errDraining = &Error{Code: CodeDraining, Message: "the gateway is shutting down and accepts nothing more; try again later", RetryAfter: 5 * time.Second}

// jitter returns a duration in [d/2, d), so that many retries spread.
func jitter(d time.Duration) time.Duration {
	if d <= 1 {
		return d
	}
	return d/2 + rand.N(d/2)
}
