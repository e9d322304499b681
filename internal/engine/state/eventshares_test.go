package state

import (
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// hoarded sends uplinks until the event log refuses them, and returns how many were stored.
func (w *world) hoarded(id gateway.ClientID) (n int) {
	w.Helper()
	for ; n < 50_000; n++ {
		if err := w.record(1, 11, w.uplink(id, 1))[0].Err; gateway.CodeOf(err) == gateway.CodeEventsFull {
			return n
		} else if err != nil {
			w.Fatal(err)
		}
	}
	w.Fatalf("%s is never refused", id)
	return n
}

// hoursOf sets a log of hours with bytes each.
func (w *world) hoursOf(bytes int64, hours int) {
	w.Helper()
	b := record.DefaultBounds()
	b.EventAge, b.MaxEventBytes = time.Duration(hours)*time.Hour, bytes*int64(hours)
	w.record(1, 11, &record.Bounded{Bounds: b})
}

// A device has half of an hour that nobody else uses, the next one half of the rest, and
// all have an eighth; the next hour begins anew, also after a restart.
func TestAnHourOfTheEventLogIsShared(t *testing.T) {
	const hour = minEventHour
	w := newWorld(t)
	w.at = time.Date(2031, 2, 3, 4, 50, 0, 0, time.UTC)
	w.hoursOf(hour, 3)
	w.record(1, 11, w.register("a"), w.register("b"), w.register("c"), w.register("d"), w.register("e"))
	size := int64(0)
	for i, want := range []int64{hour / 2, hour / 4, hour / 8, hour / 8, hour / 8} {
		id := gateway.ClientID("abcde"[i : i+1])
		n := w.hoarded(id)
		h, err := w.Machine.hoard(id)
		if err != nil {
			t.Fatal(err)
		}
		size = h.events.bytes / int64(n)
		if h.events.bytes < want-2000 || h.events.bytes > want+2000 {
			t.Errorf("device %s has %d bytes of the hour, want about %d", id, h.events.bytes, want)
		}
	}
	err := w.record(1, 11, w.uplink("a", 1))[0].Err
	e, ok := err.(*gateway.Error)
	if !ok || e.RetryAfter != 10*time.Minute {
		t.Errorf("%v, want to be asked to come back in ten minutes", err)
	}
	w.restart()
	if n := w.hoarded("a"); n != 0 {
		t.Errorf("after a restart a device has %d more", n)
	}
	w.verify()
	w.at = w.at.Add(10 * time.Minute)
	if n := int64(w.hoarded("e")) * size; n < hour/2-2000 {
		t.Errorf("in the next hour a device has %d bytes, want half", n)
	}
	w.at = w.at.Add(-10 * time.Minute) // by the clock of another node
	if err := w.record(1, 11, w.uplink("e", 1))[0].Err; err != nil {
		t.Errorf("in another hour: %v", err)
	}
}

// The first connection of a device in an hour is never refused, however much its tenant has
// used: a fleet comes back after an outage.
func TestTheFirstConnectionOfAnHourIsFree(t *testing.T) {
	w := newWorld(t)
	w.at = time.Date(2031, 2, 3, 4, 0, 0, 0, time.UTC)
	w.hoursOf(minEventHour, 3)
	const tenant = gateway.PrefixAccount + "t-"
	connect := func(id gateway.ClientID) error {
		r := w.register(id)
		r.Account = tenant
		return w.record(1, 11, r)[0].Err
	}
	for _, id := range []gateway.ClientID{"t-1", "t-2"} {
		if err := connect(id); err != nil {
			t.Fatal(err)
		}
	}
	w.at = w.at.Add(time.Hour)
	w.hoarded("t-1")
	w.record(1, 11, w.register("other"))
	w.hoarded("other")
	if err := connect("t-2"); err != nil {
		t.Errorf("the first connection: %v", err)
	}
	var err error
	for range 20 {
		if err = connect("t-2"); err != nil {
			break
		}
	}
	if gateway.CodeOf(err) != gateway.CodeEventsFull {
		t.Errorf("connections without end: %v", err)
	}
	if err := connect("t-1"); err != nil {
		t.Errorf("the first connection of a device with many uplinks: %v", err)
	}
	w.at = w.at.Add(time.Hour)
	if err := connect("t-2"); err != nil {
		t.Errorf("in the next hour: %v", err)
	}
	w.verify()
}

// While the log is nearly empty nobody is refused: it holds many hours of one device.
func TestANearlyEmptyEventLogRefusesNobody(t *testing.T) {
	w := newWorld(t)
	w.at = time.Date(2031, 2, 3, 4, 0, 0, 0, time.UTC)
	const hours = 24
	w.hoursOf(minEventHour, hours)
	w.record(1, 11, w.register("a"))
	w.hoarded("a")
	if got, want := w.Machine.State.eventBytes, int64(minEventHour*hours/emptyLog); got < want || got > want+1000 {
		t.Errorf("the log has %d bytes at the first refusal, want %d", got, want)
	}
}

// A row of the state before the shares reads as one without events in any hour.
func TestAStateBeforeTheSharesIsRead(t *testing.T) {
	want := Standing{Pos: 7, Event: 9, uplinkBytes: 5}
	with, err := decodeState(want.encode())
	if err != nil || with != want {
		t.Fatalf("%+v, %v", with, err)
	}
	v, err := record.CheckSum(keyState, want.encode())
	if err != nil {
		t.Fatal(err)
	}
	old, err := decodeState(record.PutSum(keyState, append([]byte(nil), v[:len(v)-2]...)))
	if err != nil || old != want {
		t.Errorf("%+v, %v; want %+v", old, err, want)
	}
}

// The row of a forgotten client of an earlier version is empty.
func TestARowOfAForgottenClientIsRead(t *testing.T) {
	k := forgottenKey(5, 6)
	for _, want := range []forgottenRow{{}, {seq: 1 << 40}} {
		if got, err := decodeForgotten(k, want.encode()); err != nil || got != want {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
	}
	if got, err := decodeForgotten(k, nil); err != nil || got.seq != 0 {
		t.Errorf("an empty row: %+v, %v", got, err)
	}
	if _, err := decodeForgotten(k, []byte{1, 2}); err == nil {
		t.Error("a row with more than a number is read")
	}
}
