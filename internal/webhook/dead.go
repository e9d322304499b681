package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/feed"
)

// Dead returns dead letters, oldest first: up to limit behind the event numbered after.
func (m *Manager) Dead(id string, l apikey.Limit, after uint64, limit int) (list []DeadLetter, more bool, err error) {
	if _, _, err := m.find(id, l); err != nil {
		return nil, false, err
	}
	if err := m.save(context.Background()); err != nil {
		return nil, false, err
	}
	begin := ""
	if after > 0 {
		begin = deadKey(id, after)
	}
	page, err := m.cfg.Gateway.Entries(keyDead+id+" ", begin, limit)
	for _, e := range page.Items {
		var d DeadLetter
		if err := json.Unmarshal(e.Value, &d); err != nil {
			return nil, false, err
		}
		if d.ID == "" { // earlier versions wrote null
			d.Body = nil
		}
		list = append(list, d)
	}
	return list, page.More, err
}

// Redeliver sends dead letters again, oldest first, until one fails or ctx ends, or the
// webhook is deleted. It removes those that the endpoint takes, and returns how many those
// are and the last attempt's error. A change of the webhook counts from the next request on.
// An event that could not be read from the store is read again; the letter of one that the log
// no longer has is removed, and not counted.
func (m *Manager) Redeliver(ctx context.Context, id string, l apikey.Limit) (n int, failed string, err error) {
	e, _, err := m.find(id, l)
	if err != nil {
		return 0, "", err
	}
	done, ok := m.byHand(e)
	if !ok {
		return 0, errByHand, nil
	}
	defer done()
	for {
		list, _, err := m.Dead(id, l, 0, 100)
		if err != nil || len(list) == 0 {
			return n, "", err
		}
		for _, d := range list {
			_, w, err := m.find(id, l)
			if err != nil {
				return n, "", err
			}
			if d.Body == nil {
				d.Body, d.ID, err = m.encodeAgain(d.Event, w.Payloads)
			}
			if errors.Is(err, errForgotten) {
				m.cfg.Logger.Warn("the log no longer has the event of a dead letter", "webhook", id, "event", d.Event, "client", d.Client)
				if err := m.dropDead(ctx, e, id, d.Event); err != nil {
					return n, "", err
				}
				continue
			}
			if err != nil {
				return n, errUnreadable, nil
			}
			a, _, _ := e.post(ctx, &w, d.ID, d.Body, true)
			a.Event, a.Type, a.Client, a.Try, a.Replay = d.Event, d.Type, d.Client, 1, true
			m.mu.Lock()
			e.attempts.add(a.Attempt, len(e.m.endpoints))
			e.health.obey(a.retryAfter, m.cfg.Now())
			m.mu.Unlock()
			if !a.ok {
				return n, a.Error, nil
			}
			if err := m.dropDead(context.WithoutCancel(ctx), e, id, d.Event); err != nil {
				return n, "", err
			}
			n++
		}
	}
}

// dropDead removes a dead letter.
func (m *Manager) dropDead(ctx context.Context, e *endpoint, id string, event uint64) error {
	m.changes.Lock()
	defer m.changes.Unlock()
	if err := m.cfg.Gateway.Put(ctx, []gateway.Entry{{Key: deadKey(id, event)}}); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	e.buried = slices.DeleteFunc(e.buried, func(g grave) bool { return g.event == event })
	return nil
}

// errForgotten means that the log no longer has an event.
var errForgotten = errors.New("the log no longer has this event")

// encodeAgain returns the body for the event of that number, and its id.
func (m *Manager) encodeAgain(number uint64, payloads bool) (body []byte, id string, err error) {
	ev, ok, err := m.cfg.Gateway.Event(number)
	if err != nil {
		return nil, "", err
	}
	if !ok {
		return nil, "", errForgotten
	}
	return m.cfg.Encode(&ev, payloads)
}

// replayPause is the least time between two requests of a replay.
const replayPause = 10 * time.Millisecond

// ErrBusy means that a replay of the webhook is under way.
var ErrBusy = errors.New("a replay of the webhook is under way")

// Replay sends the events behind a position again, up to the one numbered until, with
// the header Webhook-Replay, one after the other. It runs in the background, with the
// retries of a parked event; it ends with the process, and when the webhook is changed.
func (m *Manager) Replay(id string, l apikey.Limit, after, until uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, err := m.findLocked(id, l)
	if err != nil {
		return err
	}
	if e.replaying {
		return ErrBusy
	}
	if e.hook.Condition() != Active {
		return &FieldError{"state", "must be active for a replay"}
	}
	e.replaying = true
	w, ctx, filter := e.hook, e.ctx, e.filter
	m.readers.Go(func() {
		err := e.replay(ctx, &w, filter, after, until)
		m.mu.Lock()
		defer m.mu.Unlock()
		e.replaying = false
		if err != nil && ctx.Err() == nil {
			m.cfg.Logger.Warn("a replay has ended early", "webhook", w.ID, "cause", err)
		}
	})
	return nil
}

func (e *endpoint) replay(ctx context.Context, w *Webhook, filter *feed.Compiled, after, until uint64) error {
	sub, _, err := e.m.cfg.Gateway.Subscribe(after)
	if err != nil {
		return err
	}
	for sub.Position() < until {
		events, err := sub.Read(ctx, make([]gateway.Event, 0, scanEvents)) // until may have no event
		if err == nil {
			events, err = filter.Select(events)
		}
		if err != nil && !errors.Is(err, gateway.ErrOverflow) {
			return err
		}
		for _, ev := range events {
			if ev.Seq > until {
				return nil
			}
			if w.unasked(&ev) {
				continue
			}
			for try := 1; ; try++ {
				if err := e.untilAsked(ctx); err != nil {
					return err
				}
				a := e.deliver(ctx, w, &ev, try, true)
				e.m.mu.Lock()
				e.attempts.add(a.Attempt, len(e.m.endpoints))
				if ctx.Err() == nil {
					e.health.obey(a.retryAfter, e.m.cfg.Now())
				}
				e.m.mu.Unlock()
				if a.ok {
					break
				}
				if a.gone || try >= replayTries {
					return errors.New(a.Error)
				}
				if err := sleep(ctx, backoff(try)); err != nil {
					return err
				}
			}
			if err := sleep(ctx, replayPause); err != nil {
				return err
			}
		}
	}
	return nil
}

// untilAsked waits until the endpoint takes requests again, if it has asked for a pause.
func (e *endpoint) untilAsked(ctx context.Context) error {
	for {
		e.m.mu.Lock()
		wait := e.health.asked.Sub(e.m.cfg.Now())
		e.m.mu.Unlock()
		if wait <= 0 {
			return nil
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// replayTries is how often a replay sends one event.
const replayTries = 5

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
