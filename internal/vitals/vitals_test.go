package vitals

import (
	"testing"
	"time"
)

var noon = time.Date(2027, 1, 15, 12, 0, 0, 0, time.UTC)

// bench is a recorder whose clocks and counts the test sets.
type bench struct {
	*testing.T
	*Recorder
	now    reading
	totals Totals
	ended  []string
}

func newBench(t *testing.T) *bench {
	b := &bench{T: t, now: reading{wall: noon}}
	b.Recorder = New(Config{Read: func() Totals { return b.totals },
		Tenant: func(string) func() Totals { return func() Totals { return b.totals } },
		End:    func(p string) { b.ended = append(b.ended, p) }})
	b.last = b.now
	b.all = newSeries(Start, b.now, b.cfg.Read)
	return b
}

// pass lets time pass, second by second.
func (b *bench) pass(d time.Duration) {
	for end := b.now.mono + d; b.now.mono < end; {
		b.now.mono += time.Second
		b.now.wall = b.now.wall.Add(time.Second)
		b.tick(b.now)
	}
}

// at and hist are current and history of a series that there is room for.
func (b *bench) at(prefix string) Current {
	b.Helper()
	c, err := b.current(prefix, b.now)
	if err != nil {
		b.Error(err)
	}
	return c
}

func (b *bench) hist(prefix string, since time.Time, step time.Duration) History {
	b.Helper()
	h, err := b.history(prefix, since, step, b.now)
	if err != nil {
		b.Error(err)
	}
	return h
}

func (b *bench) last2h() History { return b.hist("", b.now.wall.Add(-FineSpan), 0) }

func TestRatesAndPoints(t *testing.T) {
	b := newBench(t)
	b.pass(30 * time.Second)
	b.totals.Accepted, b.totals.Acked, b.totals.Online, b.totals.Queued = 600, 300, 7, 300
	b.pass(30 * time.Second)
	if c := b.at(""); c.Over != time.Minute || c.Pushes != 10 || c.AckRate != 5 || c.Online != 7 {
		t.Errorf("current %+v, want 10 pushes and 5 acks a second", c)
	}
	b.pass(45 * time.Second)
	if c := b.at(""); c.Pushes != 0 || c.Over < time.Minute || c.Over > 70*time.Second {
		t.Errorf("a minute later %+v, want no push", c)
	}
	h := b.last2h()
	if len(h.Points) != 10 || h.Points[3].Accepted != 600 || h.Points[2].Accepted != 0 || h.Points[3].Took != FineStep || !h.Points[3].At.Equal(noon.Add(40*time.Second)) {
		t.Errorf("points %+v", h.Points)
	}
}

// TestTheHistoryIsARing: two hours of ten seconds, a day of minutes.
func TestTheHistoryIsARing(t *testing.T) {
	b := newBench(t)
	b.pass(26 * time.Hour)
	fine, coarse := b.last2h(), b.hist("", time.Time{}, 0)
	if fine.Step != FineStep || len(fine.Points) != 720 || !fine.Points[719].At.Equal(b.now.wall) || !fine.Begins.Equal(b.now.wall.Add(-FineSpan)) {
		t.Errorf("%d fine points from %v on", len(fine.Points), fine.Begins)
	}
	if coarse.Step != CoarseStep || len(coarse.Points) != 1440 || !coarse.Begins.Equal(b.now.wall.Add(-CoarseSpan)) {
		t.Errorf("%d minutes from %v on", len(coarse.Points), coarse.Begins)
	}
	if last := b.hist("", b.now.wall.Add(-time.Minute), FineStep); len(last.Points) != 7 || len(last.Marks) != 0 {
		t.Errorf("the last minute: %d points and the marks %v", len(last.Points), last.Marks)
	}
}

// TestTheClockIsSet: a step is a mark, no rate and no point changes, and an hour back is
// an hour that has passed.
func TestTheClockIsSet(t *testing.T) {
	for _, by := range []time.Duration{3 * time.Hour, -3 * time.Hour, 2 * time.Second} {
		b := newBench(t)
		b.pass(30 * time.Minute)
		b.totals.Acked += 100
		b.now.wall = b.now.wall.Add(by)
		b.pass(10 * time.Minute)
		h := b.last2h()
		if len(h.Marks) != 2 || h.Marks[0].Code != Start || h.Marks[1].Code != ClockStep || h.Marks[1].By != by {
			t.Errorf("%v: marks %+v, want the start and the step", by, h.Marks)
		}
		if len(h.Points) != 240 {
			t.Errorf("%v: %d points of 40 minutes, want 240", by, len(h.Points))
		}
		for _, p := range h.Points {
			if p.Took != FineStep {
				t.Errorf("%v: a point of %v", by, p.Took)
			}
		}
		if got := b.hist("", b.now.wall.Add(-5*time.Minute), 0); len(got.Points) != 31 || len(got.Marks) != 0 {
			t.Errorf("%v: %d points of the last 5 minutes and the marks %v", by, len(got.Points), got.Marks)
		}
	}
}

// TestAGapIsMarked: a process that stood still has one long point and no invented ones.
func TestAGapIsMarked(t *testing.T) {
	b := newBench(t)
	b.pass(time.Minute)
	b.now.mono += 10 * time.Minute
	b.now.wall = b.now.wall.Add(10 * time.Minute)
	b.totals.Accepted = 5
	b.tick(b.now)
	b.pass(time.Minute)
	h := b.last2h()
	if len(h.Marks) != 2 || h.Marks[1].Code != Gap || h.Marks[1].By != 10*time.Minute {
		t.Errorf("marks %+v, want the gap", h.Marks)
	}
	if len(h.Points) != 13 || h.Points[6].Took != 10*time.Minute || h.Points[6].Accepted != 5 {
		t.Errorf("points %+v, want one of ten minutes", h.Points)
	}
	for range 3 * maxMarks {
		b.now.wall = b.now.wall.Add(time.Hour)
		b.tick(b.now)
	}
	if n := len(b.marks); n != maxMarks {
		t.Errorf("%d marks, want %d at most", n, maxMarks)
	}
}

// TestARestartBegins: the history of a new recorder has nothing before its start, and
// says so.
func TestARestartBegins(t *testing.T) {
	b := newBench(t)
	b.pass(time.Minute)
	b.now = reading{wall: b.now.wall.Add(time.Hour)}
	b.Recorder = New(b.cfg)
	b.last, b.all = b.now, newSeries(Start, b.now, b.cfg.Read)
	b.pass(20 * time.Second)
	h := b.last2h()
	if begin := noon.Add(time.Hour + time.Minute); len(h.Points) != 2 || !h.Begins.Equal(begin) || len(h.Marks) != 1 || h.Marks[0].Code != Start || !h.Marks[0].At.Equal(begin) {
		t.Errorf("history %+v, want two points behind the mark of a start", h)
	}
}

// TestTenantsAreBounded: one that has not asked for a minute gives way, and while there is
// none a further one is refused.
func TestTenantsAreBounded(t *testing.T) {
	b := newBench(t)
	name := func(i int) string { return string(rune('A' + i)) }
	for i := range maxTenants {
		b.at(name(i))
	}
	if _, err := b.current("late", b.now); err != ErrTooMany || len(b.ended) != 0 {
		t.Errorf("a tenant beyond the bound: %v, ended %q", err, b.ended)
	}
	b.now.mono += idleAfter / 2
	for i := range maxTenants {
		if i != 1 {
			b.at(name(i))
		}
	}
	b.now.mono += idleAfter / 2
	b.at("late")
	if len(b.tenants) != maxTenants || len(b.ended) != 1 || b.ended[0] != name(1) {
		t.Errorf("%d tenants, ended %q, want %q to give way", len(b.tenants), b.ended, name(1))
	}
	h := b.hist(name(0), time.Time{}, 0)
	if len(h.Marks) != 1 || h.Marks[0].Code != Begin {
		t.Errorf("marks %+v, want the beginning of the counts", h.Marks)
	}
}

func TestTheClockIsOffUntilItIsSetBack(t *testing.T) {
	var wall time.Duration
	start := time.Now()
	r := New(Config{Read: func() Totals { return Totals{} }, Now: func() time.Time { return start }})
	at := func(by time.Duration) reading { return reading{start.Round(0).Add(by + wall), by} }
	wall = time.Hour
	r.tick(at(time.Second))
	if by, last := r.ClockOff(); by != time.Hour || last.IsZero() {
		t.Errorf("off by %v since %v, want an hour", by, last)
	}
	wall = 0
	r.tick(at(2 * time.Second))
	if by, _ := r.ClockOff(); by != 0 {
		t.Errorf("off by %v, want 0 after it was set back", by)
	}
}
