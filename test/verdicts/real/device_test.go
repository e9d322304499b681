package real

import (
	"fmt"
	"slices"
	"time"

	"github.com/longwire/longwire/device"
	"github.com/longwire/longwire/protocol"
)

// dev is the device: its ledger and protocol session, and what device.Client
// does between them (link.go, handler.go and uplink.go there).
type dev struct {
	w      *world
	ledger *device.Ledger
	saved  device.Saved
	jobs   map[uint64]device.Ticket // that workers have

	c          *conn // nil without a connection
	proto      *protocol.Session
	now        time.Time
	registered bool
	asks       bool

	number uint64
	up     []*uplink
}

type uplink struct {
	payload string
	number  uint64
	sent    bool // on this connection, and not to be sent again now
}

func newDev(w *world, saved device.Saved) *dev {
	d := &dev{w: w, saved: saved, jobs: map[uint64]device.Ticket{}}
	d.ledger = device.NewLedger(protocol.V2, saved)
	for i := range w.cfg.uplinks {
		d.number++
		d.up = append(d.up, &uplink{payload: fmt.Sprint("u", i+1), number: d.number})
	}
	return d
}

func (d *dev) connect(c *conn) {
	log, through := d.ledger.Connect()
	windows := d.w.cfg.window
	window := windows[min(d.w.connects, len(windows)-1)]
	d.w.connects++
	d.c, d.now, d.registered = c, time.Now(), false
	d.proto = protocol.NewDevice(d.w.wire, protocol.V2, protocol.Register{ID: client, Window: window, Log: log, Asks: true,
		AskThrough: through}, d.now)
	d.flush()
}

func (d *dev) flush() {
	out := d.proto.AppendOutput(nil)
	d.proto.Flushed(d.now, len(out))
	d.c.mu.Lock()
	defer d.c.mu.Unlock()
	if d.c.open {
		d.c.up = append(d.c.up, frames(out)...)
	}
}

// manner is how the device answers an ASK.
type manner uint8

const (
	heeds   manner = iota // as its ledger does
	ignores               // not at all
	forgets               // as a smaller ledger would: what was handled, its verdict is not kept
)

// receive reads one frame.
func (d *dev) receive(m manner) {
	d.c.mu.Lock()
	f := d.c.down[0]
	d.c.down = d.c.down[1:]
	d.c.mu.Unlock()
	d.proto.Receive(d.now, f)
	for d.c != nil {
		e, ok := d.proto.Next()
		if !ok {
			break
		}
		switch {
		case e.Kind != protocol.KindAsk:
			d.event(e)
		case m != ignores:
			v := d.ledger.Ask(e.Seq)
			if m == forgets && v.Code <= protocol.AckReject {
				v = device.Verdict{Seq: e.Seq, Code: protocol.AckNotKept}
			}
			d.answer(v)
		}
	}
	if d.c != nil {
		d.flush()
	}
}

func (d *dev) event(e protocol.Event) {
	w := d.w
	switch e.Kind {
	case protocol.KindRegistered:
		d.registered, d.asks = true, e.Registered.Ask
		same := e.Registered.Log == d.saved.Log
		if d.ledger.Registered(*e.Registered) {
			w.cover("ledger void")
			w.epoch(same)
			d.save()
		}
	case protocol.KindData:
		w.arrived(e.Seq)
		t, v, known := d.ledger.Receive(e.Seq, e.Payload)
		if known {
			w.cover("repeat answered from the ledger")
			d.answer(v)
			return
		}
		d.jobs[e.Seq] = t
		if d.ledger.Crowded() {
			w.cover("reconnect: too many holes")
			d.proto.Close(protocol.Close{Reason: protocol.ReasonClientClosed})
		}
	case protocol.KindAck:
		i := slices.IndexFunc(d.up, func(u *uplink) bool { return u.number == e.Seq })
		switch {
		case i < 0:
		case e.Code != protocol.AckOK:
			w.cover("uplink retried later")
			d.up[i].sent = false
		default:
			w.ghost.acked = append(w.ghost.acked, d.up[i].payload)
			d.up = slices.Delete(d.up, i, i+1)
		}
	case protocol.KindClosed:
		if e.Close.Reason == protocol.ReasonProtocolError {
			w.fail("the device ends a connection with %s: %s", e.Close.Reason, e.Close.Text)
		}
		d.flush()
		d.disconnect()
	}
}

func (d *dev) answer(v device.Verdict) { _ = d.proto.AckData(d.now, v.Seq, v.Code, v.Result) }

// disconnect closes the device's end. Workers go on.
func (d *dev) disconnect() {
	d.c.mu.Lock()
	d.c.device, d.c.down = false, nil
	d.c.mu.Unlock()
	d.c, d.proto, d.registered = nil, nil, false
	for _, u := range d.up {
		u.sent = false
	}
}

func (d *dev) save() (answers []device.Verdict) {
	if change, ok := d.ledger.Unsaved(); ok {
		d.saved.Apply(change)
	}
	return d.ledger.Release(true)
}

// verdict is how the handler ends a delivery.
type verdict uint8

const (
	plain verdict = iota
	result
	reject
	later
	oddly // "not handled" as the answer to a payload
	verdicts
)

var verdictNames = [verdicts]string{"ok", "ok with a result", "reject", "retry later", "not handled"}

func (v verdict) String() string { return verdictNames[v] }

// decide ends a worker's work.
func (d *dev) decide(seq uint64, v verdict) {
	t := d.jobs[seq]
	delete(d.jobs, seq)
	var code protocol.AckCode
	var said []byte
	switch v {
	case result:
		said = fmt.Appendf(nil, "result %d", seq)
	case reject:
		code, said = protocol.AckReject, fmt.Appendf(nil, "reason %d", seq)
	case later, oddly:
		code = protocol.AckRetry
	}
	if code != protocol.AckRetry {
		d.w.handled(seq, v, t)
	}
	if now, ok := d.ledger.Decide(t, code, said); ok && d.registered {
		if v == oddly {
			now.Code = protocol.AckSend
		}
		d.answer(now)
	}
	if code != protocol.AckRetry {
		for _, a := range d.save() {
			if d.registered {
				d.answer(a)
			}
		}
	}
	if d.c != nil {
		d.flush()
	}
}

// working says that a worker goes on.
func (d *dev) working(seq uint64) {
	d.ledger.Note(d.jobs[seq], []byte("half"))
	for _, v := range d.ledger.Working() {
		d.answer(v)
	}
	d.flush()
}

// sendUplink sends one that waits, or again one that has no answer.
func (d *dev) sendUplink(i int) {
	u := d.up[i]
	if err := d.proto.Send(d.now, protocol.Data{Seq: u.number, Payload: []byte(u.payload), Dup: u.sent}); err == nil {
		u.sent = true
	}
	d.flush()
}

// restart begins with the saved state; wipe with nothing.
func (d *dev) restart(wipe bool) {
	if d.c != nil {
		d.disconnect()
	}
	d.jobs = map[uint64]device.Ticket{}
	if wipe {
		d.saved, d.number = device.Saved{}, 0
		for _, u := range d.up { // another payload, and the numbers begin anew
			d.number++
			u.number, u.payload = d.number, u.payload+"'"
		}
	}
	d.ledger = device.NewLedger(protocol.V2, d.saved)
}
