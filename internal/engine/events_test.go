package engine

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
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
