package engine

import (
	"errors"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// Reads of the current view. Package state knows the rows.

// Client returns a known client.
func (e *Engine) Client(id gateway.ClientID) (gateway.ClientRecord, error) {
	return read(e, func(v *view) (gateway.ClientRecord, error) { return v.Client(id) })
}

// Clients returns known clients in id order.
func (e *Engine) Clients(q gateway.ClientQuery) (gateway.Page[gateway.ClientRecord, gateway.ClientID], error) {
	return read(e, func(v *view) (gateway.Page[gateway.ClientRecord, gateway.ClientID], error) { return v.Clients(q) })
}

// Message returns a message.
func (e *Engine) Message(id gateway.MessageID) (gateway.Message, error) {
	return read(e, func(v *view) (gateway.Message, error) { return v.Message(id) })
}

// Messages returns messages, newest first.
func (e *Engine) Messages(q gateway.MessageQuery) (gateway.Page[gateway.Message, gateway.MessageID], error) {
	return read(e, func(v *view) (gateway.Page[gateway.Message, gateway.MessageID], error) { return v.Messages(q) })
}

// Repeated looks for the message of an idempotency key.
func (e *Engine) Repeated(a gateway.Acceptance) (r gateway.Receipt, ok bool, err error) {
	if a.IdempotencyKey == "" {
		return r, false, nil
	}
	err = e.read(func(v *view) (err error) {
		r, ok, err = v.Repeated(a, e.opt.IdempotencyRetention)
		return err
	})
	return r, ok, err
}

// Delivery returns one delivery.
func (e *Engine) Delivery(id gateway.MessageID, client gateway.ClientID) (gateway.Delivery, error) {
	return read(e, func(v *view) (gateway.Delivery, error) { return v.Delivery(id, client) })
}

// Deliveries returns a message's deliveries: in the order in which the clients
// first registered, those that were never seen last.
func (e *Engine) Deliveries(q gateway.DeliveryQuery) (gateway.Page[gateway.Delivery, gateway.ClientID], error) {
	return read(e, func(v *view) (gateway.Page[gateway.Delivery, gateway.ClientID], error) { return v.Deliveries(q) })
}

// ClientDeliveries returns a client's deliveries, newest first.
func (e *Engine) ClientDeliveries(q gateway.ClientDeliveryQuery) (gateway.Page[gateway.Delivery, gateway.Seq], error) {
	return read(e, func(v *view) (gateway.Page[gateway.Delivery, gateway.Seq], error) { return v.ClientDeliveries(q) })
}

// Uplinks returns stored uplinks of a client, or of all when client is "", with a
// sequence above after, oldest first.
func (e *Engine) Uplinks(client gateway.ClientID, after uint64, limit int) (gateway.Page[gateway.Uplink, uint64], error) {
	return read(e, func(v *view) (gateway.Page[gateway.Uplink, uint64], error) { return v.Uplinks(client, after, limit) })
}

// UplinksBefore returns those with a sequence below before, newest first.
func (e *Engine) UplinksBefore(client gateway.ClientID, before uint64, limit int) (gateway.Page[gateway.Uplink, uint64], error) {
	return read(e, func(v *view) (gateway.Page[gateway.Uplink, uint64], error) {
		return v.UplinksBefore(client, before, limit)
	})
}

// LastUplink returns the last sequence that an uplink was given; 0 for none.
func (e *Engine) LastUplink() (uint64, error) {
	return read(e, func(v *view) (uint64, error) { return v.State.Useq, nil })
}

// Events appends to buf up to limit events with a number above after.
func (e *Engine) Events(after uint64, limit int, buf []gateway.Event) (events []gateway.Event, through uint64, err error) {
	events = buf
	err = e.read(func(v *view) (err error) {
		events, through, err = v.Events(after, limit, buf)
		return err
	})
	return events, through, err
}

// ClientEvents returns events of one client, newest first.
func (e *Engine) ClientEvents(q gateway.ClientEventQuery) (gateway.Page[gateway.Event, uint64], error) {
	return read(e, func(v *view) (gateway.Page[gateway.Event, uint64], error) { return v.ClientEvents(q) })
}

// EventSpan returns the last number that was forgotten and the last one given.
func (e *Engine) EventSpan() (forgotten, last uint64, err error) {
	err = e.read(func(v *view) error {
		forgotten, last = v.EventSpan()
		return nil
	})
	return forgotten, last, err
}

// EventsBefore returns the last number before the first event from a time or later.
func (e *Engine) EventsBefore(t time.Time) (uint64, error) {
	return read(e, func(v *view) (uint64, error) { return v.EventsBefore(t) })
}

// Entries returns entries of the gateway's own.
func (e *Engine) Entries(prefix, after string, limit int) (gateway.Page[gateway.Entry, string], error) {
	return read(e, func(v *view) (gateway.Page[gateway.Entry, string], error) { return v.Entries(prefix, after, limit) })
}

// Next appends to buf the queued transmissions that q asks for.
func (e *Engine) Next(q gateway.TransmissionQuery, buf []gateway.Transmission) (transmissions []gateway.Transmission, last gateway.Seq, err error) {
	if q.Max <= 0 {
		return buf, 0, nil
	}
	err = e.read(func(v *view) (err error) {
		last = v.State.Seq
		buf, err = v.Next(q, buf)
		return err
	})
	return buf, last, err
}

// Transmission returns one queued transmission, ok false when it is final or unknown.
func (e *Engine) Transmission(client gateway.ClientID, seq gateway.Seq) (p gateway.Transmission, ok bool, err error) {
	err = e.read(func(v *view) (err error) {
		p, ok, err = v.Transmission(client, seq)
		return err
	})
	return p, ok, err
}

// mask returns the clients of the audience that a.Among names and a.Only wants.
func (e *Engine) mask(a *gateway.Acceptance) (record.Bitmap, error) {
	return read(e, func(v *view) (record.Bitmap, error) { return v.Mask(a) })
}

// read returns the answer of fn about the current view; see Engine.read.
func read[T any](e *Engine, fn func(v *view) (T, error)) (got T, err error) {
	err = e.read(func(v *view) (err error) {
		got, err = fn(v)
		return err
	})
	return got, err
}

// read runs fn on the current view. A read that fails is unavailable; an
// answer of the domain passes.
func (e *Engine) read(fn func(v *view) error) error {
	v, err := e.reading()
	if err != nil {
		return err
	}
	defer v.release()
	if err = fn(v); err == nil {
		return nil
	}
	if _, ok := errors.AsType[*gateway.Error](err); ok {
		return err
	}
	if c, ok := errors.AsType[*record.CorruptError](err); ok {
		e.noteCorrupt(v.inst, c)
	}
	return unavailable(err)
}

// noteCorrupt makes Health say that a damaged row was met.
func (e *Engine) noteCorrupt(inst *instance, err error) {
	if inst.NoteCorrupt(err) {
		e.opt.Logger.Error("damaged row", "error", err)
	}
}

// Recipients returns the audience that Accept would fix now.
func (e *Engine) Recipients(a gateway.Acceptance) (gateway.Recipients, error) {
	if err := e.Health(); err != nil {
		return gateway.Recipients{}, err
	}
	b := e.opt.bounds()
	return read(e, func(v *view) (gateway.Recipients, error) { return v.Recipients(&a, &b) })
}
