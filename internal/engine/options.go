package engine

import (
	"cmp"
	"errors"
	"log/slog"
	"os"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/disk"
	"github.com/longwire/longwire/internal/engine/journal"
	"github.com/longwire/longwire/internal/engine/record"
	"github.com/longwire/longwire/internal/engine/state"
)

// Options of an engine. Only Dir is required.
type Options struct {
	// Dir is the data directory. It is created if it does not exist.
	Dir string
	// FS is the file system; nil is the operating system's, with files and
	// directories made for their owner alone.
	FS vfs.FS
	// Now is the clock by which things expire; nil is time.Now.
	Now func() time.Time
	// Logger gets a line per event that an operator acts on; nil is silence.
	Logger *slog.Logger

	// StatusRetention is how long a message is kept after its last delivery
	// became final; 0 is 7 days.
	StatusRetention time.Duration
	// UplinkRetention is how long an uplink is kept; 0 is 7 days.
	UplinkRetention time.Duration
	// IdempotencyRetention is how long an idempotency key is remembered; 0 is
	// 24 hours.
	IdempotencyRetention time.Duration
	// ForgetAfter is how long a client that has nothing queued is remembered
	// after it was last seen; 0 is 30 days.
	ForgetAfter time.Duration

	// EventRetention is how long an event is kept; 0 is 7 days. MaxEventBytes bounds
	// the rows of events, and so does an eighth of MaxDiskBytes; 0 is 2 GiB. The oldest
	// events are removed first.
	EventRetention time.Duration
	MaxEventBytes  int64

	// MaxQueued and MaxQueuedBytes bound the messages queued for one client; 0
	// is gateway.DefaultMaxQueued and gateway.DefaultMaxQueuedBytes. Messages in bitmap form
	// are not counted.
	MaxQueued      int
	MaxQueuedBytes int64

	// MaxClients bounds the known clients; 0 is no bound. See gateway.TooManyClients.
	MaxClients int64

	// RejectTwins refuses a registration whose id is connected to another node.
	RejectTwins bool

	// MaxDiskBytes is the disk budget of the store: above it nothing is
	// accepted, while acks still are, and the space of removed rows is
	// gathered at once instead of with time. Above nine tenths of it no client is
	// accepted that is not known. 0 is no budget.
	MaxDiskBytes int64
	// MaxUplinkBytes bounds the rows of uplinks, so that these do not stop messages. 0 is a
	// quarter of MaxDiskBytes, or of the file system without a budget; negative is no
	// bound. See gateway.UplinksFull.
	MaxUplinkBytes int64
	// MinFreeBytes is how much the file system must have free for a message to
	// be accepted, so that acks can still be written; 0 is 64 MiB or a tenth of
	// the file system, whichever is less. Negative is no minimum.
	MinFreeBytes int64

	// CacheBytes is the size of the block cache; 0 is 64 MiB.
	CacheBytes int64
	// MemTableBytes is the size of a memtable, so about that of a log file, of
	// which there may be ten; 0 is 16 MiB, or less on a small disk or budget:
	// see memTableBytes.
	MemTableBytes int

	// SweepEvery is the interval at which messages expire and old rows go; 0 is
	// 200 ms. Negative is never: only Expire does.
	SweepEvery time.Duration

	// NoSync leaves out the sync of the log. Accepted messages are then lost at
	// a power cut: for measurements and for the test that shows it.
	NoSync bool

	// Journal orders the records of several engines; nil is the database's own log, of one.
	Journal journal.Shared
	// JournalWait is how long Open waits until the journal has taken this process as a
	// writer; 0 is 30 s.
	JournalWait time.Duration

	// bitmapsOnly keeps every message to a selection in bitmap form, so that
	// tests reach it with few clients.
	bitmapsOnly bool
	// hungAfter is how long a write may take before nothing more is accepted: 10 s outside
	// of tests. The callers that wait for it get their answer when it ends.
	hungAfter time.Duration
	caches    state.Caches // other sizes are for tests
}

// Bounds of the queue between callers and the committer.
const (
	maxWaitingEvents = 32 << 10
	maxWaitingBytes  = 64 << 20
)

// lazyDelay is how long an event without a caller may wait for others.
const lazyDelay = 50 * time.Millisecond

// bounds returns the settings that change outcomes.
func (o *Options) bounds() record.Bounds {
	b := record.DefaultBounds()
	b.MaxQueued, b.MaxQueuedBytes, b.KeyAge = o.MaxQueued, o.MaxQueuedBytes, o.IdempotencyRetention
	b.StatusAge, b.UplinkAge, b.ClientAge = o.StatusRetention, o.UplinkRetention, o.ForgetAfter
	b.EventAge, b.MaxEventBytes = o.EventRetention, o.MaxEventBytes
	b.MaxLabels, b.MaxLabelKey, b.MaxLabelValue = gateway.MaxLabels, gateway.MaxLabelKey, gateway.MaxLabelValue
	b.RejectTwins, b.MaxClients = o.RejectTwins, o.MaxClients
	b.MaxUplinkBytes = max(o.MaxUplinkBytes, 0)
	b.MaxGroups, b.MaxGroupName = gateway.MaxGroups, gateway.MaxGroupName
	if o.bitmapsOnly {
		b.SmallAudience = 0
	}
	return b
}

// disk returns the options of package disk.
func (o *Options) disk() *disk.Options {
	return &disk.Options{Dir: o.Dir, FS: o.FS, Logger: o.Logger, CacheBytes: o.CacheBytes, MemTableBytes: o.MemTableBytes,
		Follows: o.Journal != nil, Rows: rowsOfState{}}
}

func (o Options) withDefaults() Options {
	const day = 24 * time.Hour
	o.StatusRetention = cmp.Or(o.StatusRetention, 7*day)
	o.UplinkRetention = cmp.Or(o.UplinkRetention, 7*day)
	o.IdempotencyRetention = cmp.Or(o.IdempotencyRetention, day)
	o.ForgetAfter = cmp.Or(o.ForgetAfter, 30*day)
	o.EventRetention = cmp.Or(o.EventRetention, 7*day)
	o.MaxEventBytes = cmp.Or(o.MaxEventBytes, int64(2<<30))
	if o.MaxDiskBytes > 0 {
		o.MaxEventBytes = min(o.MaxEventBytes, max(1, o.MaxDiskBytes/8))
	}
	o.MaxQueued = cmp.Or(o.MaxQueued, gateway.DefaultMaxQueued)
	o.MaxQueuedBytes = cmp.Or(o.MaxQueuedBytes, int64(gateway.DefaultMaxQueuedBytes))
	o.CacheBytes = cmp.Or(o.CacheBytes, int64(64<<20))
	o.SweepEvery = cmp.Or(o.SweepEvery, 200*time.Millisecond)
	o.JournalWait = cmp.Or(o.JournalWait, 30*time.Second)
	o.hungAfter = cmp.Or(o.hungAfter, 10*time.Second)
	if o.FS == nil {
		o.FS = disk.OwnersFS()
	}
	if o.MaxUplinkBytes == 0 {
		o.MaxUplinkBytes = o.diskSize() / 4
	}
	o.MemTableBytes = o.memTableBytes()
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// memTableBytes is a 64th of the disk or of the budget, so that the log files,
// which keep their size until they are used again, leave the room to messages.
func (o *Options) memTableBytes() int {
	if o.MemTableBytes != 0 {
		return o.MemTableBytes
	}
	room := int64(1 << 40)
	if size := o.diskSize(); size > 0 {
		room = min(room, size)
	}
	return int(min(max(room/64, 1<<20), 16<<20))
}

// diskSize returns the budget, or the size of the file system if that is less; 0 =
// unknown.
func (o *Options) diskSize() int64 {
	size := o.MaxDiskBytes
	if total := o.diskUsage().total; total > 0 && (size == 0 || total < size) {
		size = total
	}
	return size
}

// usage is how much room a file system has, in bytes; total 0 = unknown.
type usage struct{ free, total int64 }

// diskUsage returns that of the database's file system, which may be another one than that
// of the data directory. A directory that is not made yet will be on that of its parent.
func (o *Options) diskUsage() usage {
	for dir := o.FS.PathJoin(o.Dir, "db"); ; dir = o.FS.PathDir(dir) {
		u, err := o.FS.GetDiskUsage(dir)
		if err == nil {
			const most = 1 << 60
			return usage{free: int64(min(u.AvailBytes, most)), total: int64(min(u.TotalBytes, most))}
		}
		if !errors.Is(err, os.ErrNotExist) || dir == o.FS.PathDir(dir) {
			return usage{}
		}
	}
}
