//go:build unix

package test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/longwire/longwire/protocol"
)

// SIGTERM under load: the process ends by itself, with 0 and in time, devices
// are told to come back, and every message that was answered with 202 or 200
// reaches its final state, if need be in the next process.
func TestTerminatedUnderLoadLosesNothing(t *testing.T) {
	const devices, callers = 60, 16
	data := t.TempDir()
	s := serve(t, "", data)

	var calm atomic.Bool
	calm.Store(true)
	stop := make(chan struct{})
	var running sync.WaitGroup
	var all []*roughDevice
	for i := range devices {
		d := newRoughDevice(fmt.Sprint("d", i), []protocol.Dialect{protocol.V2, protocol.Text}[i%2], s.tcpAddr, &calm, uint64(i))
		all = append(all, d)
		running.Go(func() { d.run(stop) })
	}
	defer running.Wait()
	defer close(stop)
	waitFor(t, "all devices are online", func() bool { return len(s.get("/v1/clients?limit=1000").Items) == devices })

	var mu sync.Mutex
	var accepted []string
	var load sync.WaitGroup
	for range callers {
		load.Go(func() {
			for {
				a, err := s.call("POST", fmt.Sprintf("/v1/clients/d%d/messages", rand.IntN(devices)), "text/plain", "x")
				switch {
				case err != nil || a.code == 503:
					return // it is going
				case a.code == 202 || a.code == 200:
					mu.Lock()
					accepted = append(accepted, a.ID)
					mu.Unlock()
				default:
					t.Errorf("push = %d", a.code)
					return
				}
			}
		})
	}
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(accepted) }
	waitFor(t, "the load runs", func() bool { return count() > 500 })

	s.signal(t, syscall.SIGTERM)
	if code := s.exit(t, 30*time.Second); code != 0 {
		t.Errorf("exit code %d after SIGTERM, want 0", code)
	}
	load.Wait()
	for _, d := range all {
		d.mu.Lock()
		if why := d.lastClose; why.Code != protocol.CloseShutdown || !why.Remote {
			t.Errorf("%s was closed with %+v, want code 3000 from the server", d.id, why)
		}
		d.mu.Unlock()
	}

	next := serve(t, s.tcpAddr, data)
	waitFor(t, "all devices are back", func() bool { return len(next.get("/v1/clients?limit=1000").Items) == devices })
	for _, id := range accepted {
		waitFor(t, "message "+id+" is final", func() bool {
			a := next.get("/v1/messages/" + id)
			if a.code != 200 {
				t.Fatalf("message %s was accepted and is now %d", id, a.code)
			}
			return a.Status == "acked"
		})
	}
	t.Logf("%d messages accepted under load, all of them acked", len(accepted))
}

// A log that nobody reads, as of a log driver that hangs, holds up no caller and not the
// end of the process.
func TestNothingWaitsForALogThatNobodyReads(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "log")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(pipe, os.O_RDWR, 0) // without it the gateway would wait for a reader
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := serveUnder(t, []string{"sh", "-c", `log=$1; shift; exec "$@" 2>"$log"`, "sh", pipe}, "", t.TempDir(), "--http-access-log")
	s.http.Timeout = 10 * time.Second
	for range 1000 { // a pipe holds some 300 of their lines
		s.get("/v1/clients")
	}
	if a := s.push("d", "?on_unknown=queue", "x"); a.code != 202 {
		t.Errorf("a push got %d, want 202", a.code)
	}
	s.signal(t, syscall.SIGTERM)
	if code := s.exit(t, 30*time.Second); code != 0 {
		t.Errorf("exit code %d after SIGTERM, want 0", code)
	}
}
