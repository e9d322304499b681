package journaltest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/journal"
	"github.com/longwire/longwire/internal/engine/record"
	"github.com/longwire/longwire/internal/engine/state"
)

// The verdicts that a Writer is given are those of the state.
func TestVerdictsAgree(t *testing.T) {
	for v, want := range map[state.Verdict]journal.Verdict{state.Next: journal.Applied, state.Repeat: journal.Repeat,
		state.Hole: journal.Hole, state.Fenced: journal.Fenced} {
		if got := journal.Verdict(v); got != want {
			t.Errorf("the state's verdict %d is %d for a writer, want %d", v, got, want)
		}
	}
}

// follower applies what it reads of a journal.
type follower struct {
	disk    *disk
	machine *state.Machine
}

func newFollower(t *testing.T) *follower {
	t.Helper()
	f := &follower{disk: newDisk()}
	var err error
	if f.machine, err = state.NewMachine(f.disk, state.CachesEmpty); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *follower) take(pos uint64, raw []byte) (*record.Commit, state.Verdict, error) {
	c, err := record.Decode(raw)
	if err != nil {
		return nil, 0, err
	}
	v := f.machine.Judge(c)
	if v != state.Next {
		return c, v, nil
	}
	a, err := f.machine.ApplyAll(c, pos, make([]state.Result, len(c.Events)))
	if err == nil {
		err = f.disk.store(&a.Changes)
	}
	return c, v, err
}

// uplink returns a record with one uplink, and the opening if it is the first.
func uplink(writer, n uint64, payload string) []byte {
	c := record.Commit{Writer: writer, Boot: 10 * writer, N: n, At: epoch}
	if n == 1 {
		c.Events = append(c.Events, &record.Opened{})
	}
	u := &record.Uplink{Uplink: gateway.Uplink{Client: "c", At: record.TimeOf(epoch), Payload: []byte(payload)}}
	c.Events = append(c.Events, u)
	return c.Encode()
}

// Three processes write over a journal that loses, repeats, delays and reorders, with
// goroutines and timers, until all that they have handed in is answered.
func TestWritersFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const writers, each = 3, 60
		l := NewLog("l", 1, Faults{Lose: 0.1, Repeat: 0.1, Delay: time.Second})
		ctx, cancel := context.WithCancel(t.Context())
		ends := make(chan error, writers)
		nodes := make([]*follower, writers)
		answered := make(chan struct{}, writers)
		for i := range nodes {
			f := newFollower(t)
			nodes[i] = f
			go func() {
				ends <- write(ctx, l.Connect(), f, uint64(i+1), each, func() { answered <- struct{}{} })
			}()
		}
		for range writers {
			<-answered
		}
		time.Sleep(time.Minute) // late copies come, and all nodes read them
		cancel()
		for range writers {
			if err := <-ends; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		for i, f := range nodes {
			if err := f.disk.Equal(nodes[0].disk.Rows); err != nil {
				t.Errorf("node %d: %v", i, err)
			}
			if got := f.machine.State.Useq; got != writers*each {
				t.Errorf("node %d has %d uplinks, want %d", i, got, writers*each)
			}
		}
	})
}

// write hands records over until the last one is answered, and follows until ctx ends.
func write(ctx context.Context, s journal.Shared, f *follower, id uint64, each int, done func()) error {
	type read struct {
		pos uint64
		raw []byte
	}
	reads, end := make(chan read), make(chan error, 1)
	go func() {
		end <- s.Follow(ctx, 0, func(pos uint64, raw []byte) error {
			select {
			case reads <- read{pos, raw}:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	w := journal.NewWriter(id, 10*id, 0)
	late := time.NewTimer(journal.Patience)
	for {
		for w.Room() && w.Next() <= uint64(each) {
			w.Add(uplink(id, w.Next(), fmt.Sprintf("%d from %d", w.Next(), id)))
		}
		for _, r := range w.Send() {
			if err := s.Append(ctx, r); err != nil {
				return err
			}
		}
		select {
		case err := <-end:
			return err
		case <-late.C:
			w.Again()
			late.Reset(journal.Patience)
		case r := <-reads:
			c, v, err := f.take(r.pos, r.raw)
			if err != nil {
				return err
			}
			switch w.ReadBack(journal.Record{Pos: r.pos, Writer: c.Writer, Boot: c.Boot, N: c.N, Bytes: r.raw}, journal.Verdict(v)) {
			case journal.Answer:
				late.Reset(journal.Patience)
				if c.N == uint64(each) {
					done()
				}
			case journal.Leave, journal.Reopen:
				return fmt.Errorf("writer %d was overtaken", id)
			}
		}
	}
}

// Two nodes that were given two histories have two checksums behind the next position
// that nodes compare.
func TestTwoHistoriesAreSeen(t *testing.T) {
	l := NewLog("l", 1, Faults{})
	for n := range uint64(256) {
		appendAll(t, l, string(uplink(1, n+1, "once")))
	}
	a, b, c := newFollower(t), newFollower(t), newFollower(t)
	readAll := func(f *follower) {
		t.Helper()
		for pos := f.machine.State.Pos + 1; pos <= l.End(); pos++ {
			if _, v, err := f.take(pos, l.At(pos)); err != nil || v != state.Next {
				t.Fatalf("position %d: verdict %d, %v", pos, v, err)
			}
		}
	}
	readAll(a)
	readAll(c)
	l.Cut(255)
	if err := l.Follow(t.Context(), 256, func(uint64, []byte) error { return nil }); !errors.Is(err, journal.ErrEnds) {
		t.Errorf("the node that has read the lost record follows: %v", err)
	}
	appendAll(t, l, string(uplink(1, 256, "twice")))
	readAll(b)
	x, y, z := a.machine.State.Agreed, b.machine.State.Agreed, c.machine.State.Agreed
	if x != z || x.Pos != 256 || y.Pos != 256 || x.Sum == y.Sum {
		t.Errorf("the nodes compare %+v, %+v and %+v, want the second to differ in the sum alone", x, y, z)
	}
}
