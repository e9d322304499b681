package gateway

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

// The feed begins a walk and does not wait for it. What becomes final before it begins,
// or during it, does not begin another one.
func TestEvictionsShareAWalk(t *testing.T) {
	g := newStage(&explorer{cfg: handover{window: 1}}).g
	var walks []func()
	g.evictor.start = func(walk func()) { walks = append(walks, walk) }
	for seq := range Seq(3) {
		g.settledAll(&SettledAll{Message: Message{Seq: seq + 1}, State: Expired, N: 1}, &wakes{})
	}
	if len(walks) != 1 || len(g.evictor.next) != 3 {
		t.Fatalf("%d walks for %d messages, want one for three", len(walks), len(g.evictor.next))
	}
	walks[0]()
	if g.evictor.next != nil {
		t.Errorf("%v is left", g.evictor.next)
	}
	g.evictor.add(4)
	if len(walks) != 2 {
		t.Error("no walk begins when the one before is over")
	}
}

// A message to many that is final leaves no attempts behind for clients that are offline,
// and its history keeps them.
func TestEvictionForgetsTheAttemptsOfOfflineClients(t *testing.T) {
	g := newStage(&explorer{cfg: handover{window: 1}}).g
	var walk func()
	g.evictor.start = func(w func()) { walk = w }
	sentAt := time.Now().UnixNano()
	for id, tried := range map[ClientID][]attempt{
		"both":  {{seq: 1, sentAt: sentAt, attempts: 2}, {seq: 2, sentAt: sentAt, attempts: 1}, {seq: 3, sentAt: sentAt, attempts: 1}},
		"first": {{seq: 1, sentAt: sentAt, attempts: 1}},
	} {
		sh := g.hub.shard(id)
		sh.mu.Lock()
		g.hub.rememberLocked(sh, id, tried)
		sh.mu.Unlock()
	}
	for _, seq := range []Seq{3, 1} {
		g.settledAll(&SettledAll{Message: Message{Seq: seq}, State: Expired, N: 1}, &wakes{})
	}
	walk()
	if left := g.hub.unsettled.Load(); left != 1 {
		t.Errorf("%d attempts are kept, want that at the open message", left)
	}
	if _, open := g.hub.triedBefore("both", 2, func(*Session) {}); open.attempts != 1 {
		t.Errorf("%+v is kept of the open message", open)
	}
	if sent := g.TransmissionsOf(&Delivery{Client: "both", Seq: 1, State: Expired}); sent.Attempts != 2 || !sent.Known {
		t.Errorf("transmissions %+v, want two", sent)
	}
}

// The transmissions of a delivery are known at each moment of its end, also while they move
// from the memory of offline clients to that of ended deliveries.
func TestTransmissionsAreKnownWhileTheyMove(t *testing.T) {
	g := newStage(&explorer{cfg: handover{window: 1}}).g
	sh := g.hub.shard("a")
	sh.mu.Lock()
	g.hub.rememberLocked(sh, "a", []attempt{{seq: 1, sentAt: time.Now().UnixNano(), attempts: 2}})
	sh.mu.Unlock()
	read := make(chan Transmissions, 1)
	now := time.Now()
	g.hub.settledMany([]Seq{1}, func(id ClientID, a attempt) {
		go func() {
			read <- g.TransmissionsOf(&Delivery{Client: id, Seq: 1, State: Expired, CreatedAt: now, FinalAt: now})
		}()
		for stacks := make([]byte, 1<<20); ; runtime.Gosched() { // until the reader waits for the lock that is held now
			if waits(string(stacks[:runtime.Stack(stacks, true)]), "TransmissionsOf") {
				break
			}
		}
		g.ends.add(id, a, now)
	})
	if sent := <-read; sent.Attempts != 2 || !sent.Known {
		t.Errorf("a read during the move found %+v, want two attempts", sent)
	}
}

// The attempts at a delivery that became final while a session handed them on do not stay in
// the memory of the next one.
func TestASessionKeepsNoAttemptsAtFinalDeliveries(t *testing.T) {
	w := newStage(&explorer{cfg: handover{window: 1, n: 1, payload: 1}, kinds: []kind{toOne}, seen: map[string]bool{}})
	w.published, w.final[1] = 1, true
	w.link().ended = true
	before := w.link().s
	before.mu.Lock()
	before.keepTriedLocked(attempt{seq: 1, sentAt: 5, attempts: 2})
	before.mu.Unlock()
	w.connect() // the store has told of the end before
	for w.g.runs.head != nil {
		w.pump()
	}
	if s := w.link().s; s.work != nil {
		t.Errorf("the session keeps %+v, want nothing", s.work.tried)
	}
	if sent := w.g.TransmissionsOf(&Delivery{Client: "a", Seq: 1, State: Canceled}); sent.Attempts != 2 || !sent.Known {
		t.Errorf("transmissions %+v, want two", sent)
	}
}

// waits reports whether a goroutine with a function waits for a mutex.
func waits(stacks, function string) bool {
	for g := range strings.SplitSeq(stacks, "\n\n") {
		if strings.Contains(g, function) && strings.Contains(g, "[sync.Mutex.Lock") {
			return true
		}
	}
	return false
}
