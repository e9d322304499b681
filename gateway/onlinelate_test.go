package gateway

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"
	"time"
)

// The ended calls of one tenant, and the answers to them, leave those of another alone.
func TestOneTenantsLateCallsDoNotPushOutAnothers(t *testing.T) {
	var l lateAnswers
	now := time.Now()
	rare := lateKey{session: uid{1}, seq: 1}
	l.wait(rare, lateCall{message: "rare", owner: "b", endedAt: now})
	for i := range 2 * maxLateCalls {
		l.wait(lateKey{session: uid{2}, seq: Seq(i)}, lateCall{message: "many", owner: "a", endedAt: now})
	}
	if len(l.calls) > maxLateCalls {
		t.Errorf("%d calls are remembered, want %d at most", len(l.calls), maxLateCalls)
	}
	if _, ok := l.take(lateKey{session: uid{2}, seq: 2*maxLateCalls - 1}, now); !ok {
		t.Error("the newest call is forgotten")
	}
	c, ok := l.take(rare, now)
	if !ok {
		t.Fatal("one tenant's calls have pushed out another's")
	}
	l.keep(c, Delivery{Message: "rare", State: Acked, FinalAt: now, Result: []byte("r")})
	for _, size := range []int{1, 200 << 10} {
		result := bytes.Repeat([]byte("x"), size)
		for i := range 2 * maxLateAnswers {
			l.keep(lateCall{owner: "a"}, Delivery{Message: MessageID(fmt.Sprint(size, "-", i)), State: Acked, FinalAt: now, Result: result})
		}
	}
	if _, ok := l.message("rare", now); !ok {
		t.Error("answers to one tenant's calls have pushed out another's")
	}
	if len(l.answers) > maxLateAnswers || l.kept.bytes > maxLateBytes {
		t.Errorf("%d answers with %d bytes are kept", len(l.answers), l.kept.bytes)
	}
	if _, ok := l.message("rare", now.Add(lateTime)); ok {
		t.Error("an answer is kept for longer than its time")
	}
}

// What is past its time takes no room: the calls and answers of tenants that have gone quiet
// leave those of a busy one alone.
func TestOldLateCallsTakeNoRoom(t *testing.T) {
	var l lateAnswers
	before := time.Now()
	const quiet, busy = 100, 500
	for i := range maxLateCalls {
		owner := fmt.Sprint("quiet", i%quiet)
		l.wait(lateKey{session: uid{1}, seq: Seq(i)}, lateCall{owner: owner, endedAt: before})
		l.keep(lateCall{owner: owner}, Delivery{Message: MessageID(fmt.Sprint("old", i)), FinalAt: before})
	}
	now := before.Add(lateTime)
	for i := range busy {
		l.wait(lateKey{session: uid{2}, seq: Seq(i)}, lateCall{owner: "busy", endedAt: now})
		l.keep(lateCall{owner: "busy"}, Delivery{Message: MessageID(fmt.Sprint("new", i)), FinalAt: now})
	}
	calls, answers := 0, 0
	for i := range busy {
		if _, ok := l.take(lateKey{session: uid{2}, seq: Seq(i)}, now); ok {
			calls++
		}
		if _, ok := l.answers[MessageID(fmt.Sprint("new", i))]; ok {
			answers++
		}
	}
	if calls != busy || answers != busy {
		t.Errorf("%d calls and %d answers are kept, want %d of each", calls, answers, busy)
	}
}

// Ended calls and late answers to them take the memory that they are counted with, whatever
// their metadata, and no more than their bound.
func TestLateCallsAreBoundedInBytes(t *testing.T) {
	for _, entries := range []int{0, 1, MaxMetadata} {
		for name, add := range map[string]func(*lateAnswers, int, lateCall){
			"calls": func(l *lateAnswers, i int, c lateCall) { l.wait(lateKey{uid{1}, Seq(i)}, c) },
			"answers": func(l *lateAnswers, i int, c lateCall) {
				l.keep(c, Delivery{Message: c.message, FinalAt: c.endedAt, Result: make([]byte, 100)})
			},
		} {
			var l lateAnswers
			before := heap()
			for i := range maxLateCalls {
				c := lateCall{message: MessageIDOf([16]byte{byte(i), byte(i >> 8)}), owner: "o", endedAt: time.Now()}
				if entries > 0 {
					c.metadata = make(map[string]string)
				}
				for e := range entries {
					c.metadata[fmt.Sprintf("%0*d", MaxMetadataKey, e)] = string(make([]byte, MaxMetadataVal))
				}
				add(&l, i, c)
			}
			took, counted := heap()-before, l.ended.bytes+l.kept.bytes
			t.Logf("%s with %d entries: %d are kept, %d bytes are counted, %d are taken", name, entries, len(l.calls)+len(l.answers), counted, took)
			if counted > maxLateBytes || took > counted+counted/4 {
				t.Errorf("%s with %d entries take %d bytes and count as %d", name, entries, took, counted)
			}
			for k := range l.calls {
				l.take(k, time.Now())
			}
			l.trimLocked(time.Now().Add(lateTime))
			if l.ended != (lateSum{}) || l.kept != (lateSum{}) || len(l.owners) > 0 {
				t.Errorf("nothing is kept, and %v and %v are counted for %d owners", l.ended, l.kept, len(l.owners))
			}
		}
	}
}

// heap returns the bytes of the heap that are in use.
func heap() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
