// Package memstore is gateway.Store in memory: one mutex, maps and sorted slices,
// as simple as the contract allows. It is the store of data.engine "memory", and
// the model that the durable engine is compared with.
//
// Its data ends with the process: a 202 from this store is not on disk, and Stats
// says so.
package memstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"time"

	"github.com/longwire/longwire/gateway"
)

// Options of a Store. The zero value is ready for use.
type Options struct {
	// Now is the clock that expiry uses; nil is time.Now.
	Now func() time.Time

	// StatusRetention is how long a message is kept after its last delivery
	// became final; 0 is 7 days.
	StatusRetention time.Duration
	// UplinkRetention is how long an uplink is kept at most; 0 is 7 days.
	UplinkRetention time.Duration
	// ForgetAfter is how long a client without queued messages is remembered
	// after it was last seen; 0 is 30 days.
	ForgetAfter time.Duration

	// MaxClients bounds the known clients; 0 is no bound. See gateway.TooManyClients.
	MaxClients int64

	// QueueLen and QueueBytes bound the queue of one client; 0 is
	// gateway.DefaultMaxQueued and gateway.DefaultMaxQueuedBytes.
	QueueLen   int
	QueueBytes int64

	// MaxMessages and MaxBytes bound the stored messages and their payloads; 0 is
	// 1,000,000 and 1 GiB. Beyond them the oldest completed message is dropped
	// early with its idempotency key; if none is completed, Accept answers
	// CodeUnavailable.
	MaxMessages int
	MaxBytes    int64

	// MaxUplinks and MaxUplinkBytes bound the stored uplinks; beyond them the
	// oldest is dropped. 0 is 10,000 and 64 MiB.
	MaxUplinks     int
	MaxUplinkBytes int64

	// MaxEvents bounds the events; beyond them the oldest are forgotten. 0 is 65,536.
	MaxEvents int
}

func (o Options) withDefaults() Options {
	const day = 24 * time.Hour
	if o.Now == nil {
		o.Now = time.Now
	}
	o.StatusRetention = cmp.Or(o.StatusRetention, 7*day)
	o.UplinkRetention = cmp.Or(o.UplinkRetention, 7*day)
	o.ForgetAfter = cmp.Or(o.ForgetAfter, 30*day)
	o.QueueLen = cmp.Or(o.QueueLen, gateway.DefaultMaxQueued)
	o.QueueBytes = cmp.Or(o.QueueBytes, int64(gateway.DefaultMaxQueuedBytes))
	o.MaxMessages = cmp.Or(o.MaxMessages, 1_000_000)
	o.MaxBytes = cmp.Or(o.MaxBytes, int64(1<<30))
	o.MaxUplinks = cmp.Or(o.MaxUplinks, 10_000)
	o.MaxEvents = cmp.Or(o.MaxEvents, 65_536)
	o.MaxUplinkBytes = cmp.Or(o.MaxUplinkBytes, int64(64<<20))
	return o
}

// Store is a gateway.Store in memory. New makes one, Close ends it.
type Store struct {
	opt      Options          // fixed by New
	log      gateway.LogID    // fixed by New
	observer gateway.Observer // fixed by Observe, before use

	mu        sync.Mutex // guards all below
	closed    bool
	seq       gateway.Seq
	clients   map[gateway.ClientID]*client
	accounts  map[string]int64 // clients that are counted for them
	epoch     uint64           // highest one of a forgotten client
	ids       idList           // of clients
	lanes     map[gateway.ClientID]*lane
	messages  map[gateway.MessageID]*message
	order     []*message        // of messages, by rising id
	oldest    gateway.MessageID // those before it are completed
	done      []*message        // completed messages in the order of completion
	bytes     int64             // payloads of messages
	queued    int               // deliveries that are not final
	keys      map[key]*message
	deadlines deadlines
	scheduled uint64 // deadlines so far
	uplinks   uplinkRing
	events    uint64
	told      eventLog
	entries   map[string][]byte
	accepts   gateway.Histogram

	notes   []gateway.Change // changes that the observer has not received
	noted   uint64           // number of changes so far
	passed  uint64           // number of changes that the observer has received
	changed *sync.Cond       // signaled when notes, passed or closed changes
	rearm   chan struct{}
	ending  chan struct{}
	wg      sync.WaitGroup // the goroutine that notifies and the expiry driver
}

// client is the record of one client.
type client struct {
	gateway.ClientRecord
	account   string // of the caller that has made it known
	tenant    string // that it belongs to and is counted for instead
	connected bool   // registered and not disconnected since: must not be forgotten
}

// lane has the deliveries to one client id, known client or not, by rising
// sequence.
type lane struct {
	queue   []*delivery // not final
	history []*delivery // all stored ones
}

// message is a message with its deliveries.
type message struct {
	gateway.Message
	key         key
	fingerprint [32]byte    // of the request with the key
	deliveries  []*delivery // by client id
	due         *deadline   // when it expires, or once completed when it is dropped
	keyDue      *deadline   // when the key is forgotten
}

// many reports whether the message was addressed to more than a single client.
func (m *message) many() bool { return m.Client == "" }

// head returns the message without its payload.
func (m *message) head() gateway.Message {
	h := m.Message
	h.Payload = nil
	return h
}

// delivery is one message for one client.
type delivery struct {
	gateway.Delivery
	message *message
	former  bool // its client was forgotten: only the outcome of an online call counts
}

// key is an idempotency key within its scope; without a name it is none.
type key struct{ scope, name string }

var _ gateway.Store = (*Store)(nil)

// New returns an empty store.
func New(o Options) *Store {
	s := &Store{
		opt:      o.withDefaults(),
		log:      gateway.LogID("mem_" + rand.Text()),
		clients:  make(map[gateway.ClientID]*client),
		accounts: make(map[string]int64),
		lanes:    make(map[gateway.ClientID]*lane),
		messages: make(map[gateway.MessageID]*message),
		keys:     make(map[key]*message),
		accepts:  newHistogram(),
		told:     newEventLog(),
		entries:  make(map[string][]byte),
		rearm:    make(chan struct{}, 1),
		ending:   make(chan struct{}),
	}
	s.changed = sync.NewCond(&s.mu)
	s.wg.Go(s.notify)
	s.wg.Go(s.drive)
	return s
}

// Log names this store's sequences: a new name for each process.
func (s *Store) Log() gateway.LogID { return s.log }

// Health returns nil until Close.
func (s *Store) Health() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.usableLocked()
}

// usableLocked returns why the store accepts no writes, nil if it does.
func (s *Store) usableLocked() error {
	if s.closed {
		return unavailable(errClosed)
	}
	return nil
}

// enter returns with mu held, or why a call cannot be made.
func (s *Store) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return unavailable(err)
	}
	s.mu.Lock()
	err := s.usableLocked()
	if err != nil {
		s.mu.Unlock()
	}
	return err
}

// enterWithRoom is enter for a change that waits until the observer has room for it.
func (s *Store) enterWithRoom(ctx context.Context) error {
	err := s.enter(ctx)
	if err != nil {
		return err
	}
	s.awaitRoomLocked()
	if err = s.usableLocked(); err != nil {
		s.mu.Unlock()
	}
	return err
}

// Close passes the last changes to the observer and ends the store.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.ending)
	s.changed.Broadcast()
	s.mu.Unlock()
	s.wg.Wait()
	return nil
}

// Stats returns a snapshot.
func (s *Store) Stats() gateway.StoreStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := gateway.StoreStats{
		Engine:   "memory",
		Clients:  len(s.clients),
		Messages: len(s.messages),
		Queued:   s.queued,
		Records:  s.events, // every event has its own record
		Events:   s.events,
	}
	st.AcceptNanos = s.accepts
	st.AcceptNanos.Counts = append([]uint64(nil), s.accepts.Counts...)
	st.OldestAt = s.oldestLocked()
	return st
}

// oldestLocked returns when the oldest message was accepted that is not completed, zero
// if there is none.
func (s *Store) oldestLocked() time.Time {
	i, _ := slices.BinarySearchFunc(s.order, s.oldest, byID)
	for _, m := range s.order[i:] {
		if s.oldest = m.ID; !m.Completed() {
			return m.CreatedAt
		}
	}
	return time.Time{}
}

// laneLocked returns the lane of client; it makes one if necessary.
func (s *Store) laneLocked(id gateway.ClientID) *lane {
	l := s.lanes[id]
	if l == nil {
		l = new(lane)
		s.lanes[id] = l
	}
	return l
}

// newHistogram returns an empty histogram from 1 µs to 1 s.
func newHistogram() gateway.Histogram {
	var h gateway.Histogram
	for d := time.Microsecond; d <= time.Second; d *= 10 {
		h.Bounds = append(h.Bounds, d, 2*d, 5*d)
	}
	h.Counts = make([]uint64, len(h.Bounds)+1)
	return h
}

// observe counts d in h.
func observe(h *gateway.Histogram, d time.Duration) {
	i := 0
	for i < len(h.Bounds) && d > h.Bounds[i] {
		i++
	}
	h.Counts[i]++
	h.Sum += d
}

// cut removes s[i] and moves the shorter side: the oldest entries, at the front,
// are removed most often.
func cut[T any](s []T, i int) []T {
	var zero T
	if i < len(s)/2 {
		copy(s[1:i+1], s[:i])
		s[0] = zero
		return s[1:]
	}
	copy(s[i:], s[i+1:])
	s[len(s)-1] = zero
	return s[:len(s)-1]
}
