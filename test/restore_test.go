//go:build unix

package test

import (
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/longwire/longwire/device"
	"github.com/longwire/longwire/protocol"
)

// said runs a command to its end and decodes the JSON that it prints; the exit
// code has to be want.
func said[T any](t *testing.T, want int, args ...string) (v T) {
	t.Helper()
	p := run(t, longwire(t), args...)
	if code := p.exit(t, time.Minute); code != want {
		t.Fatalf("longwire %q = %d, want %d:\n%s", args, code, want, p.output())
	}
	if err := json.Unmarshal([]byte(p.output()), &v); err != nil {
		t.Fatalf("longwire %q said %s: %v", args, p.output(), err)
	}
	return v
}

// storeSaid is what the store commands say.
type storeSaid struct {
	OK      bool   `json:"ok"`
	Running bool   `json:"running"`
	Health  string `json:"health"`
	Log     string `json:"log"`
	Queued  int    `json:"queued"`
}

// A backup is taken from a running gateway, which goes on; a day later it is
// all there is. Devices that remember a position beyond the backup lose nothing
// of what is pushed then, although the sequence numbers are given again.
func TestRestoredBackup(t *testing.T) {
	dir := t.TempDir()
	data, copied, restored := filepath.Join(dir, "data"), filepath.Join(dir, "copy"), filepath.Join(dir, "restored")
	s := serve(t, "", data)
	d := startDevice(t, "meter", s.tcpAddr, new(device.MemoryState))

	before := s.push("meter", "?wait=10s", "before")
	waiting := s.push("sleeper", "?on_unknown=queue", "while you slept")
	if before.Status != "acked" || waiting.code != 202 {
		t.Fatalf("pushes before the backup: %+v, %+v", before, waiting)
	}

	original := said[storeSaid](t, 0, "store", "stats", "--data-dir", data, "-o", "json")
	if !original.Running || original.Health != "ok" || original.Log == "" || original.Queued != 1 {
		t.Errorf("stats of the running store: %+v", original)
	}
	if b := said[storeSaid](t, 0, "store", "backup", copied, "--data-dir", data, "-o", "json"); !b.OK || b.Log != original.Log || b.Queued != 1 {
		t.Errorf("backup: %+v, want it sound, of log %s, with one delivery queued", b, original.Log)
	}
	if p := run(t, longwire(t), "store", "verify", "--data-dir", data); p.exit(t, time.Minute) != 1 {
		t.Errorf("verify of a running store said %s, want it refused", p.output())
	}

	// The gateway goes on; its device remembers more than the backup knows.
	after := s.push("meter", "?wait=10s", "after the backup")
	for range 5 {
		if a := s.push("meter", "?wait=10s", "more"); a.Status != "acked" {
			t.Fatalf("push after the backup: %+v", a)
		}
	}
	s.signal(t, syscall.SIGKILL)
	<-s.ended

	r := said[storeSaid](t, 0, "store", "restore", copied, "--data-dir", restored, "-o", "json")
	if !r.OK || r.Log == original.Log {
		t.Errorf("restore: %+v, want a log other than %s", r, original.Log)
	}
	next := serve(t, s.tcpAddr, restored)
	waitFor(t, "the device is back", func() bool { return next.online("meter") })
	if got := <-d.logs; got != original.Log {
		t.Errorf("the device first met log %s, want %s", got, original.Log)
	}
	if got := <-d.logs; got != r.Log {
		t.Errorf("the device was then told of log %s, want %s", got, r.Log)
	}
	for _, text := range []string{"first", "second", "third"} {
		if a := next.push("meter", "?wait=10s", text); a.Status != "acked" {
			t.Errorf("push %q after the restore = %d %s, want acked", text, a.code, a.Status)
		}
	}
	d.want(t, "before", "after the backup", "more", "more", "more", "more", "more", "first", "second", "third")

	if a := next.get("/v1/messages/" + before.ID); a.Status != "acked" {
		t.Errorf("a message from before the backup reads %d %s, want acked", a.code, a.Status)
	}
	if a := next.get("/v1/messages/" + after.ID); a.code != 404 {
		t.Errorf("a message from after the backup reads %d, want 404", a.code)
	}
	// A device that remembers the old log gets what waits for it.
	sleeper := new(device.MemoryState)
	if err := sleeper.Save(device.Change{Saved: device.Saved{Log: original.Log, AskThrough: 1 << 40}}); err != nil {
		t.Fatal(err)
	}
	startDevice(t, "sleeper", s.tcpAddr, sleeper).want(t, "while you slept")
	waitFor(t, "it is acked", func() bool { return next.get("/v1/messages/"+waiting.ID).Status == "acked" })
}

// meter is a device with the SDK that writes down what it gets.
type meter struct {
	got  chan string
	logs chan string // told at each connection
}

func startDevice(t *testing.T, id, addr string, state device.State) *meter {
	t.Helper()
	m := &meter{got: make(chan string, 100), logs: make(chan string, 100)}
	c, err := device.New(device.Config{Addr: addr, ID: id, State: state, Logger: slog.New(slog.DiscardHandler),
		Backoff: device.Backoff{Min: 10 * time.Millisecond, Max: 50 * time.Millisecond},
		Handler: func(_ context.Context, msg device.Message) ([]byte, error) {
			m.got <- string(msg.Payload)
			return nil, nil
		},
		OnConnect: func(r protocol.Registered) { m.logs <- r.Log }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-ended })
	waitFor(t, id+" is connected", func() bool { return len(m.logs) > 0 })
	return m
}

// want checks what the device has got so far, and nothing twice.
func (m *meter) want(t *testing.T, texts ...string) {
	t.Helper()
	for _, want := range texts {
		select {
		case got := <-m.got:
			if got != want {
				t.Errorf("the device got %q, want %q", got, want)
			}
		case <-time.After(time.Minute):
			t.Errorf("the device did not get %q", want)
			return
		}
	}
	if n := len(m.got); n > 0 {
		t.Errorf("the device got %d more, the first: %q", n, <-m.got)
	}
}
