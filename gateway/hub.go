package gateway

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
)

// hub knows the live session of every online client. It is sharded by client
// id; a shard's lock also orders the presence events of its clients.
type hub struct {
	seed     maphash.Seed
	shards   [hubShards]hubShard
	online   directory
	_        cacheLine
	inFlight atomic.Int64
	_        cacheLine
	// unsettled counts the memory entries over all shards, see remember.
	unsettled atomic.Int64
}

const hubShards = 64

type hubShard struct {
	mu       sync.Mutex
	sessions map[ClientID]*Session
	// places has an entry for each client with a registration under way, one at a
	// time. The channel is closed when that is decided; nil if no other waits.
	places map[ClientID]chan struct{}
	// credentials are those of the live sessions that have one which can be taken
	// back; nil until there is one, so that nobody else pays for them.
	credentials map[ClientID]Credential
	// tried remembers, for clients that are offline, the transmissions of
	// deliveries that were unacked when their session ended, so that the
	// repeat is marked as one and attempts go on counting. Lost with the
	// process.
	tried map[ClientID][]attempt
}

// attempt is one delivery's transmissions in earlier sessions, without those
// that were answered with retry later.
type attempt struct {
	seq      Seq
	sentAt   int64 // the last of them, Unix nanoseconds
	attempts int32
}

// maxTried bounds the remembered attempts of offline clients. When it is
// reached more are not remembered: their count starts anew.
const maxTried = 1 << 20

func newHub() *hub {
	h := &hub{seed: maphash.MakeSeed()}
	for i := range h.shards {
		h.shards[i].sessions = make(map[ClientID]*Session)
		h.shards[i].tried = make(map[ClientID][]attempt)
	}
	return h
}

func (h *hub) shard(id ClientID) *hubShard {
	return &h.shards[maphash.String(h.seed, string(id))%hubShards]
}

// session returns the live session of a client, nil when it is offline.
func (h *hub) session(id ClientID) *Session {
	sh := h.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.sessions[id]
}

// awaitPlace returns when no registration of the client is under way. sh.mu is
// held; awaitPlace releases it to wait.
func (sh *hubShard) awaitPlace(ctx context.Context, id ClientID) error {
	for {
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
		sh.mu.Lock()
		if ctx.Err() != nil {
			return fmt.Errorf("wait for another registration of the client: %w: %w", ErrUnavailable, ctx.Err())
		}
	}
}

// take reserves the client's place, which is free. sh.mu is held.
func (sh *hubShard) take(id ClientID) {
	if sh.places == nil {
		sh.places = make(map[ClientID]chan struct{})
	}
	sh.places[id] = nil
}

// reserve takes the client's place for a change that no registration may come
// between, until giveBack.
func (h *hub) reserve(ctx context.Context, id ClientID) error {
	sh := h.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if err := sh.awaitPlace(ctx, id); err != nil {
		return err
	}
	sh.take(id)
	return nil
}

// giveBack ends a registration, which is decided.
func (h *hub) giveBack(id ClientID) {
	sh := h.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if decided := sh.places[id]; decided != nil {
		close(decided)
	}
	delete(sh.places, id)
}

// decided is session, after a registration that is under way.
func (h *hub) decided(ctx context.Context, id ClientID) (*Session, error) {
	sh := h.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if err := sh.awaitPlace(ctx, id); err != nil {
		return nil, err
	}
	return sh.sessions[id], nil
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

// clients yields who is online, as Acceptance.Among wants it.
func (h *hub) clients(yield func(ClientID, uint32) bool) {
	for s := range h.all {
		if !yield(s.client, s.ref) {
			return
		}
	}
}

// remember keeps what was unacked when a session ended. sh.mu is held.
func (h *hub) remember(sh *hubShard, id ClientID, tried []attempt) {
	if len(tried) == 0 || h.unsettled.Load() >= maxTried {
		return
	}
	h.unsettled.Add(int64(len(tried) - len(sh.tried[id])))
	sh.tried[id] = tried
}

// recall hands the remembered attempts to a new session. sh.mu is held.
func (h *hub) recall(sh *hubShard, id ClientID) []attempt {
	tried, ok := sh.tried[id]
	if !ok {
		return nil
	}
	delete(sh.tried, id)
	h.unsettled.Add(-int64(len(tried)))
	return tried
}

// settled forgets an offline client's attempts at seq, which is final.
func (h *hub) settled(id ClientID, seq Seq) (s *Session) {
	sh := h.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	tried, ok := sh.tried[id]
	if !ok {
		return sh.sessions[id]
	}
	for i := range tried {
		if tried[i].seq == seq {
			tried = append(tried[:i], tried[i+1:]...)
			h.unsettled.Add(-1)
			break
		}
	}
	if len(tried) == 0 {
		delete(sh.tried, id)
	} else {
		sh.tried[id] = tried
	}
	return sh.sessions[id]
}
