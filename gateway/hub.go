package gateway

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
)

// hub has the live session of every online client. It is sharded by client id. A
// shard's lock also orders the presence events of its clients.
type hub struct {
	seed     maphash.Seed
	shards   [hubShards]hubShard
	online   directory
	suspects directory // see Session.Suspect; guarded like online by the shard's lock
	_        cacheLine
	inFlight atomic.Int64
	_        cacheLine
	// unsettled counts the entries of tried over all shards.
	unsettled atomic.Int64
	triedLost atomic.Bool // there were more than maxTried
}

const hubShards = 64

type hubShard struct {
	mu       sync.Mutex
	sessions map[ClientID]*Session // nil until the first one
	// places has an entry for each client with a registration under way; there is
	// one at a time. The channel is closed when the registration is decided; it
	// is nil if no other registration waits.
	places map[ClientID]chan struct{}
	// arrivals has an entry for each client with a REGISTER that is not answered yet.
	arrivals map[ClientID]*arrivals
	// leaving has the live sessions whose end a caller waits for. The channel is closed
	// when the session is no longer the live one. Nil without callers.
	leaving map[*Session]chan struct{}
	// credentials has the credentials of live sessions that can be revoked. Nil
	// until the first one, so that gateways without them pay nothing.
	credentials map[ClientID]Credential
	// tried has, for offline clients, the transmissions of deliveries that were
	// unacked when the session ended. With them the next transmission is marked
	// as a repeat and attempts are counted further. They are lost with the
	// process. Nil until the first one.
	tried map[ClientID][]attempt
	// tallies is the gateway's set, nil for none.
	tallies *tallies
}

// attempt is the transmissions of one delivery in earlier sessions, without those
// that the device answered with retry later. It may be zero for one whose flush was not
// reported before its session was replaced.
type attempt struct {
	seq      Seq
	sentAt   int64 // the last of them, Unix nanoseconds
	attempts int32
	broken   uint8 // those of attempts whose connection ended before an answer or the ack timeout
	later    uint8 // answers retry later; this and broken stop at 255
}

// maxTried bounds the attempts kept for offline clients. Attempts beyond it are
// not kept, and their count starts anew.
const maxTried = 1 << 20

func newHub() *hub {
	return &hub{seed: maphash.MakeSeed()}
}

func (h *hub) shard(id ClientID) *hubShard {
	return &h.shards[maphash.String(h.seed, string(id))%hubShards]
}

// put makes s the live session of its client. The caller holds the shard's lock.
func (sh *hubShard) put(s *Session) {
	if sh.sessions == nil {
		sh.sessions = make(map[ClientID]*Session)
	}
	sh.sessions[s.client] = s
}

// session returns the live session of a client, nil when it is offline.
func (h *hub) session(id ClientID) *Session {
	sh := h.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.sessions[id]
}

// arrivals numbers the REGISTERs of one client that are not answered yet, because their
// credentials may be checked in another order than they came. The shard's lock guards it.
type arrivals struct {
	underWay int
	last     uint64 // number of the one that came last
	entered  uint64 // number of the live session's REGISTER; 0 if it came before all of these
}

// arrive numbers a REGISTER of the client. The caller calls leave when it is answered.
func (h *hub) arrive(id ClientID) (number uint64) {
	sh := h.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	a := sh.arrivals[id]
	if a == nil {
		if sh.arrivals == nil {
			sh.arrivals = make(map[ClientID]*arrivals)
		}
		a = new(arrivals)
		sh.arrivals[id] = a
	}
	a.underWay++
	a.last++
	return a.last
}

// leave reports that a REGISTER is answered.
func (h *hub) leave(id ClientID) {
	sh := h.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	a := sh.arrivals[id]
	if a.underWay--; a.underWay == 0 {
		delete(sh.arrivals, id)
	}
}

// lockDecided locks the shard when no registration of the client is under way. If it
// returns an error, the shard is not locked.
func (sh *hubShard) lockDecided(ctx context.Context, id ClientID) error {
	for {
		sh.mu.Lock()
		decided, reserved := sh.places[id]
		if !reserved {
			return nil
		}
		if decided == nil {
			decided = make(chan struct{})
			sh.places[id] = decided
		}
		sh.mu.Unlock()
		select {
		case <-decided:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return fmt.Errorf("wait for another registration of the client: %w: %w", ErrUnavailable, ctx.Err())
		}
	}
}

// takeLocked reserves the client's place, which is free.
func (sh *hubShard) takeLocked(id ClientID) {
	if sh.places == nil {
		sh.places = make(map[ClientID]chan struct{})
	}
	sh.places[id] = nil
}

// reserve takes the client's place, until giveBack, for a change that excludes
// registrations.
func (h *hub) reserve(ctx context.Context, id ClientID) error {
	sh := h.shard(id)
	if err := sh.lockDecided(ctx, id); err != nil {
		return err
	}
	defer sh.mu.Unlock()
	sh.takeLocked(id)
	return nil
}

// giveBack releases the client's place: its registration is decided.
func (h *hub) giveBack(id ClientID) {
	sh := h.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if decided := sh.places[id]; decided != nil {
		close(decided)
	}
	delete(sh.places, id)
}

// decided is session, called after any registration under way.
func (h *hub) decided(ctx context.Context, id ClientID) (*Session, error) {
	sh := h.shard(id)
	if err := sh.lockDecided(ctx, id); err != nil {
		return nil, err
	}
	defer sh.mu.Unlock()
	return sh.sessions[id], nil
}

// left returns a channel that is closed when s is no longer the live session of its
// client; nil if it is not now.
func (h *hub) left(s *Session) <-chan struct{} {
	sh := h.shard(s.client)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.sessions[s.client] != s {
		return nil
	}
	if sh.leaving == nil {
		sh.leaving = make(map[*Session]chan struct{})
	}
	if sh.leaving[s] == nil {
		sh.leaving[s] = make(chan struct{})
	}
	return sh.leaving[s]
}

// leftLocked signals to the callers that wait for it that s is not the live session.
func (sh *hubShard) leftLocked(s *Session) {
	left := sh.leaving[s]
	if left == nil {
		return
	}
	close(left)
	if delete(sh.leaving, s); len(sh.leaving) == 0 {
		sh.leaving = nil
	}
}

// inShard appends the live sessions of one shard to buf.
func (h *hub) inShard(i int, buf []*Session) []*Session {
	sh := &h.shards[i]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	buf = slices.Grow(buf, len(sh.sessions))
	for _, s := range sh.sessions {
		buf = append(buf, s)
	}
	return buf
}

// all yields every live session, shard by shard, without holding a lock.
func (h *hub) all(yield func(*Session) bool) {
	var buf []*Session
	for i := range h.shards {
		buf = h.inShard(i, buf[:0])
		for _, s := range buf {
			if !yield(s) {
				return
			}
		}
	}
}

// clients yields the online clients, in the form of Acceptance.Among.
func (h *hub) clients(yield func(ClientID, uint32) bool) {
	for s := range h.all {
		if !yield(s.client, s.ref) {
			return
		}
	}
}

// rememberLocked keeps the unacked deliveries of a session that ended. The caller
// holds sh.mu.
func (h *hub) rememberLocked(sh *hubShard, id ClientID, tried []attempt) {
	if len(tried) == 0 {
		return
	}
	if h.unsettled.Load() >= maxTried {
		h.triedLost.Store(true)
		return
	}
	h.unsettled.Add(int64(len(tried) - len(sh.tried[id])))
	if sh.tried == nil {
		sh.tried = make(map[ClientID][]attempt)
	}
	sh.tried[id] = tried
}

// recallLocked returns the remembered attempts for a new session and forgets them.
// The caller holds sh.mu.
func (h *hub) recallLocked(sh *hubShard, id ClientID) []attempt {
	tried, ok := sh.tried[id]
	if !ok {
		return nil
	}
	delete(sh.tried, id)
	h.unsettled.Add(-int64(len(tried)))
	return tried
}

// triedBefore calls read with the live session of a client, and returns it or, when the
// client is offline, the attempts at seq of its sessions before. The session does not end
// during read: it would hand the attempts on, and read would find none.
func (h *hub) triedBefore(id ClientID, seq Seq, read func(*Session)) (*Session, attempt) {
	sh := h.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	s := sh.sessions[id]
	if s != nil {
		read(s)
	}
	return s, attemptAt(sh.tried[id], seq)
}

// hasPassed reports whether the live session of a client has sent seq and has no more to do
// with it: the store has its end, or refused it.
func (h *hub) hasPassed(id ClientID, seq Seq) bool {
	s := h.session(id)
	if s == nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return seq <= s.cursor && !s.overlayLocked(&Delivery{Seq: seq})
}

// attemptAt returns the attempts at seq, the zero value for none.
func attemptAt(tried []attempt, seq Seq) attempt {
	if i := slices.IndexFunc(tried, func(t attempt) bool { return t.seq == seq }); i >= 0 {
		return tried[i]
	}
	return attempt{}
}

// show adds the attempts to a queued delivery.
func (t attempt) show(d *Delivery) {
	if t.attempts > 0 {
		d.Attempts, d.SentAt = int(t.attempts), timeOf(t.sentAt)
	}
}

// settledMany forgets offline clients' attempts at seqs, which rise and are final, and
// passes them to ended, with a shard's lock held.
func (h *hub) settledMany(seqs []Seq, ended func(ClientID, attempt)) {
	final := func(seq Seq) bool {
		_, found := slices.BinarySearch(seqs, seq)
		return found
	}
	for i := range h.shards {
		sh := &h.shards[i]
		sh.mu.Lock()
		for id := range sh.tried {
			h.forgetLocked(sh, id, final, ended)
		}
		sh.mu.Unlock()
	}
}

// settled is settledMany for one client and seq, and evicts seq from the live session, if
// any, before that can hand its attempts on; answered is as for evict. It returns the session to pump, nil for none.
func (h *hub) settled(id ClientID, seq Seq, answered bool, ended func(ClientID, attempt)) *Session {
	sh := h.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if len(sh.tried[id]) > 0 {
		h.forgetLocked(sh, id, func(tried Seq) bool { return tried == seq }, ended)
	}
	if s := sh.sessions[id]; s != nil && s.evict(seq, answered) {
		return s
	}
	return nil
}

// forgetLocked forgets an offline client's final attempts and passes them to ended. A
// reader that looks here first and then where ended puts them finds each of them.
func (h *hub) forgetLocked(sh *hubShard, id ClientID, final func(Seq) bool, ended func(ClientID, attempt)) {
	tried := sh.tried[id]
	rest := slices.DeleteFunc(tried, func(t attempt) bool {
		if !final(t.seq) {
			return false
		}
		ended(id, t)
		return true
	})
	h.unsettled.Add(int64(len(rest) - len(tried)))
	if sh.tried[id] = rest; len(rest) == 0 {
		delete(sh.tried, id)
	}
}
