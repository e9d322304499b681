package bench

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		n, here, each int
		want          []int
	}{
		{100, 100, 50, []int{100}},
		{100, 99, 50, []int{99, 1}},
		{100, 0, 50, []int{0, 50, 50}},
		{100, -5, 60, []int{0, 60, 40}},
		{1, 10, 10, []int{1}},
		{0, 10, 10, []int{0}},
	} {
		if got := split(c.n, c.here, c.each); !slices.Equal(got, c.want) {
			t.Errorf("split(%d, %d, %d) = %v, want %v", c.n, c.here, c.each, got, c.want)
		}
	}
}

// TestDeal has clients come in steps: each is dealt once, and no part gets more
// than it has room for.
func TestDeal(t *testing.T) {
	sizes := []int{10, 0, 7, 25}
	seen := make(map[int]int)
	inPart := make([]int, len(sizes))
	from := 0
	for _, count := range []int{3, 9, 1, 20, 9} {
		for part, s := range deal(sizes, from, count) {
			for n := s.first; n < s.first+s.count; n++ {
				seen[n]++
			}
			inPart[part] += s.count
		}
		from += count
	}
	if from != 42 || len(seen) != 42 {
		t.Errorf("%d of %d clients were dealt", len(seen), from)
	}
	for n, times := range seen {
		if times != 1 || n < 0 || n >= 42 {
			t.Errorf("client %d was dealt %d times", n, times)
		}
	}
	if !slices.Equal(inPart, sizes) {
		t.Errorf("the parts have %v, want %v", inPart, sizes)
	}
}

// TestFleetOverProcesses has real helper processes.
func TestFleetOverProcesses(t *testing.T) {
	server, err := startHere(t.Context(), process{role: gatewayServer, dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.stop() }()
	b := &bench{Options: Options{perProcess: 7, help: func(ctx context.Context) (hands, error) { return helperFrom(ctx, acting("crowd")) }}, held: 3}
	f, err := b.newFleet(t.Context(), 15)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(f.sizes, []int{4, 7, 4}) || b.held != 7 {
		t.Errorf("clients are split as %v and %d connections are held here, want [4 7 4] and 7", f.sizes, b.held)
	}
	for _, n := range []int{5, 10} { // the second step is in all three
		times, err := f.join(t.Context(), muster{Addr: server.tcp, Count: n, Heartbeat: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if got := times.total(); got != uint64(n) {
			t.Errorf("%d joined, want %d", got, n)
		}
	}
	wantOnline(t, server, 15)
	if err := f.ask(t.Context()); err != nil {
		t.Error(err)
	}
	if err := waitFor(t.Context(), time.Minute, "heartbeats in each process", func() bool {
		total, err := f.count(t.Context())
		return err == nil && total.Beats >= 15
	}); err != nil {
		t.Error(err)
	}
	if err := f.drop(t.Context()); err != nil {
		t.Error(err)
	}
	wantOnline(t, server, 0)
	if err := f.check(t.Context()); err != nil {
		t.Errorf("who was dropped on purpose counts as lost: %v", err)
	}
	if _, err := f.join(t.Context(), muster{Addr: server.tcp, Count: 15, Patient: true, AtOnce: 15}); err != nil {
		t.Error(err)
	}
	wantOnline(t, server, 15)
	if err := f.close(); err != nil {
		t.Error(err)
	}
	wantOnline(t, server, 0)
	if b.held != 3 {
		t.Errorf("%d connections are held here after the end, want 3", b.held)
	}
}

func wantOnline(t *testing.T, server *target, n int) {
	t.Helper()
	if err := server.waitForOnline(t.Context(), n); err != nil {
		t.Fatal(err)
	}
}

func TestHelperTellsWhatWentWrong(t *testing.T) {
	h, err := helperFrom(t.Context(), acting("crowd"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.join(t.Context(), muster{Addr: "127.0.0.1:1", Count: 1}); err == nil || !strings.Contains(err.Error(), "connect 1 clients") {
		t.Errorf("error is %v, want that of the dial", err)
	}
	if _, err := h.tell(order{Do: "sing"}); err == nil || !strings.Contains(err.Error(), "sing") {
		t.Errorf("error is %v, want one that names the order", err)
	}
	if err := h.close(); err != nil {
		t.Error(err)
	}
	if _, err := h.count(t.Context()); err == nil {
		t.Error("a helper that has ended answers")
	}
}
