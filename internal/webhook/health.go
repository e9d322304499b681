package webhook

import (
	"math/rand/v2"
	"time"
)

const (
	parkAfter     = 3 // failures of an event
	maxParked     = 10_000
	downAfter     = time.Minute        // without a success, while requests fail
	disabledAfter = 5 * 24 * time.Hour // likewise
)

// maxPause is longer than each pause before a retry.
const maxPause = 2 * time.Hour

// backoff returns the pause after n failures in a row, within 20 % of a step.
func backoff(n int) time.Duration {
	d := longestBackoff(n) * 2 / 3
	return d + rand.N(d/2)
}

func longestBackoff(n int) time.Duration {
	steps := [...]time.Duration{time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour}
	return steps[min(max(n, 1), len(steps))-1] * 6 / 5
}

// health is how the endpoint answers.
type health struct {
	LastSuccess time.Time
	failing     time.Time // when the failures since the last success began
	fails       int
	hold        time.Time // no request before
	asked       time.Time // the endpoint has asked for no request before: Retry-After
	down        bool
	missed      uint64 // numbers of the log that were forgotten before they were read
	lost        uint64 // position up to which they are counted
}

// obey notes that the endpoint has asked for no request for a time. Of several such answers
// the one counts that asks for the longest time.
func (h *health) obey(retryAfter time.Duration, now time.Time) {
	if until := now.Add(retryAfter); retryAfter > 0 && until.After(h.asked) {
		h.asked = until
		if until.After(h.hold) {
			h.hold = until
		}
	}
}

// answeredLocked notes the answer to a request.
func (e *endpoint) answeredLocked(r *request, a answer) {
	now, l, it := e.m.cfg.Now(), r.lane, r.item
	e.attempts.add(a.Attempt, len(e.m.endpoints))
	if a.ok {
		e.m.delivered++
	} else {
		e.m.failed++
	}
	if r.run != e.run {
		return // the webhook was changed since; the event is sent again
	}
	e.inflight--
	l.busy = false
	h := &e.health
	switch {
	case a.ok:
		if h.down {
			h.hold = time.Time{}
		}
		h.LastSuccess, h.failing, h.fails, h.down = now, time.Time{}, 0, false
		e.deliveredLocked(l, it)
	case a.gone:
		h.failing = now
		e.disableLocked(Gone)
		return
	case e.m.closed:
	default:
		if e.failedLocked(l, it, a, now) {
			return
		}
	}
	e.offerLocked(l)
}

// deliveredLocked removes an event that was delivered, or given up.
func (e *endpoint) deliveredLocked(l *lane, it *item) {
	p := e.parked[l.key]
	if it.place != nil {
		e.passed = max(e.passed, it.event.Seq)
	}
	e.popLocked(l)
	if p == nil {
		return
	}
	p.First, p.Fails, p.Since, p.Failing, p.began, p.Left = it.event.Seq+1, 0, time.Time{}, 0, time.Time{}, time.Time{}
	e.touched[l.key] = true
	if !p.live && e.hasRoomLocked(l.key, p) {
		e.scanAt = time.Time{}
	}
	e.unparkLocked(l.key, p)
}

// failedLocked decides what happens after a failure. It returns true if the webhook is
// disabled.
func (e *endpoint) failedLocked(l *lane, it *item, a answer, now time.Time) bool {
	h := &e.health
	if !a.unread { // else it says nothing about the endpoint
		if h.failing.IsZero() {
			h.failing = now
		}
		h.fails++
		if now.Sub(h.failing) >= disabledAfter {
			e.disableLocked(NoSuccess)
			return true
		}
		if now.Sub(h.failing) >= downAfter {
			h.down = true
		}
		h.obey(a.retryAfter, now)
		if h.down {
			if pause := now.Add(backoff(h.fails)); pause.After(h.hold) {
				h.hold = pause
			}
			return false
		}
	}
	l.fails++
	if l.since.IsZero() {
		l.since = now
	}
	p := e.parked[l.key]
	if p != nil {
		if p.Since.IsZero() {
			p.Since, p.began = now, now
		}
		l.since = p.began
	}
	if now.Sub(l.since) >= e.hook.RetryFor {
		e.m.deadLetters++
		e.dead = append(e.dead, DeadLetter{Event: it.event.Seq, Type: it.event.Type, Client: it.event.Client, At: now,
			Error: a.Error, Status: a.Status, ID: a.id, Body: a.body})
		e.deliveredLocked(l, it)
		return false
	}
	switch {
	case p != nil:
		e.parkLocked(l, it, p.Fails+1, now)
	case l.fails >= parkAfter && len(e.parked) < maxParked:
		e.parkLocked(l, it, l.fails, now)
	default:
		l.next = now.Add(backoff(l.fails))
		if e.room != nil && e.spillLocked() {
			e.roomLocked()
		}
	}
	return false
}
