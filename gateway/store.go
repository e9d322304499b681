package gateway

import (
	"context"
	"time"
)

// Store is the durable half of the gateway. All methods may be called from any
// goroutine. An error that wraps ErrUnavailable means that the outcome is unknown
// or that nothing was stored. The caller answers 503 and may retry with the same
// ids; it must never create a second message.
//
// Every change has a place in one log. If two changes contradict each other (an
// ack and an expiry), the first in log order wins.
type Store interface {
	// Log names the sequence space of this store.
	Log() LogID

	// Accept stores a message with its audience and returns when both are on
	// stable storage. It is idempotent by a.ID, and by a.IdempotencyKey if that
	// is set: a repeat returns the receipt of the first message.
	//
	// Errors: CodeClientNotFound (the single recipient is unknown and
	// a.QueueUnknown is not set), CodeTooManyClients, CodeTooManyRecipients, CodeQueueFull (the
	// single recipient's queue has no room), CodeEventsFull, CodeIdempotencyMismatch, ErrUnavailable. In a message to
	// many, recipients that are unknown or full become Failed deliveries.
	Accept(ctx context.Context, a Acceptance) (Receipt, error)

	// StartAccept is Accept for a caller that does not wait. It calls done once,
	// maybe before it returns; done must not block, and one goroutine may call
	// several of them. The messages of one caller keep their order. StartAccept
	// waits while the log's queue is full.
	StartAccept(a Acceptance, done func(Receipt, error))

	// Recipients returns the audience that Accept would fix for a now. It stores nothing,
	// and it does not look for an earlier message with a's key. Errors: those of Accept
	// about the single recipient, CodeTooManyRecipients, ErrUnavailable.
	Recipients(a Acceptance) (Recipients, error)

	// Repeated returns the receipt that Accept would return if a.IdempotencyKey
	// is that of a message. ok is false if there is none or a has no key. It
	// stores nothing. Errors: CodeIdempotencyMismatch, ErrUnavailable.
	Repeated(a Acceptance) (r Receipt, ok bool, err error)

	// Settle proposes a final state. It returns when the proposal has a place in
	// the log's queue; the Observer receives it when it is durable. The first
	// final state in log order wins. A later proposal changes nothing, with one
	// exception: the first later AckOK or AckReject of the device (see
	// Outcome.Verdict) is kept with a final state that no device has given, and
	// so are its transmissions if that state has none. An outcome that Reports brings
	// these alone, without a word to the Observer; a store need not keep them for a
	// message to many.
	//
	// An urgent proposal, for which a caller waits, is written at once instead of
	// within 50 ms. All waiting proposals are written at once if the result has
	// more than MaxLazyResult bytes, if the client's share of MaxUndurable is
	// half used up, and when a client registers. Settle waits while the queue is
	// full. After ErrUnavailable the delivery is unchanged and will be sent
	// again.
	Settle(o Outcome, urgent bool) error
	// TrySettle is Settle without waiting. It returns false, and has done
	// nothing, if the queue is full or the store is not available.
	TrySettle(o Outcome, urgent bool) bool

	// ProposeExpiry proposes Expired for every delivery of the message that is
	// not final. at is the time by which the caller has judged: the store drops
	// the proposal unless the message was due then. Otherwise it is like an
	// urgent Settle.
	ProposeExpiry(id MessageID, at time.Time) error

	// Cancel makes every delivery of the message that is not final canceled,
	// durably, and returns the message as it then is.
	// Errors: CodeMessageNotFound, CodeAlreadyFinal, ErrUnavailable.
	Cancel(ctx context.Context, id MessageID, at time.Time) (Message, error)

	// Purge cancels the queued deliveries of client within span with reason ReasonPurged,
	// durably, and returns their number.
	Purge(ctx context.Context, client ClientID, span Span, at time.Time) (int, error)

	// Undurable returns an upper bound of the proposals by Settle for a client
	// that are not yet known to be durable, and of the bytes of their results. No
	// first transmission leaves for a client that has reached MaxUndurable, its
	// unanswered deliveries included, or MaxUndurableBytes: a device remembers a
	// limited number of verdicts, and a crash of the gateway must not lose more
	// than that.
	Undurable(client ClientID) (n, bytes int)

	// Register stores a client that has connected: it is created if new, the
	// registration's groups and reported labels replace the stored ones (nil keeps them),
	// labels stay, last seen is set, last close cleared and the epoch raised. This is one event, which is
	// refused or applied in log order. Register returns the record and the
	// highest sequence that the log may have given to a message at that point. If
	// a store has lost the end of its log, that is more than the highest one it
	// knows. The registration need not be durable when Register returns (the
	// client would register again), but it precedes every later Accept in the
	// log.
	//
	// Errors: CodeBlocked, CodeTooManyClients, CodeDiskFull (an unknown client), CodeEventsFull, CodeValidation (bounds):
	// nothing has changed.
	// ErrUnavailable: the client is unchanged or registered, nothing in between.
	Register(ctx context.Context, r Registration) (ClientRecord, Seq, error)

	// Disconnected stores that a session has ended, unless it is not the client's last
	// one. It does not wait. While the log has no room, or the disk fails, the store owes
	// the change; it is lost only with the process, which ends all its sessions.
	Disconnected(Disconnection)

	// UpdateClient changes labels, groups or the block of a known client,
	// durably. Errors: CodeClientNotFound, CodeEventsFull, CodeValidation (bounds),
	// ErrUnavailable.
	UpdateClient(ctx context.Context, client ClientID, c ClientChange) (ClientRecord, error)

	// CreateClient adds a client that has never registered, with the labels and
	// groups of c, durably. account is as Registration.Account. Errors: CodeClientExists,
	// CodeTooManyClients, CodeDiskFull, CodeEventsFull, CodeValidation (bounds), ErrUnavailable.
	CreateClient(ctx context.Context, client ClientID, at time.Time, account string, c ClientChange) (ClientRecord, error)

	// ForgetClient removes a client, durably: it ends its session, cancels everything
	// queued for it with reason ReasonClientForgotten and removes its record, in one
	// event. It returns how many deliveries were canceled. A later proposal or answer of
	// the session changes nothing, but an online call that is under way still gets its
	// outcome. The client becomes a new one when it registers again, with an epoch above
	// all that it had. Its uplinks stay for their time.
	// Errors: CodeClientNotFound, ErrUnavailable.
	ForgetClient(ctx context.Context, client ClientID, at time.Time) (int, error)

	// AppendUplink stores a payload from a device and returns its sequence
	// when it is on stable storage. Errors: CodeQueueFull (the uplinks of the client,
	// of its account or of all have used up their share), CodeEventsFull, ErrUnavailable.
	AppendUplink(ctx context.Context, u Uplink) (seq uint64, err error)

	// Next appends to buf the queued transmissions of a client with a sequence above
	// q.After, in rising order. It stops early only after q.Max transmissions, or once
	// they have q.MaxBytes of payload or more in all (the last one may pass the
	// mark). last is the highest sequence that was given before the state that
	// Next has read. A transmission past its time is among them until its final state
	// is durable. If it were left out, a later one might be sent before that, and
	// a device that is asked after a crash would take the earlier one for handled.
	Next(q TransmissionQuery, buf []Transmission) (transmissions []Transmission, last Seq, err error)

	// Transmission returns one queued transmission; ok is false if it is durably final or
	// unknown.
	Transmission(client ClientID, seq Seq) (p Transmission, ok bool, err error)

	// The reads below see every applied change, but final states only once they
	// are durable. Deliveries never show Sent, which only the gateway knows.

	Client(id ClientID) (ClientRecord, error) // CodeClientNotFound
	// Clients returns known clients in id order, rising or falling.
	Clients(q ClientQuery) (Page[ClientRecord, ClientID], error)
	Message(id MessageID) (Message, error) // CodeMessageNotFound
	// Messages returns messages, newest first or oldest first.
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
	// UplinksBefore returns stored uplinks with a sequence below before, newest first; 0 is
	// the end.
	UplinksBefore(client ClientID, before uint64, limit int) (Page[Uplink, uint64], error)
	// LastUplink returns the last sequence that an uplink was given, whether it is kept or
	// not; 0 for none.
	LastUplink() (uint64, error)

	// Events appends to buf up to limit events with a number above after, oldest first; fewer
	// if their results are large.
	// through is the number up to which it has read: the next call goes on behind it.
	// It is after if there are no more.
	Events(after uint64, limit int, buf []Event) (events []Event, through uint64, err error)
	// ClientEvents returns events of one client, newest first. An event about several
	// clients may have the number of another one of them.
	ClientEvents(q ClientEventQuery) (Page[Event, uint64], error)
	// EventSpan returns the number of the last event that was forgotten, and the last
	// number that was given: the events that are kept lie between. If none was forgotten,
	// the first is the number with which the log began, so that a lower one is of another
	// log, such as that of an earlier data directory.
	EventSpan() (forgotten, last uint64, err error)
	// EventsBefore returns the last number before the first event that was logged at a time
	// or later, by the clock of its record; at least the last forgotten one.
	EventsBefore(t time.Time) (uint64, error)
	// Note puts an event into the log that no change of the store makes. It is durable
	// when Note returns. Of the event, the type, client, message, state, reason,
	// attempts, result, detail and time are kept.
	Note(ctx context.Context, e Event) error

	// Put writes entries in one step, durably. The store does not interpret them.
	Put(ctx context.Context, entries []Entry) error
	// Entries returns entries in the order of their keys: those with a prefix and behind
	// after.
	Entries(prefix, after string, limit int) (Page[Entry, string], error)

	// Observe sets the observer. It is called once, before use.
	Observe(Observer)

	// Health returns nil when the store accepts writes, else the reason.
	Health() error
	Stats() StoreStats

	// Close makes all settled deliveries durable and releases the store.
	Close() error
}

// Entry is a value that the gateway keeps for itself in the store, such as a webhook.
type Entry struct {
	Key   string // 1 to MaxEntryKey bytes
	Value []byte // nil removes the entry
}

// Bounds of an entry, in bytes.
const (
	MaxEntryKey   = 512
	MaxEntryValue = 2 << 20 // a dead letter has a payload in JSON, with up to six bytes for one
)

// StoreStats is a snapshot for metrics.
type StoreStats struct {
	Engine      string // "pebble", "memory"
	Durable     bool   // a 202 survives the process
	Clients     int    // known
	Messages    int    // kept, final ones included
	Queued      int    // deliveries that are not final
	OldestAt    time.Time
	DiskBytes   int64
	DiskFree    int64  // bytes of the file system that the process may use
	DiskTotal   int64  // bytes of the file system; 0 = unknown
	UplinkBytes int64  // of stored uplinks
	Records     uint64 // group commits
	Events      uint64 // events in them
	AcceptNanos Histogram
	SyncNanos   Histogram
}

// Histogram is a snapshot of a duration histogram: Counts[i] observations were at
// most Bounds[i]; the last one has no bound.
type Histogram struct {
	Bounds []time.Duration
	Counts []uint64
	Sum    time.Duration
}
