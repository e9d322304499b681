package record

import (
	"time"
)

// Opened is record 1 of a boot: the writer's process has started. The state takes it
// only if After is still the boot that it knows of the writer (compare and set), so
// that of two processes with the writer's identity one alone can write.
type Opened struct {
	After uint64 // boot before; 0 = none
	// Floor are numbers that the writer's process before may have given, although the
	// state does not know them: the next numbers are above.
	Floor Numbers
}

// Opening returns the event of a record that opens a boot.
func (r *Commit) Opening() (o *Opened, ok bool) {
	if r.N == 1 && len(r.Events) > 0 {
		o, ok = r.Events[0].(*Opened)
	}
	return o, ok
}

func (e *Opened) Kind() Kind { return KindOpened }
func (e *Opened) Size() int  { return 64 }
func (e *Opened) encode(b []byte) []byte {
	b = PutUint(PutUint(b, e.After), e.Floor.Seq)
	return PutUint(PutUint(b, e.Floor.Useq), e.Floor.Event)
}

// Numbers are those that are never given twice.
type Numbers struct {
	Seq   uint64 // of messages
	Useq  uint64 // of uplinks
	Event uint64 // of events
}

// Raise returns the higher of each two numbers.
func (n Numbers) Raise(o Numbers) Numbers {
	return Numbers{max(n.Seq, o.Seq), max(n.Useq, o.Useq), max(n.Event, o.Event)}
}

// Bounded replaces the bounds that later events are decided under.
type Bounded struct{ Bounds }

func (e *Bounded) Kind() Kind             { return KindBounded }
func (e *Bounded) Size() int              { return 96 }
func (e *Bounded) encode(b []byte) []byte { return e.Bounds.Encode(b) }

// Bounds are all settings that change the outcome of an event. They are a row of the
// state, so that the same log leads to the same rows under every program and every
// configuration.
type Bounds struct {
	MaxQueued      int           // messages queued for one client alone
	MaxQueuedBytes int64         // their payloads, bytes
	KeyAge         time.Duration // for which an idempotency key is remembered
	// SmallAudience is how many recipients a message to a group, to labels or to all may
	// have to be kept as a row per recipient rather than as bits: a bit is cheap among
	// many, and a row is cheap to find for one.
	SmallAudience int
	// MaxBitmaps bounds the messages in bitmap form that are not completed, because each
	// one is looked at when a recipient connects.
	MaxBitmaps int64

	MaxClients     int64 // known ones; 0 = no bound
	MaxUplinkBytes int64 // rows of uplinks; 0 = no bound

	MaxLabels     int
	MaxLabelKey   int // bytes
	MaxLabelValue int // bytes
	MaxGroups     int
	MaxGroupName  int // bytes

	// Ages, after which the driver of any node proposes that something is forgotten.
	StatusAge time.Duration // of a message, since its last delivery became final
	UplinkAge time.Duration
	ClientAge time.Duration // since a client with nothing queued was last seen
	EventAge  time.Duration
	// MaxEventBytes bounds the rows of events; the oldest are forgotten first.
	MaxEventBytes int64

	// RejectTwins refuses a registration of an id that is connected to another node.
	RejectTwins bool
}

// DefaultBounds are those of a state that has none yet. They never change: another
// default is a setting that a start writes.
func DefaultBounds() Bounds {
	const day = 24 * time.Hour
	return Bounds{MaxQueued: 10_000, MaxQueuedBytes: 16 << 20, KeyAge: day, SmallAudience: 256, MaxBitmaps: 10_000,
		MaxLabels: 32, MaxLabelKey: 64, MaxLabelValue: 256, MaxGroups: 32, MaxGroupName: 64,
		StatusAge: 7 * day, UplinkAge: 7 * day, ClientAge: 30 * day, EventAge: 7 * day, MaxEventBytes: 2 << 30}
}

// Encode appends the bounds to b.
func (o *Bounds) Encode(b []byte) []byte {
	for _, v := range [...]int64{int64(o.MaxQueued), o.MaxQueuedBytes, int64(o.KeyAge), int64(o.SmallAudience), o.MaxBitmaps,
		int64(o.MaxLabels), int64(o.MaxLabelKey), int64(o.MaxLabelValue), int64(o.MaxGroups), int64(o.MaxGroupName),
		int64(o.StatusAge), int64(o.UplinkAge), int64(o.ClientAge), int64(o.EventAge), o.MaxEventBytes, o.MaxClients, o.MaxUplinkBytes} {
		b = PutUint(b, uint64(v))
	}
	return PutBool(b, o.RejectTwins)
}

// DecodeBounds reads a value of Bounds.Encode.
func DecodeBounds(d *Decoder) (o Bounds) {
	o.MaxQueued, o.MaxQueuedBytes, o.KeyAge, o.SmallAudience = d.Int(), int64(d.Uint()), time.Duration(d.Uint()), d.Int()
	o.MaxBitmaps = int64(d.Uint())
	o.MaxLabels, o.MaxLabelKey, o.MaxLabelValue, o.MaxGroups, o.MaxGroupName = d.Int(), d.Int(), d.Int(), d.Int(), d.Int()
	o.StatusAge, o.UplinkAge, o.ClientAge = time.Duration(d.Uint()), time.Duration(d.Uint()), time.Duration(d.Uint())
	o.EventAge, o.MaxEventBytes = time.Duration(d.Uint()), int64(d.Uint())
	o.MaxClients, o.MaxUplinkBytes = int64(d.Uint()), int64(d.Uint())
	o.RejectTwins = d.Bool()
	return o
}

// ForgetEvents removes the rows of events that begin with a number up to Through.
type ForgetEvents struct {
	Through uint64
	Max     int // rows, at most, by one event
}

func (e *ForgetEvents) Kind() Kind { return KindForgetEvents }
func (e *ForgetEvents) Size() int  { return 32 }
func (e *ForgetEvents) encode(b []byte) []byte {
	return PutUint(PutUint(b, e.Through), uint64(e.Max))
}
