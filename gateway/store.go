package gateway

import (
	"context"
	"iter"
	"slices"
	"time"
)

// Store is the durable half of the gateway. All methods may be called from any
// goroutine. An error that wraps ErrUnavailable means that the outcome is
// unknown or that nothing was stored: the caller answers 503 and may retry with
// the same ids; it never invents a second message.
//
// Every change takes a place in one log. When two changes contradict (an ack
// and an expiry), the first in log order wins.
type Store interface {
	// Log names the sequence space of this store.
	Log() LogID

	// EventBase returns the number above which this process numbers its events. No
	// process before it has given a higher one.
	EventBase() uint64

	// Accept stores a message with its audience and returns when both are on
	// stable storage. It is idempotent by a.ID, and by a.IdempotencyKey where
	// one is given: the receipt then tells of the first message.
	//
	// Errors: CodeClientNotFound (the single recipient is unknown and
	// a.QueueUnknown is not set), CodeQueueFull (the single recipient's queue
	// has no room), CodeIdempotencyMismatch, ErrUnavailable. In a message to
	// many, recipients that are unknown or full become Failed deliveries.
	Accept(ctx context.Context, a Acceptance) (Receipt, error)

	// StartAccept is Accept for a caller that does not wait: done is called once, maybe
	// before StartAccept returns, must not block, and may be called with others on one
	// goroutine. The messages of a caller have its order. It waits while the log's
	// queue has no room.
	StartAccept(a Acceptance, done func(Receipt, error))

	// Repeated returns what Accept would if a.IdempotencyKey is that of a message;
	// ok is false if there is none, or a has no key. Nothing is stored. Errors:
	// CodeIdempotencyMismatch, ErrUnavailable.
	Repeated(a Acceptance) (r Receipt, ok bool, err error)

	// Settle proposes a final state. It returns when the proposal has a place
	// in the log's queue, not when it is durable: the Observer is told then.
	// The first final state in log order wins. A later proposal changes nothing,
	// except that the first later AckOK or AckReject of the device (see
	// Outcome.Verdict) is kept with a final state that no device has given.
	//
	// With urgent set a caller waits for it, and it is written at once instead
	// of within 50 ms. So are all that wait if the result has more than
	// MaxLazyResult bytes, if the client's share of MaxUndurable is half used up,
	// and when a client registers. Settle waits while the queue is full. After
	// ErrUnavailable the delivery is unchanged: it will be sent again.
	Settle(o Outcome, urgent bool) error
	// TrySettle is Settle where nothing may wait. Where it returns false, for
	// the queue is full or the store takes nothing, nothing has happened.
	TrySettle(o Outcome, urgent bool) bool

	// ProposeExpiry proposes Expired for every delivery of the message that is not
	// final. The caller has judged by the time at: the store drops the proposal
	// unless the message was due then. Otherwise it is like an urgent Settle.
	ProposeExpiry(id MessageID, at time.Time) error

	// Cancel makes every delivery of the message that is not final canceled,
	// durably, and returns the message as it then is.
	// Errors: CodeMessageNotFound, CodeAlreadyFinal, ErrUnavailable.
	Cancel(ctx context.Context, id MessageID, at time.Time) (Message, error)

	// Purge cancels everything queued for client with reason ReasonPurged,
	// durably, and returns how many deliveries that were.
	Purge(ctx context.Context, client ClientID, at time.Time) (int, error)

	// Undurable returns how many proposals by Settle for a client, and how many
	// bytes of results in them, are not known to be durable; perhaps more than
	// there are, never less. No first transmission leaves for a client that has
	// reached MaxUndurable, its unanswered deliveries included, or
	// MaxUndurableBytes: a device remembers a limited number of verdicts, and a
	// crash of the gateway must not lose more than that.
	Undurable(client ClientID) (n, bytes int)

	// Register remembers a client that has connected: created if new, labels
	// and groups replaced if the registration has any (nil keeps them), last
	// seen set, last close cleared. It is one event, which is refused or changes
	// the client when it is applied, in log order. It returns the record, and the
	// highest sequence that the log may have given to a message, when it is applied:
	// of a store that has lost the end of its log that is more than the highest one
	// it knows. The registration need not be durable before (the client would
	// register again), but takes its place in the log before any Accept that follows.
	//
	// Errors: CodeBlocked, CodeValidation (bounds): nothing has changed.
	// ErrUnavailable: the client is as it was or registered, nothing between.
	Register(ctx context.Context, r Registration) (ClientRecord, Seq, error)

	// Disconnected notes last seen and the reason. It does not wait and loses
	// the note on error: presence is advisory.
	Disconnected(client ClientID, at time.Time, reason string)

	// UpdateClient changes labels, groups or the block of a known client,
	// durably. Errors: CodeClientNotFound, CodeValidation (bounds),
	// ErrUnavailable.
	UpdateClient(ctx context.Context, client ClientID, c ClientChange) (ClientRecord, error)

	// AppendUplink stores a payload from a device and returns its sequence
	// when it is on stable storage.
	AppendUplink(ctx context.Context, u Uplink) (seq uint64, err error)

	// Next appends to buf the queued parcels of a client with a sequence above
	// q.After, in rising order, at most q.Max of them. last is the highest sequence
	// that was given before the state that it has read. It stops before that only
	// when there are no more, or when they have q.MaxBytes of payload or more in
	// all (the last one may pass the mark). One that is past its time is among
	// them until its final state is durable: if it were left out, a later one
	// might be sent before that, and a device that is asked after a crash would
	// take the earlier one for handled.
	Next(q ParcelQuery, buf []Parcel) (parcels []Parcel, last Seq, err error)

	// Parcel returns one queued parcel, ok false when it is durably final or
	// unknown.
	Parcel(client ClientID, seq Seq) (p Parcel, ok bool, err error)

	// The reads below see every change that is applied, final states only
	// once they are durable. Deliveries never show Sent: the gateway knows.

	Client(id ClientID) (ClientRecord, error) // CodeClientNotFound
	// Clients returns known clients in id order.
	Clients(q ClientQuery) (Page[ClientRecord, ClientID], error)
	Message(id MessageID) (Message, error) // CodeMessageNotFound
	// Messages returns messages, newest first.
	Messages(q MessageQuery) (Page[Message, MessageID], error)
	// Delivery returns one delivery; CodeMessageNotFound, CodeClientNotFound.
	Delivery(id MessageID, client ClientID) (Delivery, error)
	// Deliveries returns a message's deliveries in client id order, or in the
	// order in which the clients first registered.
	Deliveries(q DeliveryQuery) (Page[Delivery, ClientID], error)
	// ClientDeliveries returns a client's deliveries, newest first.
	ClientDeliveries(q ClientDeliveryQuery) (Page[Delivery, Seq], error)
	// Uplinks returns stored uplinks with a sequence above after, oldest first.
	Uplinks(client ClientID, after uint64, limit int) (Page[Uplink, uint64], error)

	// Observe sets the observer. It is called once, before use.
	Observe(Observer)

	// Health returns nil when the store accepts writes, else why it does not.
	Health() error
	Stats() StoreStats

	// Close makes what was settled durable and releases the store.
	Close() error
}

// Acceptance is a message to be stored.
type Acceptance struct {
	ID        MessageID
	To        Audience
	Payload   []byte // not kept by the caller after the call
	Encoding  Encoding
	Metadata  map[string]string
	Owner     string // Message.Owner
	CreatedAt time.Time
	ExpiresAt time.Time

	// QueueUnknown stores deliveries for clients that were never seen. They
	// become known clients without a last seen.
	QueueUnknown bool
	// Among, when set, narrows a group, label or all audience to the clients
	// that it yields, each once and in any order, with their ClientRecord.Ref,
	// or 0.
	Among iter.Seq2[ClientID, uint32]
	// Only, when set, narrows such an audience further; it is asked once for
	// each member, of Among where that is set, at acceptance. Both must be
	// quick.
	Only func(ClientID) bool

	// Rate is passed on with AcceptedMany and not stored.
	Rate int

	// IdempotencyKey is "" for none, Scope is the principal it belongs to,
	// Fingerprint a hash of the request it must be repeated with. They are
	// remembered for 24 h.
	IdempotencyKey string
	Scope          string
	Fingerprint    [32]byte
}

// Audience says who gets a message. Exactly one of the fields is set.
type Audience struct {
	Client  ClientID
	Clients []ClientID        // 1 to 1,000, duplicates count once
	Group   string            // every member now
	Labels  map[string]string // every client that has all of them now
	All     bool              // every known client
}

// Receipt tells what was accepted.
type Receipt struct {
	Message  Message // without Payload
	Replayed bool    // the idempotency key, or the message id, was known already
}

// Outcome is a proposal for a final state.
type Outcome struct {
	Message  MessageID
	Client   ClientID
	Ref      uint32 // ClientRecord.Ref, or 0
	Seq      Seq
	State    State // Acked, Rejected or Failed
	Reason   string
	Attempts int
	SentAt   time.Time
	At       time.Time
	Result   []byte
}

// Bounds of what Settle may leave unwritten.
const (
	MaxUndurable      = 256       // proposals for one client
	MaxUndurableBytes = 128 << 10 // bytes of results for one client
	MaxLazyResult     = 4 << 10   // bytes of one result
)

// Verdict returns the code of the device's answer that the outcome is; ok is
// false for the gateway's own.
func (o *Outcome) Verdict() (code AckCode, ok bool) { return verdict(o.State, o.Reason) }

// Verdict returns the code of the device's answer that the final state is; ok is
// false if no device has given it.
func (d *Delivery) Verdict() (code AckCode, ok bool) { return verdict(d.State, d.Reason) }

func verdict(s State, reason string) (code AckCode, ok bool) {
	switch {
	case s == Acked && reason == ReasonVerdictNotKept:
		return AckNotKept, true
	case s == Acked:
		return AckOK, true
	case s == Rejected && reason == ReasonDeviceRejected:
		return AckReject, true
	}
	return 0, false
}

// LateFor reports whether the outcome is kept as a late ack with d: the device
// answers, and the final state is not its answer.
func (o *Outcome) LateFor(d *Delivery) bool {
	code, ok := o.Verdict()
	_, answered := d.Verdict()
	return ok && code != AckNotKept && d.State.Final() && !answered && d.LateAckAt.IsZero()
}

// Registration is a client that has connected. Nil Labels or Groups keep what
// is stored.
type Registration struct {
	Client ClientID
	Labels map[string]string
	Groups []string
	// Guarded are groups that the client neither enters nor leaves by its
	// registration.
	Guarded map[string]bool
	At      time.Time
}

// Refusal returns why a client that is blocked until then may not register, nil
// if it may.
func (r *Registration) Refusal(blockedUntil time.Time) error {
	if wait := blockedUntil.Sub(r.At); wait > 0 {
		return &Error{Code: CodeBlocked, Message: "the client is blocked", RetryAfter: wait}
	}
	return nil
}

// GroupsOf returns the groups, sorted, of a client that was in known before it
// registers. If MaxGroups has no room for all, guarded ones go first.
func (r *Registration) GroupsOf(known []string) []string {
	if r.Groups == nil {
		return known
	}
	if len(r.Guarded) == 0 {
		return slices.Compact(slices.Sorted(slices.Values(r.Groups)))
	}
	var groups []string
	for _, name := range known {
		if r.Guarded[name] {
			groups = append(groups, name)
		}
	}
	for _, name := range r.Groups {
		if !r.Guarded[name] && !slices.Contains(groups, name) && len(groups) < MaxGroups {
			groups = append(groups, name)
		}
	}
	slices.Sort(groups)
	return groups
}

// ClientChange changes a client record; nil members leave theirs alone.
type ClientChange struct {
	Labels       map[string]*string // merge: nil value removes the label
	Groups       *[]string          // replaces
	BlockedUntil *time.Time
}

// Bounds of a client record.
const (
	MaxLabels     = 32
	MaxLabelKey   = 64  // bytes, [A-Za-z0-9._-]
	MaxLabelValue = 256 // bytes of UTF-8
	MaxGroups     = 32
	MaxGroupName  = 64 // bytes, as a client id
)

// Page is one page of a list. More is set when rows may follow; the next page
// starts after Next (which need not be the key of the last item: a page may
// hold fewer rows than asked for when a filter passed over many).
type Page[T any, K any] struct {
	Items []T
	Next  K
	More  bool
}

// ParcelQuery selects what is queued for one client.
type ParcelQuery struct {
	Client   ClientID
	Ref      uint32 // ClientRecord.Ref, or 0
	After    Seq
	Max      int
	MaxBytes int
}

// ClientQuery selects clients. Zero values select all.
type ClientQuery struct {
	Prefix   string
	Group    string
	Labels   map[string]string
	QueuedGT int // more queued than this; -1 = any
	After    ClientID
	Limit    int
}

// MessageQuery selects messages, newest first.
type MessageQuery struct {
	// State is 0 for any. Queued selects messages that are not completed; a
	// final state selects completed messages with at least one such delivery.
	State  State
	Since  time.Time // created at or after; zero = any
	Before MessageID // "" = from the newest
	Limit  int
}

// DeliveryQuery selects deliveries of one message.
type DeliveryQuery struct {
	Message MessageID
	State   State // 0 = any
	After   ClientID
	Limit   int
}

// ClientDeliveryQuery selects deliveries to one client, newest first.
type ClientDeliveryQuery struct {
	Client  ClientID
	State   State // 0 = any
	Pending bool  // all that are not final, in place of State
	Before  Seq   // 0 = from the newest
	Since   time.Time
	Limit   int
}

// StoreStats is a snapshot for metrics.
type StoreStats struct {
	Engine      string // "pebble", "memory"
	Durable     bool   // a 202 survives the process
	Clients     int    // known
	Messages    int    // kept, final ones included
	Queued      int    // deliveries that are not final
	OldestAt    time.Time
	DiskBytes   int64
	Records     uint64 // group commits
	Events      uint64 // events in them
	AcceptNanos Histogram
	SyncNanos   Histogram
}

// Histogram is a snapshot of a duration histogram: Counts[i] observations were
// at most Bounds[i]; the last one has no bound.
type Histogram struct {
	Bounds []time.Duration
	Counts []uint64
	Sum    time.Duration
}
