package gateway

import (
	"slices"
	"testing"
)

// onStage is a gateway without goroutines that has been given messages for its
// client.
func onStage(accepted int) *stageWorld {
	x := &explorer{cfg: handover{n: accepted, window: 16, payload: 1}, kinds: make([]kind, accepted), seen: map[string]bool{}}
	w := newStage(x)
	w.pump() // it has read its queue
	w.published = accepted
	return w
}

// The feed takes a final delivery from the session's window only. The worker takes
// it from the link, whose lock is held during system calls, before it sends more.
func TestTheFeedLeavesTheLinkAlone(t *testing.T) {
	w := onStage(2)
	w.tell()
	w.pump()
	w.settle(1, Canceled)
	if l := w.link(); len(l.forgot) > 0 {
		t.Fatal("the feed has called the link")
	}
	w.tell()
	w.pump()
	if l := w.link(); !slices.Equal(l.forgot, []Seq{1}) || !slices.Equal(l.sent, []Seq{1, 2}) {
		t.Errorf("the link has forgotten %v and sent %v", l.forgot, l.sent)
	}
}

// An idle session holds no mailbox.
func TestAMailboxIsGivenBack(t *testing.T) {
	w := onStage(3)
	for range 3 {
		w.tell()
	}
	if got := w.link().s.work.mail; len(got.transmissions) != 3 || got.bytes != 3*129 || w.g.mail.Load() != 3*129 {
		t.Errorf("the mailbox holds %d transmissions, %d bytes; in all %d", len(got.transmissions), got.bytes, w.g.mail.Load())
	}
	w.pump()
	for range 3 {
		w.link().ack()
	}
	if w.link().s.work != nil || w.g.mail.Load() != 0 {
		t.Errorf("an idle session holds %+v, %d bytes in all", w.link().s.work, w.g.mail.Load())
	}
}

// A delivery becomes final after the pump has decided to send it: it is not sent.
func TestAMailboxIsEmptiedBeforeItIsTaken(t *testing.T) {
	w := onStage(1)
	w.tell()
	s := w.link().s
	next := s.nextStep()
	if next.kind != stepMail {
		t.Fatalf("the next step is %d, want %d", next.kind, stepMail)
	}
	s.evict(1, false)
	if sent, more := s.sendMail(next.room); sent || !more || len(w.link().sent) != 0 {
		t.Errorf("sent %v, %t, %t", w.link().sent, sent, more)
	}
}

// Above the bound for all sessions a message is read from the store.
func TestMailboxesAreBounded(t *testing.T) {
	w := onStage(2)
	w.tell()
	w.g.mail.Add(maxMail - 200)
	w.tell()
	s := w.link().s
	if n := len(s.work.mail.transmissions); n != 1 || !s.flags.has(flagFresh) {
		t.Errorf("the mailbox holds %d transmissions, flags %b", n, s.flags)
	}
	w.pump()
	if got := w.link().sent; !slices.Equal(got, []Seq{1, 2}) {
		t.Errorf("sent %v", got)
	}
}
