package gateway

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
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
	// Outcome.Verdict) is kept with a final state that no device has given.
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

	// Purge cancels everything queued for client with reason ReasonPurged,
	// durably, and returns how many deliveries that were.
	Purge(ctx context.Context, client ClientID, at time.Time) (int, error)
	// PurgeThrough is Purge for the deliveries up to a sequence; 0 = all.
	PurgeThrough(ctx context.Context, client ClientID, through Seq, at time.Time) (int, error)

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
	// Errors: CodeBlocked, CodeTooManyClients, CodeEventsFull, CodeValidation (bounds):
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
	// CodeTooManyClients, CodeEventsFull, CodeValidation (bounds), ErrUnavailable.
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

	// Events appends to buf up to limit events with a number above after, oldest first.
	// through is the number up to which it has read: the next call goes on behind it.
	// It is after if there are no more.
	Events(after uint64, limit int, buf []Event) (events []Event, through uint64, err error)
	// ClientEvents returns events of one client, newest first. An event about several
	// clients may have the number of another one of them.
	ClientEvents(q ClientEventQuery) (Page[Event, uint64], error)
	// EventSpan returns the number of the last event that was forgotten, and the last
	// number that was given: the events that are kept lie between.
	EventSpan() (forgotten, last uint64, err error)
	// EventsBefore returns the number of the last event that was logged before a time,
	// by the clock of its record; at least the last forgotten one.
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

// Acceptance is a message to be stored.
type Acceptance struct {
	ID        MessageID
	To        Audience
	Payload   []byte // the caller does not keep it after the call
	Encoding  Encoding
	Metadata  map[string]string
	Owner     string // Message.Owner
	CreatedAt time.Time
	ExpiresAt time.Time

	// Online stores a message to one client that the caller is about to send with
	// mode=online. Its delivery is not queued: it is Unknown with
	// ReasonGatewayRestart until its outcome is settled.
	Online bool

	// QueueUnknown stores deliveries for clients that were never seen. They
	// become known clients without a last seen.
	QueueUnknown bool
	// Among, if set, narrows a group, label or all audience to the clients that
	// it yields, each once and in any order, with their ClientRecord.Ref or 0.
	Among iter.Seq2[ClientID, uint32]
	// Only, if set, narrows such an audience further. It is called at acceptance,
	// once for each member (of Among if that is set). Both must be quick.
	Only func(ClientID) bool

	// MaxRecipients refuses the message if its audience, as the log fixes it, has more
	// clients; 0 = no bound.
	MaxRecipients int

	// Rate is passed on with AcceptedMany and not stored.
	Rate int

	// Account is the key or tenant that clients are counted for that QueueUnknown makes
	// known; see TooManyClients.
	Account string

	// IdempotencyKey is "" for none. Scope is the principal that the key belongs
	// to, Fingerprint a hash of the request that a repeat must match. They are
	// remembered for 24 h.
	IdempotencyKey string
	Scope          string
	Fingerprint    [32]byte
}

// Audience selects the recipients of a message. Exactly one of the fields is set.
type Audience struct {
	Client  ClientID
	Clients []ClientID        // 1 to 1,000, duplicates count once
	Group   string            // every member at acceptance
	Labels  map[string]string // every client that has all of them at acceptance
	All     bool              // every known client
}

// Receipt is the result of an acceptance.
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
	State    State // Acked, Rejected, Failed or, of an online delivery, Unknown
	Reason   string
	Attempts int
	SentAt   time.Time
	At       time.Time
	Result   []byte
}

// Verdict returns the code of the device's answer that led to the outcome; ok is
// false if the gateway decided it.
func (o *Outcome) Verdict() (code AckCode, ok bool) { return verdict(o.State, o.Reason) }

// Verdict returns the code of the device's answer that led to the final state; ok
// is false if no device has given it.
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

// Resolves reports whether the outcome takes the place of d's state, which is Unknown:
// the first outcome of the call does, and a later answer of the device. If the client was
// forgotten since, only the first does; see Delivery.Restarted.
func (o *Outcome) Resolves(d *Delivery) bool {
	_, answer := o.Verdict()
	return d.State == Unknown && (answer || d.Restarted())
}

// LateFor reports whether the outcome is kept as a late ack with d: it is a
// device's answer, and d's final state is not.
func (o *Outcome) LateFor(d *Delivery) bool {
	code, ok := o.Verdict()
	_, answered := d.Verdict()
	return ok && code != AckNotKept && d.State.Final() && !answered && d.LateAckAt.IsZero()
}

// Entry is a value that the gateway keeps for itself in the store, such as a webhook.
type Entry struct {
	Key   string // 1 to MaxEntryKey bytes
	Value []byte // nil removes the entry
}

// Bounds of an entry, in bytes.
const (
	MaxEntryKey   = 512
	MaxEntryValue = 256 << 10
)

// Registration is a client that has connected. Nil Reported or Groups keep the
// stored ones.
type Registration struct {
	Client   ClientID
	Reported map[string]string // labels that the device sends; audiences ignore them
	Groups   []string
	// Guarded are groups that a registration neither enters nor leaves.
	Guarded map[string]bool
	Account string // the tenant that the client belongs to, "" for none; see AccountAfter, TooManyClients
	At      time.Time
	// Session, Dialect and Remote are of the connection, for its event.
	Session SessionID
	Dialect string
	Remote  string // address and port
}

// Disconnection is the end of a session.
type Disconnection struct {
	Client  ClientID
	Epoch   uint64 // ClientRecord.Epoch of the session's registration
	Session SessionID
	At      time.Time // when the client was last seen
	Reason  string
}

// Refusal returns why a client that is blocked until then may not register, nil
// if it may.
func (r *Registration) Refusal(blockedUntil time.Time) error {
	if wait := blockedUntil.Sub(r.At); wait > 0 {
		return &Error{Code: CodeBlocked, Message: "the client is blocked", RetryAfter: wait}
	}
	return nil
}

// TooManyClients returns the refusal of one more client, nil if there is room. The store
// knows so many clients, own of them are the account's, and most is the bound; 0 = no
// bound. An account may not have more clients than there are free places, so that it
// leaves room for others. The account "" is the operator's and may fill all places.
func TooManyClients(account string, own, clients, most int64) error {
	if free := most - clients; most == 0 || free > 0 && (account == "" || own < free) {
		return nil
	}
	message := fmt.Sprintf("%d clients are known, and there may be %d", clients, most)
	if clients < most {
		message = "the key or tenant has made as many clients known as are free for all"
	}
	return &Error{Code: CodeTooManyClients, Limit: most, Message: message, RetryAfter: time.Minute}
}

// UplinksFull returns the refusal of an uplink of size bytes, nil if there is room. The
// stored uplinks have used bytes, own of them are the client's or its account's, and most
// is the bound; 0 = no bound. A client may not have more bytes than are free, so that
// others find room.
func UplinksFull(own, used, size, most int64) error {
	if most == 0 || own+size <= most-used {
		return nil
	}
	return &Error{Code: CodeQueueFull, Limit: most, RetryAfter: time.Minute,
		Message: "the uplinks of the client or its tenant have used up their share of the disk; the oldest go when their time is over"}
}

// The beginnings of the account of a tenant, whose clients are the members of a group, or
// those whose id has a prefix. The name of the group or the prefix follows.
const (
	GroupAccount  = "group:"
	PrefixAccount = "prefix:"
)

// IsTenant reports whether an account is that of a tenant. Others are of keys without a
// limit, and "" is the operator's.
func IsTenant(account string) bool {
	return strings.HasPrefix(account, GroupAccount) || strings.HasPrefix(account, PrefixAccount)
}

// EventsFull returns the refusal of an event whose owner has used up its share of bytes of
// this hour's part of the event log, which has rest left.
func EventsFull(share int64, rest time.Duration) error {
	return &Error{Code: CodeEventsFull, Limit: share, RetryAfter: rest,
		Message: "the client or its tenant has used up its share of the event log in this hour; nothing was stored"}
}

// AccountAfter returns the tenant that a client is counted for which was counted for the
// tenant was, "" for none, after a change that has put it into groups, and that says that
// it belongs to the tenant now, "" for none known. A client leaves a tenant for another
// one, or with the tenant's group; so it stays the tenant's while keys are replaced.
func AccountAfter(was, now string, groups []string) string {
	if name, ok := strings.CutPrefix(was, GroupAccount); now != "" || ok && !slices.Contains(groups, name) {
		return now
	}
	return was
}

// IDInUse returns the refusal of a registration whose id is connected elsewhere, under
// Config.RejectTwins.
func IDInUse() error {
	return &Error{Code: CodeIDInUse, Message: "a client with this id is connected", RetryAfter: 10 * time.Second}
}

// GroupsOf returns the sorted groups of a client that was in known before it
// registers. If they exceed limit, guarded groups have precedence.
func (r *Registration) GroupsOf(known []string, limit int) []string {
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
		if !r.Guarded[name] && !slices.Contains(groups, name) && len(groups) < limit {
			groups = append(groups, name)
		}
	}
	slices.Sort(groups)
	return groups
}

// ClientChange changes a client record; nil fields leave theirs unchanged.
type ClientChange struct {
	Labels       map[string]*string // merge: nil value removes the label
	Groups       *[]string          // replaces
	BlockedUntil *time.Time
	Account      string // with Groups, of a known client: as Registration.Account; set by the gateway
	Owner        string // of the limited key that asks, as Acceptance.Owner; "" for others
}

// Page is one page of a list. More is set when rows may follow. The next page
// starts after Next, which need not be the key of the last item: a page may hold
// fewer rows than asked for when a filter passed over many.
type Page[T any, K any] struct {
	Items []T
	Next  K
	More  bool
}

// ClientEventQuery selects events of one client. The log has no index by client, so that a
// page also ends when the store has looked at many events.
type ClientEventQuery struct {
	Client ClientID
	Before uint64 // below this number, such as Next of the page before; 0 = from the end of the log
	After  uint64 // above this number
	Limit  int    // events of the page
	Scan   int    // events of any client that the store looks at, in all about so many
}

// TransmissionQuery selects queued transmissions of one client.
type TransmissionQuery struct {
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
	// QueuedBefore selects clients whose oldest queued delivery was accepted earlier;
	// zero = any.
	QueuedBefore time.Time
	Descending   bool     // the highest id first
	From         ClientID // the first id in the order that may be in the page, known or not; "" = no bound
	After        ClientID // the page starts behind it in the order
	Limit        int
}

// MessageQuery selects messages, newest first unless Ascending is set.
type MessageQuery struct {
	// State is 0 for any. Queued selects messages that are not completed; a
	// final state selects completed messages with at least one such delivery.
	State  State
	Since  time.Time // created at or after; zero = any
	Before MessageID // "" = from the newest
	// Ascending lists the oldest first, from behind After; "" = from the oldest.
	Ascending bool
	After     MessageID
	Limit     int
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
	Pending bool  // all that are not final; replaces State
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
