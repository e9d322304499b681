package gateway

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// ProbeTime is how long a probe waits for the device's answer.
const ProbeTime = 1500 * time.Millisecond

// MaxProbes bounds the probes that wait for a device.
const MaxProbes = 1024

// Probed is the result of a probe.
type Probed struct {
	Presence Presence
	// RTT is the time from the heartbeat to its answer. 0 if there was none: the
	// sign of life was something else.
	RTT time.Duration
	// Asked is false if the device is offline, or could not be asked: its dialect
	// forbids it while a delivery is unanswered, or it has just registered.
	Asked bool
}

// probes has the probes under way. A session has one at a time; further callers
// share it.
type probes struct {
	mu    sync.Mutex
	under map[*Session]*probe
	of    map[string]int // of each account, those that it has begun

	results [Online + 1]atomic.Uint64
	refused atomic.Uint64
}

// probe waits for a sign of life. The goroutine that takes it out of probes.under
// sets the result and closes done.
type probe struct {
	began  time.Time
	by     string // the account that began it
	asked  bool   // set before timer is
	timer  *time.Timer
	result Probed
	done   chan struct{}
}

// Probe asks the client's device for a heartbeat and waits for its answer, for
// ProbeTime at most. Online means that the device has sent something since, Suspect
// that it has not, Offline that it is not connected. A probe keeps the deadline of
// the heartbeat that it sends: a device that does not answer within the grace is
// disconnected. by is the account that asks: it may have as many probes under way as
// there are free places, so that it leaves room for others; "" may fill all places.
// Errors: CodeClientNotFound, CodeTooManyProbes, CodeUnavailable.
func (g *Gateway) Probe(ctx context.Context, id ClientID, by string) (Probed, error) {
	if _, err := g.store.Client(id); err != nil {
		return Probed{}, err
	}
	s := g.hub.session(id)
	if s == nil {
		return g.probes.count(Probed{Presence: Offline}), nil
	}
	p, err := g.probe(ctx, s, by)
	if err != nil {
		return Probed{}, err
	}
	return g.probes.count(p), nil
}

// probe is Probe for a session.
func (g *Gateway) probe(ctx context.Context, s *Session, by string) (Probed, error) {
	p, err := g.probes.share(s, by)
	if err != nil {
		return Probed{}, err
	}
	select {
	case <-p.done:
		return p.result, nil
	case <-ctx.Done():
		return Probed{}, fmt.Errorf("wait for the probe of a client: %w", ctx.Err())
	}
}

// tooManyLocked returns the refusal of one more probe, nil if there is room.
func (ps *probes) tooManyLocked(by string) error {
	free := MaxProbes - len(ps.under)
	if free > 0 && (by == "" || ps.of[by] < free) {
		return nil
	}
	message := fmt.Sprintf("%d probes wait for their devices", MaxProbes)
	if free > 0 {
		message = "the key or tenant has as many probes under way as are free for all"
	}
	return &Error{Code: CodeTooManyProbes, Message: message, Limit: MaxProbes, RetryAfter: time.Second}
}

// share returns the session's probe, and begins it if there is none.
func (ps *probes) share(s *Session, by string) (*probe, error) {
	ps.mu.Lock()
	if p := ps.under[s]; p != nil {
		ps.mu.Unlock()
		return p, nil
	}
	if err := ps.tooManyLocked(by); err != nil {
		ps.mu.Unlock()
		ps.refused.Add(1)
		return nil, err
	}
	p := &probe{began: s.g.cfg.Now(), by: by, done: make(chan struct{})}
	if ps.under == nil {
		ps.under, ps.of = make(map[*Session]*probe), make(map[string]int)
	}
	ps.under[s] = p
	ps.of[by]++
	ps.mu.Unlock()
	asked := s.link.Probe() // may be answered, or ended, from here on
	known, presence := false, Offline
	if !asked {
		known, presence = s.knownUnasked()
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p.asked = asked
	switch {
	case ps.under[s] != p: // it was
	case known:
		ps.endLocked(s, Probed{Presence: presence})
	default:
		p.timer = time.AfterFunc(ProbeTime, func() { ps.timeout(s, p) })
	}
	return p, nil
}

// knownUnasked returns the presence of a device that cannot be asked, if it is known
// without an answer: it has just gone, or its registration is a sign of life.
func (s *Session) knownUnasked() (known bool, p Presence) {
	live := s.g.hub.session(s.client)
	if live == nil {
		return true, Offline
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return live != s || !s.flags.has(flagStarted), Online
}

// endLocked gives the session's probe its result. The caller holds ps.mu.
func (ps *probes) endLocked(s *Session, result Probed) {
	p := ps.under[s]
	if p == nil {
		return
	}
	delete(ps.under, s)
	if ps.of[p.by]--; ps.of[p.by] == 0 {
		delete(ps.of, p.by)
	}
	if p.timer != nil {
		p.timer.Stop()
	}
	p.result = result
	close(p.done)
}

// answered ends the session's probe: the device has answered.
func (ps *probes) answered(s *Session, rtt time.Duration) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	ps.endLocked(s, Probed{Presence: Online, RTT: rtt, Asked: true})
}

// ended ends the probe of a session that has ended. If another session has taken
// its place, the device has just registered.
func (ps *probes) ended(s *Session, offline bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := ps.under[s]
	if p == nil {
		return
	}
	result := Probed{Presence: Online, Asked: p.asked}
	if offline {
		result.Presence = Offline
	}
	ps.endLocked(s, result)
}

// timeout ends a probe that was not answered in time.
func (ps *probes) timeout(s *Session, p *probe) {
	result := Probed{Presence: Suspect}
	if s.link.Stats().LastSeen.After(p.began) {
		result.Presence = Online
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.under[s] == p {
		result.Asked = p.asked
		ps.endLocked(s, result)
	}
}

// count counts a result for a caller.
func (ps *probes) count(r Probed) Probed {
	ps.results[r.Presence].Add(1)
	return r
}

// counted returns the answers to probes by presence.
func (ps *probes) counted() map[string]uint64 {
	m := make(map[string]uint64, len(ps.results)+1)
	for p := range ps.results {
		m[Presence(p).String()] = ps.results[p].Load()
	}
	m["refused"] = ps.refused.Load()
	return m
}
