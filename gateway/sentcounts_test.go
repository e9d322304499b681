package gateway

import "testing"

// The last delivery on its way leaves no flushed delivery and no recipient to
// wake. Only that one is urgent for waiting callers.
func TestLastDeliveryOnItsWay(t *testing.T) {
	c := newSentCounts()
	step := func(what string, got, want bool) {
		t.Helper()
		if got != want {
			t.Errorf("%s: last is %v", what, got)
		}
	}
	c.walk("m", true)
	c.flush("m", 1)
	step("acked while others are to be sent to", c.flush("m", -1), false)
	c.flush("m", 1)
	c.flush("m", 1)
	c.walk("m", false)
	step("acked before another", c.flush("m", -1), false)
	if got, _ := c.get("m", 0); got != 1 {
		t.Errorf("%d are on their way, want 1", got)
	}
	step("acked after all others", c.flush("m", -1), true)
	if len(c.of) != 0 {
		t.Errorf("%d messages are kept that nothing is known of", len(c.of))
	}
}

// A broadcast notes its end for all messages that it has woken for, before the
// last recipients are woken.
func TestBroadcastEndsBeforeItsLastRecipients(t *testing.T) {
	g, _ := echoing(t)
	q := newRunQueue()
	for _, id := range []MessageID{"first", "covered"} {
		g.sent.walk(id, true)
		q.start(&broadcast{g: g, messages: []MessageID{id}, recipients: new(everyone)})
	}
	_, b := q.pop()
	if batch, p := b.take(nil); len(batch) != 1 || !p.done {
		t.Fatalf("%d sessions are woken, done is %v", len(batch), p.done)
	}
	if len(g.sent.of) != 0 {
		t.Errorf("broadcasts are thought to be under way: %v", g.sent.of)
	}
}
