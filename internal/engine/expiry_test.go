package engine

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// A damaged row keeps the sweep from the rows of its own kind at most: others go at the end
// of their time, or the store would grow until its disk is full.
func TestADamagedRowDoesNotStopTheSweep(t *testing.T) {
	e := openTest(t, Options{SweepEvery: -1})
	damaged := accept(t, e, "a")
	if _, err := e.AppendUplink(t.Context(), gateway.Uplink{Client: "b", At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if err := e.inst.DB.Set(record.AppendID([]byte("m"), damaged.ID), []byte("not a row"), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := e.Expire(time.Now().Add(e.opt.UplinkRetention + time.Hour)); err == nil {
		t.Error("a sweep over a damaged row reports nothing")
	}
	p, err := e.Uplinks("", 0, 10)
	if err != nil || len(p.Items) > 0 {
		t.Errorf("the uplinks are %v, %v; want none", p.Items, err)
	}
}

// A row that stays damaged fails in every sweep, five times a second. The log has room for
// other lines.
func TestADamagedRowDoesNotFillTheLog(t *testing.T) {
	var log strings.Builder
	e := openTest(t, Options{SweepEvery: -1, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	damaged := accept(t, e, "a")
	due := time.Now().Add(gateway.MaxTTL + time.Hour)
	if err := e.inst.DB.Set(record.AppendID([]byte("m"), damaged.ID), []byte("not a row"), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if e.Expire(due) == nil {
			t.Fatal("a sweep over a damaged row reports nothing")
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(log.String(), "could not be applied"); n == 0 || n > 2*loggedFirst {
		t.Errorf("100 sweeps over a damaged row logged %d lines, want some:\n%.1000s", n, log.String())
	}
}

// A client that was connected when the process was killed counts as seen until then, however
// long ago it registered.
func TestAClientOfAKilledProcessIsNotForgotten(t *testing.T) {
	fs, now := vfs.NewCrashableMem(), time.Now()
	o := Options{FS: fs, Dir: "data", SweepEvery: -1, Now: func() time.Time { return now }}
	e := openTest(t, o)
	if _, _, err := e.Register(t.Context(), gateway.Registration{Client: "a", At: now}); err != nil {
		t.Fatal(err)
	}
	now = now.Add(e.opt.ForgetAfter + 10*24*time.Hour)
	accept(t, e, "b") // the process runs still
	o.FS = fs.CrashClone(vfs.CrashCloneCfg{})
	e = openTest(t, o)
	if err := e.Expire(now); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Client("a"); err != nil {
		t.Errorf("a client that was connected until a second ago: %v", err)
	}
	now = now.Add(e.opt.ForgetAfter + time.Hour)
	if err := e.Expire(now); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Client("a"); gateway.CodeOf(err) != gateway.CodeClientNotFound {
		t.Errorf("it did not come back: %v", err)
	}
}
