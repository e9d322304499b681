package bench

import (
	"net"
	"net/rpc"
	"strings"
	"sync"
	"testing"
	"time"
)

// workerProcess is a real worker.
func workerProcess(t *testing.T) *devices {
	t.Helper()
	conn, err := acting(workerName).launch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &devices{worker: rpc.NewClient(conn)}
}

func TestDevicesInAProcess(t *testing.T) {
	server, err := startHere(t.Context(), "", spec{role: gatewayServer}, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.stop() }()
	d := workerProcess(t)
	for _, n := range []int{5, 10} {
		times, err := d.join(Join{Addr: server.tcp, First: d.size, Count: n, Heartbeat: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if got := times.total(); got != int64(n) {
			t.Errorf("%d joined, want %d", got, n)
		}
	}
	wantOnline(t, server, 15)
	if err := d.ask(); err != nil {
		t.Error(err)
	}
	if err := waitFor(t.Context(), time.Minute, "heartbeats of the gateway", func() bool {
		total, err := d.count()
		return err == nil && total.Beats >= 15
	}); err != nil {
		t.Error(err)
	}
	if err := d.drop(); err != nil {
		t.Error(err)
	}
	wantOnline(t, server, 0)
	if err := d.check(); err != nil {
		t.Errorf("clients that were dropped on purpose count as lost: %v", err)
	}
	if _, err := d.join(Join{Addr: server.tcp, Count: 15, Patient: true, AtOnce: 15}); err != nil {
		t.Error(err)
	}
	wantOnline(t, server, 15)
	if err := d.worker.Close(); err != nil {
		t.Error(err)
	}
	wantOnline(t, server, 0)
}

func wantOnline(t *testing.T, server *target, n int) {
	t.Helper()
	if err := server.waitForOnline(t.Context(), n); err != nil {
		t.Fatal(err)
	}
}

func TestWorkerReportsErrors(t *testing.T) {
	d := workerProcess(t)
	if _, err := d.join(Join{Addr: "127.0.0.1:1", Count: 1}); err == nil || !strings.Contains(err.Error(), "connect 1 clients") {
		t.Errorf("error is %v, want that of the dial", err)
	}
	if err := d.worker.Close(); err != nil {
		t.Error(err)
	}
	if err := d.ask(); err == nil {
		t.Error("a worker that has ended answers")
	}
}

// moody refuses the first connections and serves the others like a bare server.
func moody(t *testing.T, refused int) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &floor{conns: make(map[*wire]struct{})}
	var serving sync.WaitGroup
	serving.Go(func() {
		for n := 0; ; n++ {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			if n < refused {
				conn.Close()
				continue
			}
			serving.Go(func() { f.serveDevice(conn) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		f.hangUp()
		serving.Wait()
	})
	return ln.Addr().String()
}

func TestPatientClientsComeBack(t *testing.T) {
	f := &fleet{ctx: t.Context()}
	defer f.Drop(0, nil)
	var times []time.Duration
	if err := f.Join(Join{Addr: moody(t, 3), Count: 5, Patient: true}, &times); err != nil || len(times) != 5 || len(f.devices) != 5 {
		t.Errorf("%d of 5 clients joined, %v", len(f.devices), err)
	}
}

func TestRefusedClientsAreAnError(t *testing.T) {
	f := &fleet{ctx: t.Context()}
	defer f.Drop(0, nil)
	if err := f.Join(Join{Addr: moody(t, 1), Count: 5}, new([]time.Duration)); err == nil || len(f.devices) != 0 {
		t.Errorf("%d clients joined where one was refused, %v; want an error and none", len(f.devices), err)
	}
}

func TestSourcesFollowTheNumberOfClients(t *testing.T) {
	for count, want := range map[int]int{1: leastSources, 5000: leastSources, 200_000: 21, 1_000_000: 101, 9_000_000: mostSources} {
		if got := (&Join{Count: count}).sources(); got != want {
			t.Errorf("%d clients come from %d addresses, want %d", count, got, want)
		}
	}
}
