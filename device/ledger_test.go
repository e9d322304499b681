package device

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/longwire/longwire/protocol"
)

func receiveAll(t *testing.T, l *ledger, seqs ...uint64) map[uint64]*entry {
	t.Helper()
	entries := map[uint64]*entry{}
	for _, seq := range seqs {
		e, state := l.receive(seq, nil, 1)
		if state != fresh {
			t.Fatalf("%d is %d, want fresh", seq, state)
		}
		entries[seq] = e
	}
	return entries
}

func wantLast(t *testing.T, l *ledger, want uint64) {
	t.Helper()
	if got := l.position().LastSeq; got != want {
		t.Fatalf("last is %d, want %d", got, want)
	}
}

func TestLedgerInAnyOrder(t *testing.T) {
	l := newLedger(true, Position{"log", 5})
	e := receiveAll(t, &l, 9, 7, 12)
	l.done(e[12], protocol.AckOK, nil)
	l.done(e[9], protocol.AckReject, []byte("no"))
	wantLast(t, &l, 5)
	if _, state := l.receive(7, nil, 2); state != underway {
		t.Errorf("7 is %d, want underway", state)
	}
	l.abandon(e[7])
	if _, state := l.receive(7, nil, 2); state != fresh {
		t.Errorf("7 is %d, want fresh again", state)
	}
	l.done(e[7], protocol.AckOK, nil)
	wantLast(t, &l, 12)
	if seen, state := l.receive(9, nil, 2); state != handled || seen.code != protocol.AckReject || string(seen.result) != "no" {
		t.Errorf("9 is %d with %v %q", state, seen.code, seen.result)
	}
	if seen, state := l.receive(3, nil, 2); state != handled || seen.code != protocol.AckOK {
		t.Errorf("3 is %d with %v", state, seen.code)
	}
}

// A delivery that never comes again must not hold up last, or fill memory, for
// ever; one that a worker has does.
func TestLedgerIsBounded(t *testing.T) {
	l := newLedger(true, Position{})
	e := receiveAll(t, &l, 1, 2)
	l.abandon(e[1])
	for seq := uint64(3); seq < 3+2*maxEntries; seq++ {
		l.done(receiveAll(t, &l, seq)[seq], protocol.AckOK, make([]byte, keepResult+1))
	}
	if len(l.entries) > maxEntries {
		t.Errorf("%d entries, at most %d", len(l.entries), maxEntries)
	}
	wantLast(t, &l, 0)
	l.done(e[2], protocol.AckOK, nil)
	wantLast(t, &l, 2+2*maxEntries)
	if seen, _ := l.receive(2+2*maxEntries, nil, 1); seen.result != nil {
		t.Errorf("a result of %d bytes is kept", len(seen.result))
	}
}

func TestLedgerFollowsTheLog(t *testing.T) {
	l := newLedger(true, Position{})
	if l.follow("a") {
		t.Error("the first log voids nothing")
	}
	e := receiveAll(t, &l, 4, 5)
	l.done(e[4], protocol.AckOK, nil)
	if l.follow("a") {
		t.Error("the same log voids nothing")
	}
	if !l.follow("b") {
		t.Error("another log voids everything")
	}
	wantLast(t, &l, 0)
	l.done(e[5], protocol.AckOK, nil) // of the old log
	wantLast(t, &l, 0)
}

func TestFileState(t *testing.T) {
	dir := t.TempDir()
	s := FileState{filepath.Join(dir, "state.json")}
	if p, err := s.Load(); err != nil || p != (Position{}) {
		t.Errorf("nothing there: %+v, %v", p, err)
	}
	for _, want := range []Position{{"log_1", 7}, {"log_2", 1<<64 - 1}} {
		if err := s.Save(want); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Load(); err != nil || got != want {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("files left behind: %v", files)
	}
	for _, bad := range []string{"{", strings.Repeat(" ", maxStateFile+1)} {
		if err := os.WriteFile(s.Path, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Load(); err == nil || !strings.Contains(err.Error(), s.Path) {
			t.Errorf("%.5q: got %v, want an error that names the file", bad, err)
		}
	}
	gone := FileState{filepath.Join(dir, "nowhere", "state.json")}
	if err := gone.Save(Position{"log", 1}); err == nil {
		t.Error("saved into a directory that does not exist")
	}
}
