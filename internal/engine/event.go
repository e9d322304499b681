package engine

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/longwire/longwire/gateway"
)

// event is one change that asks for a place in the log. Everything that the
// outside decides (ids, times, payloads) is in it; everything that the state
// decides is the result of applying it.
type event interface {
	kind() eventKind
	encode(b []byte) []byte
	// size is about what the event takes in a record, bytes.
	size() int
}

// eventKind is how an event is marked in a record. Numbers are never reused.
type eventKind uint8

const (
	evAccept eventKind = iota + 1
	evSettle
	evAckThrough // no longer written, and refused: a device's claim settles nothing
	evCancel
	evPurge
	evRegister
	evDisconnected
	evUpdate
	evUplink
	evExpire
	evForgetMessage
	evForgetKey
	evForgetUplinks
	evForgetClient
	evForgetOrdinal
	evProbe
)

type acceptEvent struct {
	gateway.Acceptance
	// mask narrows the audience to these ordinals; nil for no narrowing. It is
	// what Acceptance.Only said when it was asked, before the log.
	mask bitmap
	// Bounds of the recipients' queues.
	maxQueued      int
	maxQueuedBytes int64
	keyTTL         time.Duration // how long IdempotencyKey is remembered
}

// acceptEvents are used again by callers that were answered.
var acceptEvents = sync.Pool{New: func() any { return new(acceptEvent) }}

// newAcceptEvent returns an event with a copy of the payload. The copy outlives
// the call, because the feed hands it on, and because the caller may give up before
// the answer.
func newAcceptEvent(a gateway.Acceptance) *acceptEvent {
	ev := acceptEvents.Get().(*acceptEvent)
	ev.Acceptance = a
	ev.Payload = bytes.Clone(a.Payload)
	return ev
}

// free gives back an event that nobody looks at any more.
func (e *acceptEvent) free() {
	*e = acceptEvent{}
	acceptEvents.Put(e)
}

func (e *acceptEvent) kind() eventKind { return evAccept }

func (e *acceptEvent) size() int {
	n := 256 + len(e.Payload) + 64*len(e.Metadata) + 48*len(e.To.Clients) + len(e.mask)*(chunkBits/8+8)
	return n
}

func (e *acceptEvent) encode(b []byte) []byte {
	b = putTime(putTime(putID(b, e.ID), e.CreatedAt), e.ExpiresAt)
	b = putBool(append(b, byte(e.Encoding)), e.QueueUnknown)
	b = putStrings(putString(b, e.To.Client), e.To.Clients)
	b = putBool(putMap(putString(b, e.To.Group), e.To.Labels), e.To.All)
	b = putString(putString(b, e.Scope), e.IdempotencyKey)
	b = append(b, e.Fingerprint[:]...)
	b = putUint(putUint(putUint(b, uint64(e.maxQueued)), uint64(e.maxQueuedBytes)), uint64(e.keyTTL))
	b = putBool(b, e.mask != nil)
	if e.mask != nil {
		b = putUint(b, uint64(len(e.mask)))
		for _, c := range slices.Sorted(maps.Keys(e.mask)) {
			b = putBytes(putUint(b, uint64(c)), e.mask[c].encode())
		}
	}
	return putBytes(putMap(putString(b, e.Owner), e.Metadata), e.Payload)
}

func decodeAccept(d *decoder) *acceptEvent {
	e := new(acceptEvent)
	e.ID, e.CreatedAt, e.ExpiresAt = d.id(), d.time(), d.time()
	e.Encoding, e.QueueUnknown = gateway.Encoding(d.byte()), d.bool()
	e.To.Client, e.To.Clients = gateway.ClientID(d.string()), decodeStrings[gateway.ClientID](d)
	e.To.Group, e.To.Labels, e.To.All = d.string(), d.strmap(), d.bool()
	e.Scope, e.IdempotencyKey = d.string(), d.string()
	if n := copy(e.Fingerprint[:], d.b); n < len(e.Fingerprint) {
		d.fail()
	} else {
		d.b = d.b[n:]
	}
	e.maxQueued, e.maxQueuedBytes, e.keyTTL = d.int(), int64(d.uint()), time.Duration(d.uint())
	if d.bool() {
		e.mask = bitmap{}
		for range d.count(2) {
			c, set := uint32(d.uint()), new(bitset)
			if err := set.decode(d.bytes()); err != nil && d.err == nil {
				d.err = err
			}
			e.mask[c] = set
		}
	}
	e.Owner, e.Metadata, e.Payload = d.string(), d.strmap(), d.bytes()
	return e
}

type settleEvent struct{ gateway.Outcome }

// settleEvents holds the commonest event between records.
var settleEvents = sync.Pool{New: func() any { return new(settleEvent) }}

func newSettleEvent(o gateway.Outcome) *settleEvent {
	e := settleEvents.Get().(*settleEvent)
	e.Outcome = o
	e.Result = bytes.Clone(o.Result)
	return e
}

func (e *settleEvent) free() {
	*e = settleEvent{}
	settleEvents.Put(e)
}

func (e *settleEvent) kind() eventKind { return evSettle }
func (e *settleEvent) size() int       { return 32 + len(e.Client) + len(e.Reason) + len(e.Result) }

func (e *settleEvent) encode(b []byte) []byte {
	b = putUint(putUint(putString(putID(b, e.Message), e.Client), uint64(e.Ref)), uint64(e.Seq))
	b = putUint(putString(append(b, byte(e.State)), e.Reason), uint64(e.Attempts))
	return putBytes(putTime(putTime(b, e.SentAt), e.At), e.Result)
}

func decodeSettle(d *decoder) *settleEvent {
	e := new(settleEvent)
	e.Message, e.Client, e.Ref, e.Seq = d.id(), gateway.ClientID(d.string()), uint32(d.uint()), gateway.Seq(d.uint())
	e.State, e.Reason, e.Attempts = gateway.State(d.byte()), d.string(), d.int()
	e.SentAt, e.At, e.Result = d.time(), d.time(), d.bytes()
	return e
}

type cancelEvent struct {
	id gateway.MessageID
	at time.Time
}

func (e *cancelEvent) kind() eventKind        { return evCancel }
func (e *cancelEvent) size() int              { return 64 }
func (e *cancelEvent) encode(b []byte) []byte { return putTime(putID(b, e.id), e.at) }

type purgeEvent struct {
	client gateway.ClientID
	at     time.Time
}

func (e *purgeEvent) kind() eventKind        { return evPurge }
func (e *purgeEvent) size() int              { return 64 }
func (e *purgeEvent) encode(b []byte) []byte { return putTime(putString(b, e.client), e.at) }

type registerEvent struct{ gateway.Registration }

func (e *registerEvent) kind() eventKind { return evRegister }
func (e *registerEvent) size() int       { return 96 + 64*len(e.Labels) + 32*(len(e.Groups)+len(e.Guarded)) }

func (e *registerEvent) encode(b []byte) []byte {
	b = putMap(putBool(putString(b, e.Client), e.Labels != nil), e.Labels)
	b = putTime(putStrings(putBool(b, e.Groups != nil), e.Groups), e.At)
	return putStrings(b, slices.Sorted(maps.Keys(e.Guarded)))
}

func decodeRegister(d *decoder) *registerEvent {
	e := new(registerEvent)
	e.Client = gateway.ClientID(d.string())
	some := d.bool()
	if e.Labels = d.strmap(); some && e.Labels == nil {
		e.Labels = map[string]string{}
	}
	some = d.bool()
	if e.Groups = decodeStrings[string](d); some && e.Groups == nil {
		e.Groups = []string{}
	}
	e.At = d.time()
	if len(d.b) == 0 {
		return e // of a version that did not know guarded groups here
	}
	if guarded := decodeStrings[string](d); guarded != nil {
		e.Guarded = make(map[string]bool, len(guarded))
		for _, name := range guarded {
			e.Guarded[name] = true
		}
	}
	return e
}

type disconnectedEvent struct {
	client gateway.ClientID
	at     time.Time
	reason string
}

func (e *disconnectedEvent) kind() eventKind { return evDisconnected }
func (e *disconnectedEvent) size() int       { return 64 + len(e.reason) }
func (e *disconnectedEvent) encode(b []byte) []byte {
	return putString(putTime(putString(b, e.client), e.at), e.reason)
}

type updateEvent struct {
	client gateway.ClientID
	change gateway.ClientChange
}

func (e *updateEvent) kind() eventKind { return evUpdate }
func (e *updateEvent) size() int       { return 96 + 64*len(e.change.Labels) }

func (e *updateEvent) encode(b []byte) []byte {
	b = putUint(putString(b, e.client), uint64(len(e.change.Labels)))
	for _, k := range slices.Sorted(maps.Keys(e.change.Labels)) {
		v := e.change.Labels[k]
		if b = putBool(putString(b, k), v != nil); v != nil {
			b = putString(b, *v)
		}
	}
	if b = putBool(b, e.change.Groups != nil); e.change.Groups != nil {
		b = putStrings(b, *e.change.Groups)
	}
	if b = putBool(b, e.change.BlockedUntil != nil); e.change.BlockedUntil != nil {
		b = putTime(b, *e.change.BlockedUntil)
	}
	return b
}

func decodeUpdate(d *decoder) *updateEvent {
	e := &updateEvent{client: gateway.ClientID(d.string())}
	if n := d.count(2); n > 0 {
		e.change.Labels = make(map[string]*string, n)
		for range n {
			k := d.string()
			if e.change.Labels[k] = nil; d.bool() {
				v := d.string()
				e.change.Labels[k] = &v
			}
		}
	}
	if d.bool() {
		g := decodeStrings[string](d)
		e.change.Groups = &g
	}
	if d.bool() {
		t := d.time()
		e.change.BlockedUntil = &t
	}
	return e
}

type uplinkEvent struct{ gateway.Uplink }

func (e *uplinkEvent) kind() eventKind { return evUplink }
func (e *uplinkEvent) size() int       { return 128 + len(e.Payload) }
func (e *uplinkEvent) encode(b []byte) []byte {
	b = putUint(putString(putString(b, e.Client), e.Session), e.Number)
	return putBytes(putTime(b, e.At), e.Payload)
}

// expireEvent makes what is left of a message expired, if it is due at at.
type expireEvent struct {
	id gateway.MessageID
	at time.Time
}

func (e *expireEvent) kind() eventKind        { return evExpire }
func (e *expireEvent) size() int              { return 64 }
func (e *expireEvent) encode(b []byte) []byte { return putTime(putID(b, e.id), e.at) }

// forgetMessageEvent removes a message that was completed at or before through.
type forgetMessageEvent struct {
	id      gateway.MessageID
	through time.Time
}

func (e *forgetMessageEvent) kind() eventKind        { return evForgetMessage }
func (e *forgetMessageEvent) size() int              { return 64 }
func (e *forgetMessageEvent) encode(b []byte) []byte { return putTime(putID(b, e.id), e.through) }

// forgetKeyEvent removes an idempotency key that was given at at.
type forgetKeyEvent struct {
	scoped []byte
	at     time.Time
}

func (e *forgetKeyEvent) kind() eventKind        { return evForgetKey }
func (e *forgetKeyEvent) size() int              { return 32 + len(e.scoped) }
func (e *forgetKeyEvent) encode(b []byte) []byte { return putTime(putBytes(b, e.scoped), e.at) }

// forgetUplinksEvent removes the uplinks with a sequence up to through.
type forgetUplinksEvent struct {
	through uint64
	max     int // at most so many by one event
}

func (e *forgetUplinksEvent) kind() eventKind { return evForgetUplinks }
func (e *forgetUplinksEvent) size() int       { return 32 }
func (e *forgetUplinksEvent) encode(b []byte) []byte {
	return putUint(putUint(b, e.through), uint64(e.max))
}

// forgetClientEvent removes a client with nothing queued that was not seen
// since before.
type forgetClientEvent struct {
	client gateway.ClientID
	before time.Time
	at     time.Time
}

func (e *forgetClientEvent) kind() eventKind { return evForgetClient }
func (e *forgetClientEvent) size() int       { return 64 }
func (e *forgetClientEvent) encode(b []byte) []byte {
	return putTime(putTime(putString(b, e.client), e.before), e.at)
}

// forgetOrdinalEvent removes the name of a client that was forgotten at at:
// no message refers to it any more.
type forgetOrdinalEvent struct {
	ord ordinal
	at  time.Time
}

func (e *forgetOrdinalEvent) kind() eventKind        { return evForgetOrdinal }
func (e *forgetOrdinalEvent) size() int              { return 32 }
func (e *forgetOrdinalEvent) encode(b []byte) []byte { return putTime(putUint(b, uint64(e.ord)), e.at) }

// probeEvent changes nothing: it shows that the log takes writes.
type probeEvent struct{}

func (e *probeEvent) kind() eventKind        { return evProbe }
func (e *probeEvent) size() int              { return 16 }
func (e *probeEvent) encode(b []byte) []byte { return b }

// errAckThrough refuses a journal with such an event. Only journals of the tests
// keep events: the store's own journal keeps the rows that they change.
var errAckThrough = errors.New("the event acks all that is queued for a client up to a sequence, which this version " +
	"does not do: start once with the version that wrote the journal, so that it is applied")

// decodeEvent reads one event. Byte slices of the result are parts of body.
func decodeEvent(k eventKind, body []byte) (event, error) {
	d := &decoder{b: body}
	var e event
	switch k {
	case evAccept:
		e = decodeAccept(d)
	case evSettle:
		e = decodeSettle(d)
	case evAckThrough:
		return nil, errAckThrough
	case evCancel:
		e = &cancelEvent{d.id(), d.time()}
	case evPurge:
		e = &purgeEvent{gateway.ClientID(d.string()), d.time()}
	case evRegister:
		e = decodeRegister(d)
	case evDisconnected:
		e = &disconnectedEvent{gateway.ClientID(d.string()), d.time(), d.string()}
	case evUpdate:
		e = decodeUpdate(d)
	case evUplink:
		u := new(uplinkEvent)
		u.Client, u.Session, u.Number = gateway.ClientID(d.string()), gateway.SessionID(d.string()), d.uint()
		u.At, u.Payload = d.time(), d.bytes()
		e = u
	case evExpire:
		e = &expireEvent{d.id(), d.time()}
	case evForgetMessage:
		e = &forgetMessageEvent{d.id(), d.time()}
	case evForgetKey:
		e = &forgetKeyEvent{d.bytes(), d.time()}
	case evForgetUplinks:
		e = &forgetUplinksEvent{d.uint(), d.int()}
	case evForgetClient:
		e = &forgetClientEvent{gateway.ClientID(d.string()), d.time(), d.time()}
	case evForgetOrdinal:
		e = &forgetOrdinalEvent{ordinal(d.uint()), d.time()}
	case evProbe:
		e = &probeEvent{}
	default:
		return nil, fmt.Errorf("event of unknown kind %d", k)
	}
	if err := d.end(); err != nil {
		return nil, fmt.Errorf("event of kind %d: %w", k, err)
	}
	return e, nil
}
