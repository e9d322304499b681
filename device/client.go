package device

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/longwire/longwire/protocol"
)

// Config describes the device and its behaviour. Addr and ID are required.
type Config struct {
	Addr    string           // host:port of the gateway's device listener
	ID      string           // 1 to 128 of A-Z a-z 0-9 . _ : @ -, not . or .. (126 in v1)
	Token   string           // the device's token or password; v1 sends a short one, if the gateway accepts it
	Dialect protocol.Dialect // default protocol.V2

	Labels    map[string]string // nil leaves the stored ones unchanged; v2 only
	Groups    []string          // nil leaves the stored ones unchanged; v2 only. The gateway decides and does not say which it granted
	Heartbeat time.Duration     // proposal, 1 s to 1 h, 0 for the gateway's; not in v1
	Window    int               // proposal, 1 to 256, 0 for the gateway's; v2 only

	// Handler gets each delivery. Nil acks everything.
	Handler Handler
	// Workers is how many deliveries are handled at once. Default 1: one by one,
	// in order.
	Workers int
	// Mute makes the device take deliveries without an answer, for tests of gateways and
	// backends. The Handler does not get them.
	Mute bool
	// State keeps the verdicts of handled deliveries across restarts (v2). Nil is
	// a MemoryState.
	State State

	// Backoff is the wait between connections.
	Backoff Backoff
	// Logger gets one line per connection made and lost. Nil is slog.Default().
	Logger *slog.Logger
	// TLS encrypts the connection; nil is plain TCP. An empty ServerName is taken
	// from Addr.
	TLS *tls.Config
	// TokenSource, if set, returns the token for each connection; use it for
	// tokens that expire. An error counts as a failed connection.
	TokenSource func(ctx context.Context) (string, error)
	// Dial, if set, makes the connections, and TLS is not used. Nil is TCP with a
	// timeout of 10 s, which includes the TLS handshake.
	Dial func(ctx context.Context, addr string) (net.Conn, error)

	// OnConnect is called when the gateway has accepted the registration.
	// OnDisconnect is called when a connection has ended or failed; the next
	// attempt follows after retry. Run waits for both, so one that calls Send does it
	// in a goroutine of its own. Either may be nil.
	OnConnect    func(protocol.Registered)
	OnDisconnect func(why protocol.Close, retry time.Duration)
	// Trace is called for each Step, in order. It must be quick and must not call the
	// Client. Nil costs nothing.
	Trace func(Step)

	// Protocol has the timeouts of the wire; nil is all defaults.
	Protocol *protocol.Config
}

// Step is an event of the device's protocol session, or something that the device sends.
type Step struct {
	protocol.Event
	// Sent marks what the device sends: KindData is an uplink, and KindAck the answer to a
	// delivery or, with Ask, to an ASK.
	Sent bool
	// Known marks a delivery that the Handler does not get, because it has it or had it.
	Known bool
	// Wait is the pause before an uplink is sent again that the gateway has answered with
	// AckRetry.
	Wait time.Duration
	// Err is why the session has not taken what Sent marks.
	Err error
}

// ClosedError is why Run ended: the gateway has closed the connection with a code
// that forbids a reconnect, or the registration cannot be sent.
type ClosedError struct{ Close protocol.Close }

func (e *ClosedError) Error() string {
	return fmt.Sprintf("device: closed for good: %d %s", e.Close.Code, cmp.Or(e.Close.Text, e.Close.Reason))
}

// Client is one device. Its methods may be called from any goroutine.
type Client struct {
	// Fixed after New.
	cfg  Config
	log  *slog.Logger
	jobs chan Message  // deliveries for the workers
	wake chan struct{} // capacity 1: the mailbox is not empty

	saving sync.Mutex // orders State.Save; taken before mu

	mu       sync.Mutex
	running  bool
	ledger   *Ledger
	noted    bool      // a handler has called Progress
	answers  []answer  // mailbox: for the deliveries of this and earlier sessions
	uplinks  []*uplink // in order of number; bounded by maxUplinks
	dropped  []uint64  // mailbox: uplinks whose Send has returned early
	lastUp   uint64
	sessions uint64 // connections so far; distinguishes ephemeral numbers
}

// maxJobs bounds deliveries that wait for a worker: the largest window. A gateway
// that sends more gets "retry later".
const maxJobs = 256

// New returns a client; Run starts it. New reads the State.
func New(cfg Config) (*Client, error) {
	if cfg.Addr == "" && cfg.Dial == nil {
		return nil, errors.New("device: no address")
	}
	cfg.Dialect = cmp.Or(cfg.Dialect, protocol.V2)
	cfg.Workers = max(1, min(cfg.Workers, maxJobs))
	if cfg.State == nil {
		cfg.State = new(MemoryState)
	}
	switch {
	case cfg.Dial != nil:
	case cfg.TLS != nil:
		cfg.Dial = dialTLS(cfg.TLS)
	default:
		cfg.Dial = dialTCP
	}
	c := &Client{cfg: cfg, log: cmp.Or(cfg.Logger, slog.Default()).With("client", cfg.ID),
		jobs: make(chan Message, maxJobs), wake: make(chan struct{}, 1)}
	// Numbers of uplinks rise across restarts without being stored.
	c.lastUp = uint64(time.Now().UnixMicro())
	saved, err := cfg.State.Load()
	if err != nil {
		return nil, fmt.Errorf("device: load state: %w", err)
	}
	if saved.ID != "" && saved.ID != cfg.ID {
		return nil, fmt.Errorf("device: load state: it is that of %q, and knows nothing of the deliveries of %q: remove it", saved.ID, cfg.ID)
	}
	c.ledger = NewLedger(cfg.Dialect, saved)
	return c, nil
}

// dialTCP makes plain connections.
func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	return newDialer().DialContext(ctx, "tcp", addr)
}

// dialTLS makes encrypted connections. It keeps session tickets, so that a
// reconnect costs the gateway no signature.
func dialTLS(cfg *tls.Config) func(context.Context, string) (net.Conn, error) {
	cfg = cfg.Clone()
	if cfg.ClientSessionCache == nil {
		cfg.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	}
	d := tls.Dialer{NetDialer: newDialer(), Config: cfg}
	return func(ctx context.Context, addr string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }
}

func newDialer() *net.Dialer {
	return &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
}

// Run keeps the device connected until ctx ends (it returns ctx's error) or the
// gateway forbids a reconnect (it returns a *ClosedError). It waits for handlers,
// whose ctx ends with Run's. Only one Run may run at a time.
func (c *Client) Run(ctx context.Context) error {
	if !c.start() {
		return errors.New("device: Run is running already")
	}
	ctx, cancel := context.WithCancel(ctx)
	var workers sync.WaitGroup
	for range c.cfg.Workers {
		workers.Go(func() { c.work(ctx) })
	}
	err := c.reconnect(ctx)
	cancel()
	workers.Wait()
	c.stop()
	return err
}

func (c *Client) start() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	ok := !c.running
	c.running = true
	return ok
}

// stop makes the client ready for another Run. The gateway sends the deliveries
// again that no worker has begun.
func (c *Client) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.jobs) > 0 {
		m := <-c.jobs
		c.ledger.Decide(m.ticket, protocol.AckRetry, nil)
	}
	c.running = false
}

func (c *Client) reconnect(ctx context.Context) error {
	attempt := 0
	for {
		why, settled, forGood := c.connection(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if forGood {
			c.log.Error("closed for good", "code", why.Code, "reason", why.Reason, "text", why.Text)
			return &ClosedError{why}
		}
		if settled {
			attempt = 0
		}
		retry := c.cfg.Backoff.wait(attempt, why.RetryAfter)
		attempt++
		c.log.Warn("not connected", "code", why.Code, "reason", why.Reason, "text", why.Text, "retry", retry)
		if c.cfg.OnDisconnect != nil {
			c.cfg.OnDisconnect(why, retry)
		}
		select {
		case <-time.After(retry):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// connection makes one connection and runs it until it ends.
func (c *Client) connection(ctx context.Context) (why protocol.Close, settled, forGood bool) {
	token, err := c.token(ctx)
	if err != nil {
		return protocol.Close{Reason: protocol.ReasonConnectionLost, Text: "no token: " + err.Error()}, false, false
	}
	conn, err := c.cfg.Dial(ctx, c.cfg.Addr)
	if err != nil {
		return protocol.Close{Reason: protocol.ReasonConnectionLost, Text: err.Error()}, false, false
	}
	l := newLink(c, conn, token)
	why = l.run(ctx)
	return why, l.settled(), l.forGood()
}

func (c *Client) token(ctx context.Context) (string, error) {
	if c.cfg.TokenSource == nil {
		return c.cfg.Token, nil
	}
	return c.cfg.TokenSource(ctx)
}

func (c *Client) trace(s Step) {
	if c.cfg.Trace != nil {
		c.cfg.Trace(s)
	}
}

// signal wakes Run to read the mailbox.
func (c *Client) signal() {
	select {
	case c.wake <- struct{}{}:
	default: // an earlier signal is still pending
	}
}
