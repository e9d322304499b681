package state

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// events returns all rows of events, decoded.
func (w *world) events() (all []Event) {
	w.Helper()
	err := w.view().each([]byte{kindEvents}, []byte{kindEvents + 1}, false, func(k, val []byte) (bool, error) {
		events, err := DecodeEvents(append([]byte(nil), k...), val)
		all = append(all, events...)
		return true, err
	})
	if err != nil {
		w.Fatal(err)
	}
	return all
}

// wantEvents wants these as the events of the last record, one line each, and numbers
// without a gap from after on.
func (w *world) wantEvents(after int, want ...string) {
	w.Helper()
	var got []string
	next := uint64(1)
	for _, e := range w.events() {
		if e.Number != next {
			w.Errorf("event %d follows number %d", e.Number, next-1)
		}
		if next = e.Number + uint64(e.N); e.Number > uint64(after) {
			got = append(got, w.line(&e))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.Errorf("events (-want +got):\n%s", diff)
	}
	w.verify()
}

var eventNames = [...]string{EventConnected: "connected", EventReplaced: "replaced", EventDisconnected: "disconnected",
	EventDisconnectedAll: "disconnected_all", EventForgotten: "forgotten", EventQueuedForAbsent: "queued_for_absent",
	EventQueuedForAbsentMany: "queued_for_absent_many", EventReceived: "received", EventSettled: "settled", EventSettledRest: "settled_rest",
	EventLateAck: "late_ack", EventCompleted: "completed"}

// line returns an event as text, with its time relative to the world's.
func (w *world) line(e *Event) string {
	s := fmt.Sprintf("%s %s", eventNames[e.Kind], e.Client)
	for _, f := range []struct {
		name  string
		value any
		zero  bool
	}{{"epoch", e.Epoch, e.Epoch == 0}, {"seq", e.Seq, e.Seq == 0}, {"state", e.State, e.State == 0}, {"reason", e.Reason, e.Reason == ""},
		{"at", time.Duration(e.At - w.at.UnixNano()), false}, {"n", e.N, e.N == 1}, {"clients", e.Clients.Count(), e.Clients == nil}} {
		if !f.zero {
			s += fmt.Sprintf(" %s=%v", f.name, f.value)
		}
	}
	return s
}

func (w *world) accept(id gateway.MessageID, to gateway.Audience) *record.Accept {
	return &record.Accept{Acceptance: gateway.Acceptance{ID: id, To: to, Payload: []byte("payload"), QueueUnknown: true,
		CreatedAt: w.at, ExpiresAt: w.at.Add(time.Hour)}}
}

func (w *world) settle(id gateway.MessageID, client gateway.ClientID, s gateway.State, reason string) *record.Settle {
	return &record.Settle{Outcome: gateway.Outcome{Message: id, Client: client, State: s, Reason: reason, Attempts: 1, At: w.at.Add(time.Second)}}
}

// Each change of the feed, and each change of presence, is one event in log order.
func TestEvents(t *testing.T) {
	w := newWorld(t)
	one := func(id gateway.ClientID) gateway.Audience { return gateway.Audience{Client: id} }
	w.record(1, 11, w.register("a"), w.register("a"), w.ends("a", 1), w.ends("a", 2), w.register("a"), w.register("b"))
	w.wantEvents(0, "connected a epoch=1 at=0s", "replaced a epoch=2 at=0s", "disconnected a epoch=2 reason=client_closed at=0s", "connected a epoch=3 at=0s", "connected b epoch=1 at=0s")

	w.record(1, 11, w.accept("m1", one("a")), w.accept("m2", one("absent")), w.accept("m1", one("a")),
		w.accept("m3", gateway.Audience{Clients: []gateway.ClientID{"a", "b", "stranger"}}),
		&record.Uplink{Uplink: gateway.Uplink{Client: "a", At: w.at.Add(-time.Minute), Payload: []byte("up")}})
	w.wantEvents(5, "queued_for_absent absent seq=2 at=0s", "queued_for_absent stranger seq=3 at=0s", "received a seq=1 at=-1m0s")

	w.record(1, 11, w.settle("m1", "a", gateway.Acked, ""), w.settle("m1", "a", gateway.Acked, ""), // counts once
		w.settle("m3", "a", gateway.Rejected, gateway.ReasonDeviceRejected), w.settle("m3", "b", gateway.Failed, gateway.ReasonAttemptsUsedUp),
		&record.Expire{ID: "m2", At: w.at.Add(2 * time.Hour)}, &record.Expire{ID: "m3", At: w.at.Add(2 * time.Hour)},
		w.settle("m3", "b", gateway.Acked, ""))
	w.wantEvents(8, "settled a seq=1 state=acked at=1s", "settled a seq=3 state=rejected reason=device_rejected at=1s",
		"settled b seq=3 state=failed reason=attempts_used_up at=1s", "settled absent seq=2 state=expired at=2h0m0s",
		"settled_rest  seq=3 state=expired at=2h0m0s", "completed  seq=3 at=2h0m0s", "late_ack b seq=3 state=failed at=1s")

	w.record(1, 11, w.accept("m4", one("a")), &record.Cancel{ID: "m4", At: w.at}, &record.Cancel{ID: "m4", At: w.at},
		w.accept("m5", one("b")), &record.Purge{Client: "b", At: w.at}, w.ends("b", 1))
	w.wantEvents(15, "settled a seq=4 state=canceled at=0s", "settled b seq=5 state=canceled reason=purged at=0s", "disconnected b epoch=1 reason=client_closed at=0s")

	w.record(1, 11, &record.Probe{}, w.accept("m4", one("a")), w.settle("none", "a", gateway.Acked, "")) // no change, no row
	w.wantEvents(18)

	w.record(1, 11, &record.ForgetClient{Client: "b", Before: w.at.Add(time.Minute), At: w.at})
	w.wantEvents(18, "forgotten b epoch=1 at=0s")

	w.restart()
	w.record(1, 12, w.register("a"))
	w.wantEvents(19, "disconnected_all  reason=server_stopped at=0s clients=1", "connected a epoch=4 at=0s")
}

// What concerns many clients in one step is one entry with as many numbers.
func TestEventsOfMany(t *testing.T) {
	w := newWorld(t)
	bounds := record.DefaultBounds()
	bounds.SmallAudience, bounds.MaxQueued = 0, 1
	events := []record.Event{&record.Bounded{Bounds: bounds}}
	const clients = record.ChunkBits + 10
	for i := range clients {
		events = append(events, w.register(gateway.ClientID(fmt.Sprint("c", i))))
	}
	w.record(1, 11, events...)
	for i := range 5 {
		w.record(1, 11, w.ends(gateway.ClientID(fmt.Sprint("c", i)), 1), w.ends(gateway.ClientID(fmt.Sprint("c", clients-1-i)), 1))
	}
	w.record(1, 11, w.accept("full", gateway.Audience{Client: "c0"}))
	after := int(w.Machine.State.Event)
	w.record(1, 11, w.accept("m", gateway.Audience{All: true}), w.settle("m", "c9", gateway.Acked, ""),
		&record.Cancel{ID: "m", At: w.at}, w.settle("m", "c8", gateway.Acked, ""))
	w.wantEvents(after, "settled c0 seq=2 state=failed reason=queue_full at=0s", "queued_for_absent_many  seq=2 at=0s n=9 clients=9", "settled c9 seq=2 state=acked at=1s",
		fmt.Sprintf("settled_rest  seq=2 state=canceled at=0s n=%d", clients-2), "completed  seq=2 at=0s", "late_ack c8 seq=2 state=canceled at=1s")
	w.restart()
	w.record(1, 12)
	if got := w.events(); got[len(got)-1].N != clients-10 || w.Machine.State.Event != uint64(after+1+9+1+clients-2+1+1+clients-10) {
		t.Errorf("the last event is of %d clients, number %d", got[len(got)-1].N, w.Machine.State.Event)
	}
	w.verify()
}

// Numbers that a process before may have given are not given again.
func TestEventNumbersAreRaised(t *testing.T) {
	w := newWorld(t)
	w.record(1, 11, w.register("a"))
	r := &record.Commit{Writer: 1, Boot: 12, N: 1, At: w.at.UnixNano(), Events: []record.Event{&record.Opened{After: 11, Floor: record.Numbers{Event: 100}}}}
	a, err := w.ApplyAll(r, 2, make([]Result, 1))
	if err != nil {
		t.Fatal(err)
	}
	w.apply(t, &a.Changes)
	if e := w.events(); len(e) != 2 || e[1].Number != 101 || a.State.Event != 101 {
		t.Errorf("events %+v, then number %d", e, a.State.Event)
	}
	w.verify()
}

// The events of a record take no memory beside their row.
func TestEventsTakeNoMemory(t *testing.T) {
	w := newWorld(t)
	w.Begin(&record.Commit{Writer: 1, At: w.at.UnixNano()})
	f := &finalRow{state: gateway.Acked, finalAt: w.at.UnixNano()}
	w.Machine.events.row = make([]byte, 0, 1<<20)
	if n := testing.AllocsPerRun(1000, func() { w.noteSettled(EventSettled, f, "client-000001", 1<<30) }); n > 0 {
		t.Errorf("an event takes %v allocations", n)
	}
}

// The check of all rows finds events that are damaged, missing or in the wrong place.
func TestEventsAreChecked(t *testing.T) {
	for name, change := range map[string]struct {
		row  func(k, val []byte) (key, value []byte)
		says string
	}{
		"missing": {func(k, _ []byte) ([]byte, []byte) { return k, nil }, "bytes of events"},
		"damaged": {func(k, val []byte) ([]byte, []byte) { val[3] ^= 1; return k, val }, "checksum"},
		"moved": {func(_, val []byte) ([]byte, []byte) {
			k := key64(kindEvents, 1<<40)
			return k, record.PutSum(k, val[:len(val)-4])
		}, "from number"},
		"not complete": {func(k, val []byte) ([]byte, []byte) { return k, record.PutSum(k, val[:len(val)-5]) }, "too early"},
	} {
		w := newWorld(t)
		w.record(1, 11, w.register("a"))
		w.record(1, 11, w.register("b"))
		key := key64(kindEvents, 2)
		val, err := w.testDB.Get(key)
		if err != nil || val == nil {
			t.Fatal(err)
		}
		k, val := change.row(slices.Clone(key), val)
		if val == nil {
			err = w.testDB.DB.Delete(k, nil)
		} else {
			err = w.testDB.DB.Set(k, val, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		var f Findings
		w.view().Check(&f)
		if !strings.Contains(strings.Join(f.Problems, "\n"), change.says) {
			t.Errorf("%s: the check says %q", name, f.Problems)
		}
	}
}

// An entry may have more fields, or a kind, of a later version.
func TestLaterEvents(t *testing.T) {
	w := newWorld(t)
	w.record(1, 11, w.register("a"))
	key := key64(kindEvents, 1)
	val, _ := w.testDB.Get(key)
	entry := val[9 : len(val)-4] // behind the time of the record
	entry[1] += 4
	entry[2] |= partMany
	entry = append(slices.Clone(entry), 2, 0, 'n', 'w') // two numbers, no clients, more
	later := append(append(slices.Clone(val[:9]), entry...), 200, 3, 1, 'b', 7)
	events, err := DecodeEvents(key, record.PutSum(key, later))
	if err == nil || events != nil {
		t.Errorf("an entry that ends within a field is read as %+v", events)
	}
	later = append(later[:len(later)-5], append([]byte{200}, entry[1:]...)...)
	events, err = DecodeEvents(key, record.PutSum(key, later))
	if err != nil || len(events) != 2 || events[0].N != 2 || events[1].Number != 3 || events[1].Kind != 200 || events[1].Client != "a" {
		t.Errorf("%+v, %v", events, err)
	}
}

// FuzzDecodeEvents shows that no row makes the decoder fall over, and that numbers are
// taken by every entry.
func FuzzDecodeEvents(f *testing.F) {
	key := key64(kindEvents, 7)
	f.Add([]byte{0})
	f.Add([]byte{2, byte(EventConnected), 7, 1, 'a', 1, 0, 0, 0, 4})
	f.Add([]byte{2, byte(EventQueuedForAbsentMany), 13, 0, 0, 9, 0, 0, 4, 2, 1, 0, 3, 1, 5, 1})
	f.Fuzz(func(t *testing.T, row []byte) {
		events, err := DecodeEvents(key, record.PutSum(key, slices.Clone(row)))
		next := uint64(7)
		for _, e := range events {
			if err != nil || e.Number != next || e.N < 1 {
				t.Errorf("%+v follows number %d; %v", e, next-1, err)
			}
			next += uint64(e.N)
		}
	})
}

// sweep removes what OldEvents finds, as the driver does, and wants the numbers of the
// rows that are left.
func (w *world) sweep(after Ahead, now time.Time, max int, left ...uint64) (ahead Ahead) {
	w.Helper()
	events, ahead, err := w.view().OldEvents(after, now, max)
	if err != nil {
		w.Fatal(err)
	}
	if len(events) > 0 {
		w.record(1, 11, events...)
	}
	var got []uint64
	for _, e := range w.events() {
		got = append(got, e.Number)
	}
	if !slices.Equal(got, left) {
		w.Errorf("the events %v are left, want %v", got, left)
	}
	w.verify()
	return ahead
}

// Events go at their age, and the oldest first while all have too many bytes.
func TestEventsAreForgotten(t *testing.T) {
	w := newWorld(t)
	bounds := record.DefaultBounds()
	bounds.EventAge = time.Hour
	w.record(1, 11, &record.Bounded{Bounds: bounds})
	begun := w.at
	for i := range 5 {
		w.at = begun.Add(time.Duration(i) * time.Minute)
		w.record(1, 11, w.register("a"))
	}
	w.sweep(Ahead{}, begun.Add(59*time.Minute), 9, 1, 2, 3, 4, 5)
	w.sweep(Ahead{}, begun.Add(61*time.Minute), 9, 3, 4, 5)

	w.at = begun.AddDate(3, 0, 0) // by a clock that was ahead
	w.record(1, 11, w.register("a"), w.register("b"))
	w.at = begun.Add(5 * time.Minute)
	w.record(1, 11, w.register("b"))
	w.sweep(Ahead{}, begun.Add(64*time.Minute), 9, 6, 7, 8)
	ahead := w.sweep(Ahead{}, begun.Add(64*time.Minute), 9, 6, 7, 8)
	if ahead.Through != 6 {
		t.Errorf("the walk goes on behind %d, want 6", ahead.Through)
	}
	w.sweep(ahead, begun.Add(65*time.Minute), 9)

	for range 3 {
		w.record(1, 11, w.register("a"))
	}
	bounds.MaxEventBytes = w.Machine.State.eventBytes/3 + 1
	w.record(1, 11, &record.Bounded{Bounds: bounds})
	w.sweep(Ahead{Through: 99, until: math.MaxInt64}, w.at, 9, 11)
	for range 40 {
		w.record(1, 11, w.register("a"))
	}
	if w.sweep(Ahead{}, w.at, 1, rangeOf(27, 51)...); w.Machine.State.eventBytes <= bounds.MaxEventBytes {
		t.Error("one event of the log has removed all rows that are due")
	}
	w.sweep(Ahead{}, w.at, 9, 51)
}

func rangeOf(from, to uint64) (all []uint64) {
	for n := from; n <= to; n++ {
		all = append(all, n)
	}
	return all
}

// A walk by a clock that was behind does not say which rows are old by the right one.
func TestEventsStayAlthoughTheClockWasBehind(t *testing.T) {
	w := newWorld(t)
	bounds := record.DefaultBounds()
	bounds.EventAge = time.Hour
	w.record(1, 11, &record.Bounded{Bounds: bounds}, w.register("a"))
	right := w.at
	w.at = time.Unix(5, 0)
	w.record(1, 11, w.register("a"))
	ahead := w.sweep(Ahead{}, time.Unix(6, 0), 9, 1, 2)
	if ahead.Through != 1 {
		t.Errorf("the walk goes on behind %d, want 1", ahead.Through)
	}
	w.sweep(ahead, right, 9, 1, 2)
	w.sweep(ahead, right.Add(time.Hour), 9)
}

// What is read from a time on misses no event, also if the clock was behind in between.
func TestEventsFromATimeOnAfterTheClockWasBehind(t *testing.T) {
	w := newWorld(t)
	right := w.at
	want := func(at time.Time, last uint64) {
		t.Helper()
		if got, err := w.view().EventsBefore(at); err != nil || got != last {
			t.Errorf("before %v the last event is %d, %v, want %d", at.Sub(right), got, err, last)
		}
	}
	add := func(at time.Time) {
		w.at = at
		w.record(1, 11, w.register("a"))
	}
	for i := range 8 {
		add(right.Add(time.Duration(i) * time.Minute)) // 1 to 8
	}
	w.Machine.State.Raise(record.Numbers{Event: 1 << 40}) // as a start does
	jump := w.Machine.State.Event
	add(time.Unix(5, 0))
	add(time.Unix(65, 0))
	for i := range 8 {
		add(right.Add(time.Duration(10+i) * time.Minute))
	}
	want(right.Add(5*time.Minute), 5)
	want(right.Add(7*time.Minute), 7)
	want(right.Add(9*time.Minute), jump+2)
	want(right.Add(12*time.Minute), jump+4)
	want(time.Unix(60, 0), 0)
	want(right.Add(time.Hour), jump+10)

	for i := range 3 * maxSetBack {
		add(right.Add(time.Duration(-i) * time.Hour))
	}
	state := w.Machine.State
	if again, err := decodeState(state.encode()); err != nil || again != state || state.setBack[maxSetBack-1] != state.Event {
		t.Errorf("%+v is read as %+v, %v", state, again, err)
	}
}

// A clock that was never set shows a time from which no retention can be taken: nothing
// is due then.
func TestNothingIsDueBefore1970(t *testing.T) {
	w := newWorld(t)
	to := gateway.Audience{Client: "a"}
	done, open := w.accept("m1", to), w.accept("m2", to)
	done.IdempotencyKey = "k"
	w.record(1, 11, w.register("a"), w.register("b"), &record.RemoveClient{Client: "b", At: w.at},
		done, open, w.settle("m1", "a", gateway.Acked, ""))
	v, before := w.view(), time.Unix(-1, 0)
	for what, find := range map[string]func() ([]record.Event, error){
		"messages that are due":  func() ([]record.Event, error) { return v.DueMessages(before, 9) },
		"messages to be removed": func() ([]record.Event, error) { return v.OldMessages(before, 9) },
		"keys":                   func() ([]record.Event, error) { return v.OldKeys(before, 9) },
		"ordinals":               func() ([]record.Event, error) { return v.OldOrdinals(before, 9) },
	} {
		if events, err := find(); err != nil || len(events) > 0 {
			t.Errorf("%s: %v, %v", what, events, err)
		}
	}
}
