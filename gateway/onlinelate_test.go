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
