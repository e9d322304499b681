package engine

import (
	"bytes"
	"context"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
	"github.com/longwire/longwire/internal/engine/state"
)

// Accept stores a message with its audience and returns when both are on
// stable storage.
func (e *Engine) Accept(ctx context.Context, a gateway.Acceptance) (gateway.Receipt, error) {
	begun := time.Now()
	ev, err := e.acceptEvent(a)
	if err != nil {
		return gateway.Receipt{}, err
	}
	var r state.Result
	answered, err := e.place(ctx, ev, &r)
	if answered {
		ev.Free()
	}
	if err == nil {
		e.stats.accept.add(time.Since(begun))
	}
	return r.Receipt, err
}

// StartAccept is Accept for a caller that does not wait.
func (e *Engine) StartAccept(a gateway.Acceptance, done func(gateway.Receipt, error)) {
	begun := time.Now()
	ev, err := e.acceptEvent(a)
	if err != nil {
		done(gateway.Receipt{}, err)
		return
	}
	o := waited(ev)
	e.stuck.enter(o.reply, func(cause error) { done(gateway.Receipt{}, unavailable(cause)) })
	o.reply.told = func(r state.Result) {
		ev.Free()
		if !e.stuck.leave(o.reply) {
			return
		}
		if r.Err == nil {
			e.stats.accept.add(time.Since(begun))
		}
		done(r.Receipt, r.Err)
	}
	if err := e.queue.push(context.Background(), o); err != nil && e.stuck.leave(o.reply) {
		done(gateway.Receipt{}, unavailable(err))
	}
}

// acceptEvent returns the event of a message.
func (e *Engine) acceptEvent(a gateway.Acceptance) (*record.Accept, error) {
	if err := e.Health(); err != nil {
		return nil, err
	}
	ev := record.NewAccept(a)
	if (a.Only != nil || a.Among != nil) && a.To.Client == "" && len(a.To.Clients) == 0 {
		mask, err := e.mask(&ev.Acceptance)
		if err != nil {
			return nil, err
		}
		ev.Mask, ev.Only, ev.Among = mask, nil, nil
	}
	return ev, nil
}

// do sends an event through the log at once and waits until its result is
// durable. When ctx ends first the outcome is unknown.
func (e *Engine) do(ctx context.Context, ev record.Event) (r state.Result, err error) {
	_, err = e.place(ctx, ev, &r)
	return r, err
}

// place is do. It reports whether there was an answer: else the event may still be
// under way.
func (e *Engine) place(ctx context.Context, ev record.Event, r *state.Result) (answered bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, unavailable(err)
	}
	o := waited(ev)
	stuck := e.stuck.waits()
	if err := e.queue.push(ctx, o); err != nil {
		return false, unavailable(err)
	}
	select {
	case <-o.reply.done:
		*r = o.reply.Result
		o.reply.free()
		return true, r.Err
	case <-ctx.Done():
		return false, unavailable(ctx.Err())
	case <-stuck.ended:
		return false, unavailable(stuck.cause)
	}
}

// Settle proposes a final state.
func (e *Engine) Settle(o gateway.Outcome, urgent bool) error {
	if p := e.failure.Load(); p != nil {
		return unavailable(*p)
	}
	p := e.proposal(o, urgent)
	if err := e.queue.push(context.Background(), p); err != nil {
		p.uncount()
		return unavailable(err)
	}
	return nil
}

// TrySettle is Settle when there is room for it now.
func (e *Engine) TrySettle(o gateway.Outcome, urgent bool) bool {
	if e.failure.Load() != nil {
		return false
	}
	p := e.proposal(o, urgent)
	took := e.queue.offer(p)
	if !took {
		p.uncount()
		p.event.(*record.Settle).Free()
	}
	return took
}

// ProposeExpiry makes the open deliveries of a message expired, if it was due at
// the time at.
func (e *Engine) ProposeExpiry(id gateway.MessageID, at time.Time) error {
	if p := e.failure.Load(); p != nil {
		return unavailable(*p)
	}
	if err := e.queue.push(context.Background(), lazy(&record.Expire{ID: id, At: at}, true)); err != nil {
		return unavailable(err)
	}
	return nil
}

// Cancel makes every delivery of the message that is not final canceled.
func (e *Engine) Cancel(ctx context.Context, id gateway.MessageID, at time.Time) (gateway.Message, error) {
	r, err := e.do(ctx, &record.Cancel{ID: id, At: at})
	return r.Message, err
}

// Purge cancels the queued deliveries of client within span.
func (e *Engine) Purge(ctx context.Context, client gateway.ClientID, span gateway.Span, at time.Time) (int, error) {
	r, err := e.do(ctx, &record.Purge{Client: client, At: at, Span: span})
	return r.N, err
}

// Register remembers a client that has connected.
func (e *Engine) Register(ctx context.Context, r gateway.Registration) (gateway.ClientRecord, gateway.Seq, error) {
	if err := e.roomForStranger(r.Client); err != nil {
		return gateway.ClientRecord{}, 0, err
	}
	res, err := e.do(ctx, &record.Register{Registration: r})
	return res.Record, res.Given, err
}

// Disconnected ends a session. An end that has no room in the queue, or fails with its
// record, is owed until it has a place in the log.
func (e *Engine) Disconnected(d gateway.Disconnection) {
	o := lazy(&record.Disconnected{Disconnection: d}, false)
	o.owed = &e.owed
	if !e.queue.offer(o) {
		e.owed.add(o.event.(*record.Disconnected))
	}
}

// Note puts an event into the log that no change makes.
func (e *Engine) Note(ctx context.Context, v gateway.Event) error {
	v.Result = bytes.Clone(v.Result)
	_, err := e.do(ctx, &record.Note{Event: v})
	return err
}

// Put writes entries of the gateway's own in one step.
func (e *Engine) Put(ctx context.Context, entries []gateway.Entry) error {
	for i := range entries {
		if v := &entries[i]; len(v.Key) == 0 || len(v.Key) > gateway.MaxEntryKey || len(v.Value) > gateway.MaxEntryValue {
			return &gateway.Error{Code: gateway.CodeValidation, Limit: gateway.MaxEntryValue, Message: "an entry is beyond its bounds"}
		}
	}
	_, err := e.do(ctx, &record.Put{Entries: entries})
	return err
}

// UpdateClient changes labels, groups or the block of a known client.
func (e *Engine) UpdateClient(ctx context.Context, client gateway.ClientID, c gateway.ClientChange) (gateway.ClientRecord, error) {
	r, err := e.do(ctx, &record.Update{Client: client, Change: c, Account: c.Account})
	return r.Record, err
}

// CreateClient adds a client that has never registered.
func (e *Engine) CreateClient(ctx context.Context, client gateway.ClientID, at time.Time, account string, c gateway.ClientChange) (gateway.ClientRecord, error) {
	if err := e.roomForStranger(client); err != nil {
		return gateway.ClientRecord{}, err
	}
	r, err := e.do(ctx, &record.Update{Client: client, Change: c, Created: at, Account: account})
	return r.Record, err
}

// ForgetClient removes a client with all that is queued for it.
func (e *Engine) ForgetClient(ctx context.Context, client gateway.ClientID, at time.Time) (int, error) {
	r, err := e.do(ctx, &record.RemoveClient{Client: client, At: at})
	return r.N, err
}

// AppendUplink stores a payload from a device and returns its sequence when it
// is on stable storage.
func (e *Engine) AppendUplink(ctx context.Context, u gateway.Uplink) (uint64, error) {
	if err := e.Health(); err != nil {
		return 0, err
	}
	u.Payload = bytes.Clone(u.Payload)
	r, err := e.do(ctx, &record.Uplink{Uplink: u})
	return r.Useq, err
}
