package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"

	sdk "github.com/longwire/longwire/device"
	"github.com/longwire/longwire/protocol"
)

// ackPolicy says how a simulated device answers what it gets.
type ackPolicy string

const (
	ackAuto   ackPolicy = "auto"
	ackManual ackPolicy = "manual"
	ackNever  ackPolicy = "never"
	ackReject ackPolicy = "reject"
)

const (
	dialTimeout  = 10 * time.Second
	writeTimeout = 10 * time.Second
	// maxWaiting bounds the uplinks and the unanswered messages that a device
	// holds. At the bound no more is taken from the keyboard, and a message
	// stays unanswered, which is told.
	maxWaiting = 1000
	minBackoff = 500 * time.Millisecond
	maxBackoff = 30 * time.Second
)

// deviceConfig is what all devices of one command have in common.
type deviceConfig struct {
	addr      string
	dialect   protocol.Dialect
	register  protocol.Register // its ID is left to each device
	ack       ackPolicy
	result    string        // sent with each ack
	latency   time.Duration // between getting a message and answering it
	reconnect bool
	protocol  *protocol.Config
	dial      func(ctx context.Context, addr string) (net.Conn, error)
	// tell is called from the device's goroutine for everything that happens;
	// it must be quick.
	tell func(happening)
}

// happening is one thing that a device did or met.
type happening struct {
	client string
	kind   string // connected, received, asked, answered, sent, stored, refused, ignored, closed, left, retrying
	seq    string
	text   string
	again  bool // received: the server says it has sent this before
}

// device is one simulated device: run is its goroutine, with one reader per
// connection. All fields belong to run but commands.
type device struct {
	deviceConfig
	commands chan command
	ended    chan struct{} // closed when run returns: nobody takes commands any more

	uplinkSeq uint64
	uplinks   []uplink // not stored by the server yet, oldest first
	pending   []answer // received, to be answered (by policy or by hand), oldest first
	ledger    *sdk.Ledger
}

// command is what a person typed.
type command struct {
	uplink []byte           // nil for an answer
	seq    string           // answer: which message, "" for the oldest
	code   protocol.AckCode // answer
	result []byte
}

type uplink struct {
	seq     uint64
	payload []byte
	sent    bool // on this connection
}

// answer is a message that waits for the device's verdict.
type answer struct {
	ticket    sdk.Ticket // the ledger's; zero for an ephemeral message and in v1
	seq       uint64
	ephemeral bool
	at        time.Time // when the policy answers; zero = a person does
	code      protocol.AckCode
	result    []byte
}

func newDevice(cfg deviceConfig, id string) *device {
	cfg.register.ID = id
	return &device{deviceConfig: cfg, commands: make(chan command), ended: make(chan struct{}),
		ledger: sdk.NewLedger(cfg.dialect, sdk.Saved{})}
}

// errClosed is the end of a device that is not to come back.
type errClosed struct{ protocol.Close }

func (e errClosed) Error() string { return "disconnected: " + closeText(e.Close) }

// run connects, and connects again, until ctx ends (then nil) or the server
// says to stay away.
func (d *device) run(ctx context.Context) error {
	defer close(d.ended)
	for failures := 0; ; {
		registered, err := d.once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if registered {
			failures = 0
		}
		failures++
		closed, _ := errors.AsType[errClosed](err)
		if !d.reconnect || !closed.Code.Reconnect() {
			return err
		}
		pause := max(closed.RetryAfter, backoff(failures))
		d.note("retrying", "", fmt.Sprintf("%s; again in %s", oneLine(err.Error()), pause.Round(10*time.Millisecond)))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// backoff is a random pause below a ceiling that doubles, so that a fleet does
// not come back in one wave.
func backoff(failures int) time.Duration {
	ceiling := min(maxBackoff, minBackoff<<min(failures-1, 10))
	return ceiling/4 + rand.N(ceiling*3/4)
}

// once lives one connection. registered tells that the server took it.
func (d *device) once(ctx context.Context) (registered bool, err error) {
	dctx, cancel := context.WithTimeout(ctx, dialTimeout)
	conn, err := d.dial(dctx, d.addr)
	cancel()
	if err != nil {
		return false, err
	}
	defer conn.Close()
	l := &life{device: d, conn: conn, session: protocol.NewDevice(d.protocol, d.dialect, d.registration(), time.Now())}
	err = l.live(ctx)
	return l.registered, err
}

// registration begins a connection in the ledger. The server sends again what
// was received and not answered.
func (d *device) registration() protocol.Register {
	for _, a := range d.pending {
		d.ledger.Decide(a.ticket, protocol.AckRetry, nil)
	}
	d.pending = nil
	r := d.register
	r.Asks = d.dialect.Resumes()
	r.Log, r.AskThrough = d.ledger.Connect()
	return r
}

func (d *device) note(kind, seq, text string) {
	d.tell(happening{client: d.register.ID, kind: kind, seq: seq, text: text})
}

// seqText writes a sequence as the text dialect does: e7 counts in this
// session only.
func seqText(seq uint64, ephemeral bool) string {
	switch {
	case ephemeral:
		return fmt.Sprintf("e%d", seq)
	case seq == 0:
		return ""
	}
	return fmt.Sprint(seq)
}

func connectedText(addr string, d protocol.Dialect, r *protocol.Registered) string {
	s := fmt.Sprintf("to %s, dialect %s", addr, d)
	if r != nil && r.Session != "" {
		s += ", " + r.Session
	}
	if r != nil && r.Heartbeat > 0 {
		s += ", heartbeat " + r.Heartbeat.String()
	}
	return s
}

func closeText(c protocol.Close) string {
	s := c.Reason
	if c.Text != "" && c.Text != c.Reason {
		s += ": " + c.Text
	}
	if c.Code != 0 {
		s += fmt.Sprintf(" (%d)", c.Code)
	}
	if c.RetryAfter > 0 {
		s += fmt.Sprintf(", come back after %s", c.RetryAfter)
	}
	if s == "" {
		return io.EOF.Error()
	}
	return s
}
