package journaltest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/internal/engine/journal"
)

// follow reads n records behind from.
func follow(t *testing.T, s journal.Shared, from uint64, n int) (records []string) {
	t.Helper()
	full := errors.New("enough")
	err := s.Follow(t.Context(), from, func(pos uint64, r []byte) error {
		records = append(records, fmt.Sprintf("%d %s", pos, r))
		if len(records) == n {
			return full
		}
		return nil
	})
	if !errors.Is(err, full) {
		t.Fatalf("follow ended with %v", err)
	}
	return records
}

func appendAll(t *testing.T, s journal.Shared, records ...string) {
	t.Helper()
	for _, r := range records {
		if err := s.Append(t.Context(), []byte(r)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLogInSteps(t *testing.T) {
	l := NewLog("l", 1, Faults{Step: true})
	appendAll(t, l, "a", "b", "c", "d")
	l.Deliver(1)
	l.Repeat(0)
	l.Lose(1)
	l.Settle()
	want := []string{"1 b", "2 a", "3 a", "4 d"}
	if got := follow(t, l, 0, 4); !slices.Equal(got, want) {
		t.Errorf("read %q, want %q", got, want)
	}
	if got := follow(t, l, 2, 2); !slices.Equal(got, want[2:]) {
		t.Errorf("read %q, want %q", got, want[2:])
	}
	if l.End() != 4 || l.InAir() != 0 || string(l.At(4)) != "d" || l.At(5) != nil || l.At(0) != nil {
		t.Errorf("end %d, %d under way, the last is %q", l.End(), l.InAir(), l.At(4))
	}
}

// A log with faults loses, repeats, delays and reorders, and without them it does not.
func TestLogFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 400
		for _, f := range []Faults{{}, {Delay: time.Second}, {Lose: 0.2, Repeat: 0.2, Delay: time.Second}} {
			l := NewLog("l", 1, f)
			count := map[string]int{}
			for i := range n {
				appendAll(t, l, fmt.Sprint(i))
			}
			time.Sleep(2 * time.Second)
			inOrder := true
			for pos := uint64(1); pos <= l.End(); pos++ {
				count[string(l.At(pos))]++
				inOrder = inOrder && string(l.At(pos)) == fmt.Sprint(pos-1)
			}
			twice := int(l.End()) - len(count)
			if lossy := len(count) < n; lossy != (f.Lose > 0) {
				t.Errorf("%+v: %d of %d stored", f, len(count), n)
			}
			if (twice > 0) != (f.Repeat > 0) || inOrder != (f.Delay == 0) || l.InAir() != 0 {
				t.Errorf("%+v: %d twice, in order %v, %d under way", f, twice, inOrder, l.InAir())
			}
		}
	})
}

func TestFollowerWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLog("l", 1, Faults{})
		a, b := l.Connect(), l.Connect()
		ctx, cancel := context.WithCancel(t.Context())
		read := map[*Conn]int{}
		ends := make(chan error, 2)
		for _, c := range []*Conn{a, b} {
			go func() {
				ends <- c.Follow(ctx, 0, func(uint64, []byte) error { read[c]++; return nil })
			}()
			synctest.Wait()
		}
		want := func(na, nb int) {
			t.Helper()
			synctest.Wait()
			if read[a] != na || read[b] != nb {
				t.Errorf("read %d and %d, want %d and %d", read[a], read[b], na, nb)
			}
		}
		b.Hold()
		appendAll(t, a, "1", "2")
		want(2, 0)
		b.Release()
		want(2, 2)
		down := errors.New("down")
		a.Break(down)
		if err := <-ends; !errors.Is(err, down) {
			t.Errorf("the broken connection's follower ends with %v", err)
		}
		if err := a.Append(ctx, []byte("3")); !errors.Is(err, down) {
			t.Errorf("append on a broken connection: %v", err)
		}
		cancel()
		if err := <-ends; !errors.Is(err, context.Canceled) {
			t.Errorf("the follower ends with %v", err)
		}
	})
}

// A follower that the journal cannot go on with is refused.
func TestFollowRefuses(t *testing.T) {
	l := NewLog("l", 1, Faults{})
	appendAll(t, l, "1", "2", "3", "4")
	ignore := func(uint64, []byte) error { return nil }
	if err := l.Trim(2); err != nil {
		t.Fatal(err)
	}
	if err := l.Follow(t.Context(), 1, ignore); !errors.Is(err, journal.ErrTrimmed) {
		t.Errorf("behind a trim: %v", err)
	}
	follow(t, l, 2, 2)
	err := l.Follow(t.Context(), 2, func(pos uint64, _ []byte) error {
		if pos == 4 {
			l.Cut(3)
		}
		return nil
	})
	if !errors.Is(err, journal.ErrEnds) {
		t.Errorf("behind a cut: %v", err)
	}
	if err := l.Follow(t.Context(), 4, ignore); !errors.Is(err, journal.ErrEnds) {
		t.Errorf("from behind the end: %v", err)
	}
	appendAll(t, l, "another 4")
	if got := follow(t, l, 3, 1); got[0] != "4 another 4" {
		t.Errorf("read %q", got)
	}
}
