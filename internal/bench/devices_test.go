package bench

import (
	"context"
	"strings"
	"testing"
	"time"
)

// TestDevicesOverProcesses has real worker processes, with room for 7 clients each.
func TestDevicesOverProcesses(t *testing.T) {
	server, err := startHere(t.Context(), process{role: gatewayServer, dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.stop() }()
	d := &devices{each: 7, start: func(ctx context.Context) (*worker, error) { return workerFrom(ctx, acting(workerName)) }}
	for _, n := range []int{5, 10} { // the second step is in all three
		times, err := d.join(t.Context(), join{Addr: server.tcp, Count: n, Heartbeat: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if got := times.total(); got != int64(n) {
			t.Errorf("%d joined, want %d", got, n)
		}
	}
	if len(d.workers) != 3 {
		t.Errorf("15 clients are in %d workers, want 3", len(d.workers))
	}
	wantOnline(t, server, 15)
	if err := d.ask(t.Context()); err != nil {
		t.Error(err)
	}
	if err := waitFor(t.Context(), time.Minute, "heartbeats in each process", func() bool {
		total, err := d.count(t.Context())
		return err == nil && total.Beats >= 15
	}); err != nil {
		t.Error(err)
	}
	if err := d.drop(t.Context()); err != nil {
		t.Error(err)
	}
	wantOnline(t, server, 0)
	if err := d.check(t.Context()); err != nil {
		t.Errorf("clients that were dropped on purpose count as lost: %v", err)
	}
	if _, err := d.join(t.Context(), join{Addr: server.tcp, Count: 15, Patient: true, AtOnce: 15}); err != nil {
		t.Error(err)
	}
	wantOnline(t, server, 15)
	if err := d.close(); err != nil {
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
	w, err := workerFrom(t.Context(), acting(workerName))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.order(order{Do: "join", Join: join{Addr: "127.0.0.1:1", Count: 1}}); err == nil || !strings.Contains(err.Error(), "connect 1 clients") {
		t.Errorf("error is %v, want that of the dial", err)
	}
	if _, err := w.order(order{Do: "sing"}); err == nil || !strings.Contains(err.Error(), "sing") {
		t.Errorf("error is %v, want one that names the order", err)
	}
	if err := w.stop(); err != nil {
		t.Error(err)
	}
	if _, err := w.order(order{Do: "count"}); err == nil {
		t.Error("a worker that has ended answers")
	}
}
