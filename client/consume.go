package client

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ConsumeOptions changes how Consume works. The zero value has the defaults.
type ConsumeOptions struct {
	Max int // events of one pull, 1 to 1,000; 0 = 100
	// AckEvery is after how many events Consume acks; 0 = after each pull, and once a
	// second in a long one. Each ack is a synced write of the gateway.
	AckEvery int
	// Retry has the pauses after a failed handler and after a failed call. A zero Base is
	// 1 s and a zero Max 1 min; Attempts does not count.
	Retry Retry
	// Failed, if set, is called after each failure of the handler, with the pause before
	// the same event is handled again. It must not block.
	Failed func(ev Event, err error, pause time.Duration)
	// Waiting, if set, is called after each failed call of the gateway, with the pause
	// before the next one. It must not block.
	Waiting func(err error, pause time.Duration)
}

const (
	consumeWait = 20 * time.Second // of one pull for its first event
	renewEvery  = 10 * time.Second // a third of the gateway's lease
	ackAfter    = time.Second      // handled events wait no longer for their ack while others follow
	lastAck     = 5 * time.Second  // for the ack after the end of the context
	askForLease = 10 * time.Second // at least so often while another puller has the consumer
)

// Consume pulls the events of a consumer, calls handle for one after the other, and acks
// the handled ones. It returns when ctx ends, with ctx's cause, or with the error of a
// call that cannot succeed by a repeat, such as a *Problem with CodeConsumerNotFound. The
// error wraps a second one if the events that were handled last could not be acked.
//
// Each event is handled at least once, in the order of the log. An event counts as
// handled when handle returns nil. After an error Consume handles the same event again,
// after a growing pause, and the later events wait: a handler that wants to pass over an
// event returns nil. An event is handled again if its ack has not reached the gateway
// before the end of the process. Drop such repeats by Event.ID. Consume itself does not
// repeat an event that it has handled, even if the gateway was restarted before the ack.
//
// While handle runs, Consume renews the lease every 10 s. A second process waits for the
// lease, and is a stand-by for the first: it continues within 10 s when Consume of the
// first has returned, and within 40 s after a crash. A process that cannot reach the
// gateway for 30 s loses its lease; the stand-by may then handle the same event at the
// same time.
//
// If the gateway has removed events that were not pulled, handle gets an event of the type
// EventGap in their place.
func (c *Client) Consume(ctx context.Context, name string, o ConsumeOptions, handle func(context.Context, Event) error) error {
	if o.Retry.Base <= 0 {
		o.Retry.Base = time.Second
	}
	if o.Retry.Max <= 0 {
		o.Retry.Max = time.Minute
	}
	s := &consumption{client: c, name: name, options: o, handle: handle, done: map[string]bool{}}
	err := s.run(ctx)
	if last := s.finish(ctx); last != nil {
		return fmt.Errorf("%w; the events that were handled last come again: %w", err, last)
	}
	return err
}

// run pulls and handles events until ctx ends or a repeat of a call cannot help.
func (s *consumption) run(ctx context.Context) error {
	for failures := 0; ; {
		err := s.once(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err == nil {
			failures = 0
			continue
		}
		if !isHeld(err) && !transient(err) {
			return err
		}
		failures++
		pause := s.pause(failures, err)
		if s.options.Waiting != nil {
			s.options.Waiting(err, pause)
		}
		if sleep(ctx, pause) != nil {
			return context.Cause(ctx)
		}
	}
}

func isHeld(err error) bool {
	p, ok := errors.AsType[*Problem](err)
	return ok && p.Code() == CodeLeaseHeld
}

// errIdle means that a pull with a wait was answered at once and without news, as by a
// gateway that drains.
var errIdle = errors.New("the gateway does not wait for events")

// consumption is one run of Consume.
type consumption struct {
	client  *Client
	name    string
	options ConsumeOptions
	handle  func(context.Context, Event) error
	last    string // Through of the last pull

	mu      sync.Mutex // held during an ack: acks do not overtake each other
	lease   string
	through string          // behind the last handled event, "" if all of them are acked
	done    map[string]bool // ids of handled events that are not acked
	ackedAt time.Time
}

// pause is the pause after a failed call. Another puller may give its lease back at any
// time, so Consume asks again before the lease ends.
func (s *consumption) pause(failures int, err error) time.Duration {
	if isHeld(err) {
		return min(s.options.Retry.backoff(failures), askForLease)
	}
	if p, ok := errors.AsType[*Problem](err); ok && p.RetryAfter > 0 {
		return min(p.RetryAfter, time.Minute)
	}
	return s.options.Retry.backoff(failures)
}

// once pulls, handles and acks one batch.
func (s *consumption) once(ctx context.Context) error {
	b, err := s.pull(ctx)
	if err != nil {
		return err
	}
	if len(b.Events) == 0 && !b.Gap && b.Through == s.last {
		return nil
	}
	stop := s.renewing(ctx)
	defer stop()
	if b.Gap {
		gap := Event{Type: EventGap, Data: EventData{Detail: "events were removed before they were pulled"}}
		if err := s.handled(ctx, gap); err != nil {
			return err
		}
	}
	for _, ev := range b.Events {
		if s.wasHandled(ev.ID) {
			continue
		}
		if err := s.handled(ctx, ev); err != nil {
			return err
		}
		if err := s.advance(ctx, ev.Sequence, ev.ID); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.through, s.last = b.Through, b.Through
	return s.ackLocked(ctx, false)
}

// pull makes one attempt, so that the loop of Consume decides on the next one.
func (s *consumption) pull(ctx context.Context) (*Batch, error) {
	s.mu.Lock()
	lease := s.lease
	s.mu.Unlock()
	b, begun := &Batch{}, time.Now()
	_, err := s.client.attempt(ctx, Pull{Max: s.options.Max, Wait: consumeWait, Lease: lease}.request(s.name), b)
	if err != nil {
		return nil, err
	}
	b.setPositions()
	s.mu.Lock()
	s.lease = b.Lease
	s.mu.Unlock()
	if len(b.Events) == 0 && !b.Gap && b.Through == s.last && time.Since(begun) < ackAfter {
		return nil, errIdle
	}
	return b, nil
}

// handled calls the handler until it has handled an event or ctx ends.
func (s *consumption) handled(ctx context.Context, ev Event) error {
	for failures := 1; ; failures++ {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err := s.handle(ctx, ev)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		pause := s.options.Retry.backoff(failures)
		if s.options.Failed != nil {
			s.options.Failed(ev, err, pause)
		}
		// The events before the failed one wait no longer. If the gateway is away, a later
		// ack has them, too.
		s.mu.Lock()
		if s.through != "" {
			_ = s.ackLocked(ctx, false)
		}
		s.mu.Unlock()
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// wasHandled reports whether an event is handled and not acked yet.
func (s *consumption) wasHandled(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.done[id]
}

// advance takes note of a handled event, and acks when it is time.
func (s *consumption) advance(ctx context.Context, sequence, id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.through, s.done[id] = sequence, true
	every := s.options.AckEvery
	if every > 0 && len(s.done) >= every || every <= 0 && time.Since(s.ackedAt) >= ackAfter {
		return s.ackLocked(ctx, false)
	}
	return nil
}

// ackLocked acks the handled events, and renews the lease or gives it back. Without an
// event it does only that: the begin of the log moves no cursor.
func (s *consumption) ackLocked(ctx context.Context, release bool) error {
	r, err := ackRequest(s.name, consumerAck{cmp.Or(s.through, "0"), s.lease, release}).encoded()
	if err != nil {
		return err
	}
	if _, err := s.client.attempt(ctx, r, nil); err != nil {
		return err
	}
	s.through, s.ackedAt = "", time.Now()
	clear(s.done)
	return nil
}

// renewing renews the lease until stop is called; stop waits for the last renewal. Its
// errors are left to the next call of the loop.
func (s *consumption) renewing(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for sleep(ctx, renewEvery) == nil {
			s.mu.Lock()
			_ = s.ackLocked(ctx, false)
			s.mu.Unlock()
		}
	}()
	return func() { cancel(); <-ended }
}

// finish acks the handled events when Consume ends, and lets the next puller in. Its error
// says that some of them are not acked.
func (s *consumption) finish(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastAck)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lease == "" {
		return nil
	}
	unacked := len(s.done) > 0
	if err := s.ackLocked(ctx, true); unacked {
		return err
	}
	return nil // without the call the lease ends 30 s later
}
