package gateway

import (
	"bytes"
	"fmt"
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
	if len(l.answers) > maxLateAnswers || l.bytes > maxLateBytes {
		t.Errorf("%d answers with %d bytes are kept", len(l.answers), l.bytes)
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
