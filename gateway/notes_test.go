package gateway

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// A fleet that never acks fills a bounded number of notes; each has a bounded number of
// lines, the last ones.
func TestNotesAreBounded(t *testing.T) {
	g := &Gateway{}
	s := &Session{g: g}
	g.cfg.Now = time.Now
	f := &inflight{sentAt: 1}
	for i := range int64(100) {
		s.noteRepeatLocked(f, 1, 2+i)
	}
	n := f.notes
	if len(n.happened) != maxHappening || n.happened[maxHappening-1].at != 101 || g.notes.Load() != 1 {
		t.Fatalf("%d lines, the last %+v, %d notes", len(n.happened), n.happened[len(n.happened)-1], g.notes.Load())
	}
	g.notes.Store(maxNotes)
	other := &inflight{sentAt: 1}
	if s.noteRepeatLocked(other, 1, 2); other.notes != nil || g.notes.Load() != maxNotes {
		t.Errorf("a delivery beyond the bound has notes: %+v, %d", other.notes, g.notes.Load())
	}
	if s.noteLocked(other, HappenedRetryLater) != nil {
		t.Error("a delivery beyond the bound is noted")
	}
	s.dropNotesLocked(f)
	s.dropNotesLocked(f)
	if f.notes != nil || g.notes.Load() != maxNotes-1 {
		t.Errorf("dropped notes are counted: %d", g.notes.Load())
	}
}

// A delivery that a device wanted later on an earlier connection has its notes once.
func TestNotesOfAnEarlierConnectionAreCountedOnce(t *testing.T) {
	g := newStage(&explorer{cfg: handover{window: 1}}).g
	s := &Session{g: g, link: takesAll{}, client: "b", flags: flagStarted, window: 1}
	s.busyLocked().tried = []attempt{{seq: 1, sentAt: 5, later: 2}}
	if sent, _ := s.send(Transmission{Seq: 1, ExpiresAt: time.Unix(2000, 0)}); !sent {
		t.Fatal("the delivery was not sent")
	}
	f := s.findLocked(1, false)
	if g.notes.Load() != 1 || f.attempt().later != 2 {
		t.Errorf("%d notes, with %d answers retry later, want one with two", g.notes.Load(), f.attempt().later)
	}
	if s.dropLocked(f); g.notes.Load() != 0 {
		t.Errorf("%d notes are left", g.notes.Load())
	}
}

// takesAll is a link that takes every delivery.
type takesAll struct{ Link }

func (takesAll) Deliver(Transmission) error { return nil }

func TestRememberedEndsAreBounded(t *testing.T) {
	var e sentEnds
	now := time.Unix(1e9, 0)
	for i := range maxEnds + 10 {
		e.add("c", attempt{seq: Seq(i + 1), sentAt: 7, attempts: 2}, now.Add(time.Duration(i)))
	}
	if len(e.of.of) != maxEnds || e.of.order.Len() != maxEnds {
		t.Errorf("%d and %d entries, want %d", len(e.of.of), e.of.order.Len(), maxEnds)
	}
	if old, lost := e.get("c", 10); old.sentAt != 0 || lost != now.UnixNano()+9 {
		t.Errorf("the tenth is %+v, lost until %d", old, lost-now.UnixNano())
	}
	if last, _ := e.get("c", maxEnds+10); last.attempts != 2 {
		t.Errorf("the last is %+v", last)
	}
}

// The next registration of a client removes its refusals, and the oldest of too many
// forgotten clients give way.
func TestRefusalsAndForgottenClients(t *testing.T) {
	g := &Gateway{cfg: Config{Now: time.Now}}
	h := &Hello{Client: "twice", Remote: netip.MustParseAddrPort("192.0.2.1:1")}
	for range 2 {
		g.noteRefusal(h, &Error{Code: CodeBlocked})
	}
	g.noteRefusal(h, &Error{Code: CodeUnauthorized}) // of the authenticator, which has its own list
	if r, ok := g.Refusal("twice"); !ok || r.Count != 2 || r.Reason != RefusedBlocked {
		t.Errorf("%+v, %v", r, ok)
	}
	for _, r := range refusals {
		g.noteRefusal(h, &Error{Code: r.code})
		if got, _ := g.Refusal("twice"); got.Reason != r.reason {
			t.Errorf("%s is remembered as %q, want %q", r.code, got.Reason, r.reason)
		}
	}
	if g.noteRefusal(h, nil); g.refusals.Len() != 0 {
		t.Error("a client that has registered is still refused")
	}
	for i := range maxForgotten + 5 {
		g.forgotten.add(ClientID(fmt.Sprint(i)), time.Unix(int64(i+1), 0))
	}
	if len(g.forgotten.at.of) != maxForgotten || !g.ForgottenAt("4").IsZero() || g.ForgottenAt("5").IsZero() {
		t.Errorf("%d forgotten clients", len(g.forgotten.at.of))
	}
}
