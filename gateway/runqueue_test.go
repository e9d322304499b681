package gateway

import (
	"testing"
	"time"
)

// many is a walk over n sessions.
type many struct{ left []*Session }

func (m *many) next(_ *Gateway, n int, buf []*Session) ([]*Session, bool) {
	n = min(n, len(m.left))
	buf, m.left = append(buf, m.left[:n]...), m.left[n:]
	return buf, len(m.left) == 0
}

// turn takes the next item and wakes no session of a broadcast.
func turn(q *runQueue) (s *Session, woken int) {
	s, b := q.pop()
	if b != nil {
		batch, p := b.take(nil)
		q.endTurn(b, p)
		woken = len(batch)
	}
	return s, woken
}

func TestASingleDeliveryGoesAheadOfABroadcast(t *testing.T) {
	q := newRunQueue()
	crowd := make([]*Session, 10_000)
	q.start(&broadcast{recipients: &many{crowd}})
	q.start(&broadcast{recipients: &many{crowd}})
	for range 50 { // at any time, not only at first
		turn(q)
		single := new(Session)
		q.push(single)
		if got, _ := turn(q); got != single {
			t.Fatal("a single delivery waits behind a broadcast")
		}
	}
}

func TestABroadcastIsNotStarved(t *testing.T) {
	q := newRunQueue()
	b := &broadcast{recipients: &many{make([]*Session, 10*broadcastBatch)}}
	q.start(b)
	for range 100 {
		q.push(new(Session))
	}
	inRow, turns := 0, 0
	for q.head != nil || len(q.broadcasts) > 0 {
		s, woken := turn(q)
		switch {
		case s == nil:
			inRow, turns = 0, turns+1
			if woken != broadcastBatch {
				t.Fatalf("a turn wakes %d sessions, want %d", woken, broadcastBatch)
			}
		default:
			inRow++
		}
		if len(q.broadcasts) > 0 && inRow > broadcastEvery {
			t.Fatalf("%d sessions in a row before a broadcast's turn", inRow)
		}
	}
	if turns != 10 || q.kept != 0 {
		t.Errorf("%d turns, %d broadcasts kept, want 10 and none", turns, q.kept)
	}
}

func TestBroadcastsTakeTurns(t *testing.T) {
	q := newRunQueue()
	long := &broadcast{recipients: &many{make([]*Session, 100*broadcastBatch)}}
	short := &broadcast{recipients: &many{make([]*Session, 2*broadcastBatch)}}
	q.start(long)
	q.start(short)
	for range 4 {
		turn(q)
	}
	if long.woken != 2*broadcastBatch || short.woken != 2*broadcastBatch || len(q.broadcasts) != 1 {
		t.Errorf("after four turns %d and %d are woken", long.woken, short.woken)
	}
}

// Beyond the bound one more walk wakes every session, as often as necessary.
func TestBroadcastsAreBounded(t *testing.T) {
	g := &Gateway{hub: newHub(), sent: newSentCounts()}
	q := newRunQueue()
	start := func() { q.start(&broadcast{g: g, rate: 1, recipients: new(listed)}) }
	for range maxBroadcasts {
		start()
	}
	for range 3 {
		start()
	}
	if n := len(q.broadcasts); n != maxBroadcasts+1 {
		t.Fatalf("%d broadcasts, want %d and one for the rest", n, maxBroadcasts)
	}
	rest := q.broadcasts[maxBroadcasts]
	for i := range 5 {
		id := numbered(i)
		g.hub.shard(id).put(&Session{client: id})
	}
	rest.begun = true
	rest.recipients.next(g, 1, nil)
	start()
	if l, done := rest.recipients.next(g, 100, nil); !done || len(l) < 5 || len(q.broadcasts) != maxBroadcasts+1 {
		t.Errorf("%d sessions are woken by %d broadcasts", len(l), len(q.broadcasts))
	}
	rest.over = true
	start()
	if len(q.broadcasts) != maxBroadcasts+2 {
		t.Error("a walk that is over is trusted to find what came after")
	}
}

// Wake-ups of everyone that have not begun are one: it finds all messages.
func TestBroadcastsToEveryoneShareAWalk(t *testing.T) {
	q := newRunQueue()
	for range 3 {
		q.start(&broadcast{recipients: new(everyone)})
	}
	q.start(&broadcast{rate: 5, recipients: new(everyone)})
	if len(q.broadcasts) != 2 {
		t.Errorf("%d broadcasts wait, want one and the one with a pace", len(q.broadcasts))
	}
	q.popBroadcastLocked()
	q.start(&broadcast{recipients: new(everyone)})
	if len(q.broadcasts) != 3 {
		t.Error("a walk that has begun is trusted to find what came after")
	}
}

func TestAllowanceIsThePace(t *testing.T) {
	b := &broadcast{rate: 50}
	begin := time.Unix(100, 0)
	at := func(d time.Duration, wantN int, wantWait time.Duration) {
		t.Helper()
		n, wait := b.allowance(begin.Add(d))
		if n != wantN || wait != wantWait {
			t.Errorf("after %v: %d, or wait %v; want %d, %v", d, n, wait, wantN, wantWait)
		}
		b.woken += n
	}
	at(0, 1, 0)
	at(0, 0, 20*time.Millisecond)
	at(15*time.Millisecond, 0, paceStep)
	at(20*time.Millisecond, 1, 0)
	at(100*time.Millisecond, 4, 0)
	at(10*time.Second, broadcastBatch, 0)
}
