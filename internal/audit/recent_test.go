package audit

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func entryAt(n int) Entry {
	e := push(fmt.Sprintf("c-%d", n))
	e.At = e.At.Add(time.Duration(n) * time.Second)
	return e
}

// recorded waits until the log has written n entries.
func recorded(t *testing.T, l *Log, n uint64) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		l.recent.mu.Lock()
		total := l.recent.total
		l.recent.mu.Unlock()
		if total >= n {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d entries are recorded, want %d", total, n)
		}
	}
}

func targets(list []Recorded) string {
	var all []string
	for _, e := range list {
		all = append(all, e.Target)
	}
	return strings.Join(all, " ")
}

// TestRecentEntriesOutliveARestart: the file's entries come first, and a torn or foreign
// line is passed over.
func TestRecentEntriesOutliveARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l, _ := begin(t, path)
	for n := range 3 {
		l.Record(entryAt(n))
	}
	l.Record(Entry{At: entryAt(3).At, Who: "key_2", Name: "backend", What: Disconnect, Target: "c-1 purge", Via: Console, Result: "client-not-found"})
	l.Close()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(f, `{"time":"2027-01-15T08:00:09Z","msg":"no entry"}`)
	fmt.Fprint(f, `{"time":"2027-01-15T08:00:10Z","msg":"push","aud`)
	f.Close()
	l, _ = begin(t, path)
	defer l.Close()
	l.Record(entryAt(5))
	recorded(t, l, 5)
	for _, c := range []struct {
		q    Query
		want string
		more bool
	}{
		{Query{Limit: 10}, "c-5 c-1 purge c-2 c-1 c-0", false},
		{Query{Limit: 2}, "c-5 c-1 purge", true},
		{Query{Limit: 10, Before: 4}, "c-2 c-1 c-0", false},
		{Query{Limit: 10, Who: "backend"}, "c-1 purge", false},
		{Query{Limit: 10, Who: "key_2"}, "c-1 purge", false},
		{Query{Limit: 10, Target: "c-1"}, "c-1 purge c-1", false},
		{Query{Limit: 10, Target: "c-"}, "", false},
		{Query{Limit: 10, Since: entryAt(2).At}, "c-5 c-1 purge c-2", false},
	} {
		list, more := l.Recent(c.q)
		if got := targets(list); got != c.want || more != c.more {
			t.Errorf("%+v: %q, more %v; want %q, %v", c.q, got, more, c.want, c.more)
		}
	}
	if list, _ := l.Recent(Query{Limit: 10, Who: "key_2"}); list[0].Result != "client-not-found" || list[0].What != Disconnect || list[0].Number != 4 || list[0].Via != Console {
		t.Errorf("entry %+v, want it as it was recorded", list[0])
	}
}

// TestAnEntryBehindATornLineIsWhole: a start continues on a line of its own.
func TestAnEntryBehindATornLineIsWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(path, []byte(`{"time":"2027-01-15T08:00:00Z","msg":"push","aud`), 0o600); err != nil {
		t.Fatal(err)
	}
	for n := range 2 {
		l, _ := begin(t, path)
		l.Record(entryAt(n))
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l, _ := begin(t, path)
	defer l.Close()
	list, _ := l.Recent(Query{Limit: 10})
	if got := targets(list); got != "c-1 c-0" {
		t.Errorf("the next start has the entries %q, want both", got)
	}
}

// TestRecentIsBounded: up to ten thousand entries, the newest ones, also from a larger file.
// When the list is full, a tenth gives way at once.
func TestRecentIsBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	w, err := openFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range MaxRecent + 500 {
		w.write(entryAt(n))
	}
	if err := w.flush(); err != nil {
		t.Fatal(err)
	}
	w.close()
	l, err := Open(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	long := entryAt(MaxRecent + 500)
	long.Target = strings.Repeat("é", maxKept)
	l.Record(long)
	recorded(t, l, MaxRecent+1)
	list, more := l.Recent(Query{Limit: 2 * MaxRecent})
	if since := l.Since(); !since.Equal(entryAt(1500).At) {
		t.Errorf("kept since %v, want the last one that gave way, %v", since, entryAt(1500).At)
	}
	if len(list) != MaxRecent/10*9 || more || list[len(list)-1].Target != "c-1501" || len(list[0].Target) != maxKept {
		t.Errorf("%d entries, the oldest %q, the newest with a target of %d bytes", len(list), list[len(list)-1].Target, len(list[0].Target))
	}
	var none *Log
	if list, more := none.Recent(Query{Limit: 1}); list != nil || more {
		t.Error("no log has entries")
	}
}

// TestOneKeyPushesOutItsOwnEntriesAlone: a key with many calls hides nothing that others
// have done.
func TestOneKeyPushesOutItsOwnEntriesAlone(t *testing.T) {
	var l Log
	r := &l.recent
	r.begin(entryAt(0).At)
	for n := range 3 * MaxRecent {
		e := entryAt(n)
		switch {
		case n < 20:
			e.Who = "key_admin"
		case n%100 == 0 && n < MaxRecent:
			e.Who = "key_other"
		default:
			e.Who = "key_busy"
		}
		r.add(e)
	}
	for who, want := range map[string]int{"key_admin": 20, "key_other": 99} {
		if list, _ := l.Recent(Query{Limit: MaxRecent, Who: who}); len(list) != want {
			t.Errorf("%s has %d entries, want its %d", who, len(list), want)
		}
	}
	list, _ := l.Recent(Query{Limit: MaxRecent})
	if n := len(list); n < MaxRecent/10*9 || n > MaxRecent || list[0].Number != 3*MaxRecent {
		t.Errorf("%d entries, the newest is number %d", n, list[0].Number)
	}
	for i, e := range list[1:] {
		if before := list[i].Number; e.Number >= before || e.At.After(l.Since()) && e.Number != before-1 {
			t.Fatalf("number %d follows %d, and every entry after %v is there", e.Number, before, l.Since())
		}
	}
}

// TestMoreKeysThanEntries: each key has one entry, and the newest ones stay.
func TestMoreKeysThanEntries(t *testing.T) {
	var l Log
	for n := range MaxRecent + 1 {
		e := entryAt(n)
		e.Who = fmt.Sprintf("key_%d", n)
		l.recent.add(e)
	}
	list, _ := l.Recent(Query{Limit: MaxRecent})
	if len(list) != MaxRecent/10*9 || list[0].Number != MaxRecent+1 || !l.Since().Equal(entryAt(1000).At) {
		t.Errorf("%d entries up to number %d, complete after %v", len(list), list[0].Number, l.Since())
	}
}
