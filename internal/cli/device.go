package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	sdk "github.com/longwire/longwire/device"
	"github.com/longwire/longwire/protocol"
)

// ackPolicy decides how a simulated device answers messages.
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
	// maxWaiting bounds the uplinks and the unanswered messages of a device. At the
	// bound it reads no typed line, and reports a message as ignored.
	maxWaiting = 1000
	minBackoff = 500 * time.Millisecond
	maxBackoff = 30 * time.Second
	// settledAfter is how long a connection must live to reset the pause (SPEC §7.4).
	settledAfter = 30 * time.Second
)

// deviceConfig is the same for all devices of one command.
type deviceConfig struct {
	addr      string
	dialect   protocol.Dialect
	register  protocol.Register // the command sets its ID for each device
	ack       ackPolicy
	result    string        // sent with each ack
	latency   time.Duration // between receiving a message and answering it
	reconnect bool
	protocol  *protocol.Config
	dial      func(ctx context.Context, addr string) (net.Conn, error)
	// report is called from the device's goroutine for each event; it must be
	// quick.
	report func(deviceEvent)
}

// deviceEvent is one event of a device's life.
type deviceEvent struct {
	client string
	kind   string // connected, groups, received, asked, answered, sent, later, stored, refused, ignored, closed, left, retrying
	seq    string
	text   string
	again  bool // received: the server has marked it as sent before
}

// device is one simulated device. Its goroutine is run, with one reader per
// connection. run owns all fields except commands.
type device struct {
	deviceConfig
	commands chan command
	ended    chan struct{} // closed when run returns, after which no command is received

	uplinkSeq uint64
	uplinks   []uplink // not yet stored by the server, oldest first
	pending   []answer // received and not yet answered, oldest first
	ledger    *sdk.Ledger
}

// command is a typed line.
type command struct {
	uplink []byte           // nil for an answer
	seq    string           // answer: its message, "" for the oldest
	code   protocol.AckCode // answer
	result []byte
}

type uplink struct {
	seq     uint64
	payload []byte
	sent    bool // on the current connection
	again   bool // it was sent before
	// After an answer retry later: the pause that follows it, and its end.
	pause     time.Duration
	notBefore time.Time
}

// later begins the pause after an answer retry later. It grows with each (SPEC §2.2).
func (u *uplink) later(now time.Time) {
	u.pause = min(max(2*u.pause, time.Second), time.Minute)
	u.sent, u.notBefore = false, now.Add(u.pause)
}

// answer is a message that waits for the device's answer.
type answer struct {
	ticket    sdk.Ticket // of the ledger; zero for an ephemeral message and in v1
	seq       uint64
	ephemeral bool
	at        time.Time // when the policy answers; zero = a person answers
	code      protocol.AckCode
	result    []byte
}

func newDevice(cfg deviceConfig, id string) *device {
	cfg.register.ID = id
	return &device{deviceConfig: cfg, commands: make(chan command), ended: make(chan struct{}),
		ledger: sdk.NewLedger(cfg.dialect, sdk.Saved{})}
}

// errClosed reports a CLOSE that ended a connection.
type errClosed struct {
	protocol.Close
	unsaid bool // before any input: the registration cannot be sent
}

// forGood reports whether the device must not come back. If it has closed the connection
// itself, because the server or a proxy broke the protocol, it comes back (SPEC §7.4).
func (e errClosed) forGood() bool { return !e.Code.Reconnect() && (e.Remote || e.unsaid) }

func (e errClosed) Error() string { return "disconnected: " + closeText(e.Close) }

// run connects again after each loss, until ctx ends (then it returns nil) or the
// server's CLOSE says not to return.
func (d *device) run(ctx context.Context) error {
	defer close(d.ended)
	for failures := 0; ; {
		began := time.Now()
		registered, err := d.connectOnce(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if registered && time.Since(began) >= settledAfter {
			failures = 0
		}
		failures++
		closed, _ := errors.AsType[errClosed](err)
		if !d.reconnect || closed.forGood() {
			return err
		}
		pause := closed.RetryAfter + backoff(failures)
		d.note("retrying", "", fmt.Sprintf("%s; again in %s", oneLine(err.Error()), pause.Round(10*time.Millisecond)))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
	}
}

// backoff returns a random pause below a ceiling that doubles, so that a fleet does
// not return in one wave.
func backoff(failures int) time.Duration {
	ceiling := min(maxBackoff, minBackoff<<min(failures-1, 10))
	return ceiling/4 + rand.N(ceiling*3/4)
}

// connectOnce runs one connection. registered reports whether the server accepted
// it.
func (d *device) connectOnce(ctx context.Context) (registered bool, err error) {
	dctx, cancel := context.WithTimeout(ctx, dialTimeout)
	conn, err := d.dial(dctx, d.addr)
	cancel()
	if err != nil {
		return false, err
	}
	defer conn.Close()
	cn := &connection{device: d, conn: conn, session: protocol.NewDevice(d.protocol, d.dialect, d.registration(), time.Now())}
	err = cn.drive(ctx)
	return cn.registered, err
}

// registration begins a connection in the ledger. The server will send unanswered
// messages again.
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
	d.report(deviceEvent{client: d.register.ID, kind: kind, seq: seq, text: text})
}

// seqText returns a sequence as the text dialect writes it: e7 is valid in its
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

// groupsText says what a device knows about the groups that it asked for: the answer to
// a registration does not name the granted ones (SPEC §4.3).
func groupsText(id string, asked []string) string {
	return fmt.Sprintf("asked for %s; the gateway does not answer which of them it granted (auth.device_groups, or the token). "+
		"longwire clients get %s shows the groups of the client", strings.Join(asked, ", "), id)
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
