package engine

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/gateway"
)

// eventRows counts the rows of events.
func eventRows(t *testing.T, e *Engine) (n int) {
	t.Helper()
	err := e.read(func(v *view) error {
		return eachRow(v, "E", func(k, _ []byte) {
			if k[0] == 'E' {
				n++
			}
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The driver removes events at their age, and the oldest beyond their share of the
// disk.
func TestEventRetention(t *testing.T) {
	o := powerOptions(vfs.NewMem())
	o.EventRetention = time.Hour
	e := openTest(t, o)
	now := time.Now()
	for range 20 {
		registered(t, e, "a")
	}
	if err := e.Expire(now.Add(59 * time.Minute)); err != nil || eventRows(t, e) < 20 {
		t.Errorf("%d rows within the hour, %v", eventRows(t, e), err)
	}
	if err := e.Expire(time.Now().Add(time.Hour)); err != nil || eventRows(t, e) > 0 {
		t.Errorf("%d rows after the hour, %v", eventRows(t, e), err)
	}
	verifyView(t, e)
	for range 20 {
		registered(t, e, "a")
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	o.MaxEventBytes = 200
	e = openTest(t, o)
	if err := e.Expire(now); err != nil || eventRows(t, e) == 0 || eventRows(t, e) > 9 {
		t.Errorf("%d rows in 200 bytes, %v", eventRows(t, e), err)
	}
	verifyView(t, e)
}

// While all events have too many bytes, the oldest go, however few are left, and no
// accepted message with them; readers are told how far the log was forgotten.
func TestEventsBeyondTheirShareGoBeforeMessages(t *testing.T) {
	o := powerOptions(vfs.NewMem())
	o.MaxEventBytes = 400
	e := openTest(t, o)
	registered(t, e, "a")
	var ids []gateway.MessageID
	for range 50 {
		ids = append(ids, accept(t, e, "a").ID)
		registered(t, e, "b")
	}
	_, last, err := e.EventSpan()
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Expire(time.Now()); err != nil {
		t.Fatal(err)
	}
	forgotten, still, err := e.EventSpan()
	if err != nil || forgotten == 0 || still != last {
		t.Errorf("forgotten up to %d of %d (before: %d), %v", forgotten, still, last, err)
	}
	kept, through, err := e.Events(forgotten, 1000, nil)
	if err != nil || through != last || len(kept) == 0 || len(kept) > 20 || kept[0].Seq != forgotten+1 || kept[len(kept)-1].Seq != last {
		t.Errorf("%d events up to %d are kept of those above %d, want the newest few: %v", len(kept), through, forgotten, err)
	}
	for i, id := range ids {
		if m, err := e.Message(id); err != nil || m.Counts.Queued != 1 {
			t.Errorf("message %d: %+v, %v, want it queued", i, m.Counts, err)
		}
	}
	verifyView(t, e)
}

// The driver removes no uplink and no event of the right time after the clock was behind,
// as that of a machine that learns the time over the network.
func TestNothingGoesEarlyAfterTheClockWasBehind(t *testing.T) {
	o := powerOptions(vfs.NewMem())
	right := time.Now()
	now := right
	o.Now, o.SweepEvery = func() time.Time { return now }, -1
	e := openTest(t, o)
	sweep := func(to time.Time) {
		t.Helper()
		now = to
		if err := e.sweep(now, false); err != nil {
			t.Fatal(err)
		}
	}
	add := func() {
		t.Helper()
		if _, err := e.AppendUplink(t.Context(), gateway.Uplink{Client: "a", At: now, Payload: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
	want := func(uplinks, events int) {
		t.Helper()
		p, err := e.Uplinks("a", 0, 10)
		if err != nil || len(p.Items) != uplinks {
			t.Errorf("%d uplinks are left, %v, want %d", len(p.Items), err, uplinks)
		}
		list, _, err := e.Events(0, 10, nil)
		if err != nil || len(list) != events {
			t.Errorf("%d events are left, %v, want %d", len(list), err, events)
		}
	}
	add()
	sweep(right)
	sweep(time.Unix(5, 0))
	add()
	sweep(time.Unix(6, 0))
	sweep(right.Add(time.Second))
	want(2, 2)
	sweep(right.Add(8 * 24 * time.Hour))
	want(0, 0)
	verifyView(t, e)
}
