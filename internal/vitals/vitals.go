// Package vitals keeps how a gateway does over time: rates and ack latencies of the last
// minute, and a history of one day in memory. It begins anew with the process, and marks
// each start, gap and step of the clock, so that no reader takes them for a quiet hour.
package vitals

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/longwire/longwire/gateway"
)

// Bounds of the history.
const (
	FineStep   = 10 * time.Second
	FineSpan   = 2 * time.Hour
	CoarseStep = time.Minute
	CoarseSpan = 24 * time.Hour

	window     = time.Minute  // of rates and latencies
	gapFrom    = 3 * FineStep // between two ticks; the process stood still
	stepFrom   = time.Second  // of the wall clock between two ticks, against the monotonic clock
	maxMarks   = 100          // the oldest give way
	maxTenants = 64           // one that has not asked for a minute gives way to another
	idleAfter  = time.Minute  // a tenant without a call
	perWindow  = 7            // snapshots: those of a minute and the one before
	staleBase  = window + FineStep
)

// Totals are counts since the start of the process, and the present state. A tenant has
// none of Queued, Delivered and Expired.
type Totals struct {
	Online, Queued int
	Accepted       uint64 // messages
	Delivered      uint64 // transmissions
	Acked          uint64 // deliveries, as the next three
	Rejected       uint64
	Expired        uint64
	Failed         uint64
	Uplinks        uint64
	Connects       uint64 // registrations
	Disconnects    uint64
	Acks           gateway.LatencyCounts
}

// Point is one step of the history. All but Online and Queued are counts in the step.
type Point struct {
	At     time.Time     // end of the step, as the wall clock was then
	Took   time.Duration // its real length
	Online int
	Queued int

	Accepted, Delivered, Acked, Rejected, Expired, Failed uint64
	Uplinks, Connects, Disconnects                        uint64

	P50, P99 time.Duration // of the acks; 0 without one
}

// Code is the kind of a mark.
type Code string

// The codes of marks.
const (
	Start     Code = "start"      // the process started: nothing is known before
	Begin     Code = "begin"      // the clients of the tenant are counted from here on
	Gap       Code = "gap"        // the process stood still for By
	ClockStep Code = "clock_step" // the wall clock was set by By
)

// Mark says that the history is not continuous at a time.
type Mark struct {
	At   time.Time // as the wall clock was then; after the step
	Code Code
	By   time.Duration // of a gap or a step; negative = backwards

	mono time.Duration
}

// Current is the present state and the last minute.
type Current struct {
	Totals
	Over     time.Duration // time that the rates are of: a minute, or since the beginning
	Pushes   float64       // messages accepted a second
	Deliver  float64       // transmissions a second
	AckRate  float64       // acks a second
	UpRate   float64       // uplinks a second
	ConnRate float64       // registrations a second
	P50, P99 time.Duration // of the acks; 0 without one
}

// History is a part of the history, oldest first.
type History struct {
	Step   time.Duration
	Begins time.Time // of the first point that is kept; the beginning while none is
	Marks  []Mark
	Points []Point
}

// reading is one look at both clocks.
type reading struct {
	wall time.Time
	mono time.Duration
}

// Config has the parts of a Recorder.
type Config struct {
	// Read returns the totals of all clients. It is called every ten seconds, and for
	// each Current.
	Read func() Totals
	// Tenant begins to count the clients of a prefix, and returns their totals. End
	// stops that. Nil = no tenants.
	Tenant func(prefix string) (read func() Totals)
	End    func(prefix string)
	// Now is the clock; nil = time.Now.
	Now func() time.Time
}

// Recorder records. Its methods may be called from any goroutine.
type Recorder struct {
	cfg   Config
	start time.Time

	mu      sync.Mutex
	last    reading // of the last tick
	marks   []Mark  // gaps and steps of the clock
	all     *series
	tenants map[string]*series
}

// New returns a recorder that begins now.
func New(c Config) *Recorder {
	if c.Now == nil {
		c.Now = time.Now
	}
	r := &Recorder{cfg: c, start: c.Now(), tenants: make(map[string]*series)}
	r.last = r.read()
	r.all = newSeries(Start, r.last, c.Read)
	return r
}

// read looks at the clocks.
func (r *Recorder) read() reading {
	now := r.cfg.Now()
	return reading{now.Round(0), now.Sub(r.start)}
}

// Tick takes the samples that are due. The owner calls it every second.
func (r *Recorder) Tick() { r.tick(r.read()) }

func (r *Recorder) tick(now reading) {
	r.mu.Lock()
	defer r.mu.Unlock()
	passed := now.mono - r.last.mono
	if passed >= gapFrom {
		r.mark(Mark{At: now.wall, Code: Gap, By: passed.Round(time.Second), mono: now.mono})
	}
	if by := now.wall.Sub(r.last.wall) - passed; by.Abs() >= stepFrom {
		r.mark(Mark{At: now.wall, Code: ClockStep, By: by.Round(time.Millisecond), mono: now.mono})
	}
	r.last = now
	r.all.tick(now)
	for _, s := range r.tenants {
		s.tick(now)
	}
}

func (r *Recorder) mark(m Mark) {
	if len(r.marks) == maxMarks {
		r.marks = slices.Delete(r.marks, 0, 1)
	}
	r.marks = append(r.marks, m)
}

// ErrTooMany means that the gateway counts for as many tenants as it can.
var ErrTooMany = errors.New("the gateway counts for as many tenants as it can")

// seriesOf returns the series of a prefix, which begins now if there is none; "" is that
// of all clients. A beginning costs a walk over the clients that are online, so a tenant
// that still asks keeps its series.
func (r *Recorder) seriesOf(prefix string, now reading) (*series, error) {
	if prefix == "" {
		return r.all, nil
	}
	s := r.tenants[prefix]
	if s == nil {
		if len(r.tenants) >= maxTenants {
			oldest := slices.MinFunc(slices.Collect(maps.Keys(r.tenants)), func(a, b string) int {
				return cmp.Compare(r.tenants[a].asked, r.tenants[b].asked)
			})
			if now.mono-r.tenants[oldest].asked < idleAfter {
				return nil, ErrTooMany
			}
			delete(r.tenants, oldest)
			r.cfg.End(oldest)
		}
		s = newSeries(Begin, now, r.cfg.Tenant(prefix))
		r.tenants[prefix] = s
	}
	s.asked = now.mono
	return s, nil
}

// Current returns the present state and the last minute of the clients whose id begins
// with prefix, "" for all. Errors: ErrTooMany.
func (r *Recorder) Current(prefix string) (Current, error) { return r.current(prefix, r.read()) }

func (r *Recorder) current(prefix string, now reading) (Current, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, err := r.seriesOf(prefix, now)
	if err != nil {
		return Current{}, err
	}
	return s.current(now), nil
}

// History returns the points and marks since a time. Ages count on the monotonic clock:
// after a step of the wall clock, an hour back is an hour that has passed. A step of 0
// chooses: fine for two hours, coarse for more. Errors: ErrTooMany.
func (r *Recorder) History(prefix string, since time.Time, step time.Duration) (History, error) {
	return r.history(prefix, since, step, r.read())
}

func (r *Recorder) history(prefix string, since time.Time, step time.Duration, now reading) (History, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, err := r.seriesOf(prefix, now)
	if err != nil {
		return History{}, err
	}
	from := time.Duration(-1 << 62)
	if !since.IsZero() {
		from = now.mono - now.wall.Sub(since)
	}
	if step == 0 {
		step = CoarseStep
		if now.mono-from <= FineSpan {
			step = FineStep
		}
	}
	h := s.history(from, step)
	for _, m := range r.marks {
		if m.mono >= max(from, s.begun.mono) {
			h.Marks = append(h.Marks, m)
		}
	}
	return h, nil
}

// ClockOff returns the sum of the steps of the wall clock in the last day and the time
// of the last one; 0 if they cancel each other out or there is none.
func (r *Recorder) ClockOff() (by time.Duration, last time.Time) {
	now := r.read()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.marks {
		if m.Code == ClockStep && now.mono-m.mono <= CoarseSpan {
			by += m.By
			last = m.At
		}
	}
	if by.Abs() < 2*stepFrom {
		return 0, time.Time{}
	}
	return by, last
}

// series is the history of some clients.
type series struct {
	read  func() Totals
	code  Code
	begun reading
	asked time.Duration // the last time, of a tenant

	snaps        []snap // of the last minute, oldest first
	fine, coarse ring
	minute       snap // at which the coming coarse point begins
}

type snap struct {
	reading
	Totals
}

func newSeries(code Code, now reading, read func() Totals) *series {
	s := &series{read: read, code: code, begun: now}
	s.fine.most, s.coarse.most = int(FineSpan/FineStep), int(CoarseSpan/CoarseStep)
	first := snap{now, read()}
	s.snaps, s.minute = []snap{first}, first
	return s
}

// tick takes a snapshot when the last one is old enough.
func (s *series) tick(now reading) {
	last := &s.snaps[len(s.snaps)-1]
	if now.mono-last.mono < FineStep {
		return
	}
	next := snap{now, s.read()}
	s.fine.add(pointOf(last, &next))
	if now.mono-s.minute.mono >= CoarseStep {
		s.coarse.add(pointOf(&s.minute, &next))
		s.minute = next
	}
	if len(s.snaps) == perWindow {
		s.snaps = slices.Delete(s.snaps, 0, 1)
	}
	s.snaps = append(s.snaps, next)
}

// kept is a point with its place on the monotonic clock.
type kept struct {
	Point
	mono time.Duration
}

func pointOf(a, b *snap) kept {
	acks := b.Acks.Sub(&a.Acks)
	return kept{Point{At: b.wall, Took: b.mono - a.mono, Online: b.Online, Queued: b.Queued,
		Accepted: b.Accepted - a.Accepted, Delivered: b.Delivered - a.Delivered, Acked: b.Acked - a.Acked, Rejected: b.Rejected - a.Rejected,
		Expired: b.Expired - a.Expired, Failed: b.Failed - a.Failed, Uplinks: b.Uplinks - a.Uplinks, Connects: b.Connects - a.Connects,
		Disconnects: b.Disconnects - a.Disconnects, P50: acks.Quantile(0.5), P99: acks.Quantile(0.99)}, b.mono}
}

func (s *series) current(now reading) Current {
	i := slices.IndexFunc(s.snaps, func(old snap) bool { return now.mono-old.mono <= staleBase })
	if i < 0 {
		i = len(s.snaps) - 1
	}
	live := snap{now, s.read()}
	p := pointOf(&s.snaps[i], &live)
	seconds := max(p.Took, time.Second).Seconds()
	rate := func(n uint64) float64 { return float64(n) / seconds }
	return Current{Totals: live.Totals, Over: p.Took, Pushes: rate(p.Accepted), Deliver: rate(p.Delivered), AckRate: rate(p.Acked),
		UpRate: rate(p.Uplinks), ConnRate: rate(p.Connects), P50: p.P50, P99: p.P99}
}

func (s *series) history(from, step time.Duration) History {
	points := &s.fine
	if step == CoarseStep {
		points = &s.coarse
	}
	h := History{Step: step, Begins: s.begun.wall}
	for i := range points.list {
		p := points.at(i)
		if i == 0 {
			h.Begins = p.At.Add(-p.Took)
		}
		if p.mono >= from {
			h.Points = append(h.Points, p.Point)
		}
	}
	if s.begun.mono >= from {
		h.Marks = []Mark{{At: s.begun.wall, Code: s.code, mono: s.begun.mono}}
	}
	return h
}

// ring keeps the newest points; it grows up to most.
type ring struct {
	most int
	list []kept
	next int // the oldest one when the ring is full
}

func (r *ring) add(p kept) {
	if len(r.list) < r.most {
		r.list = append(r.list, p)
		return
	}
	r.list[r.next] = p
	r.next = (r.next + 1) % r.most
}

// at returns the i-th point; 0 is the oldest.
func (r *ring) at(i int) *kept { return &r.list[(r.next+i)%len(r.list)] }
