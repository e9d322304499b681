package record

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

// Event is one change that asks for a place in the log. Everything that the
// outside decides (ids, times, payloads) is in it; everything that the state
// decides is the result of applying it.
type Event interface {
	Kind() Kind
	encode(b []byte) []byte
	// Size is about the length of the event in a record, bytes.
	Size() int
}

// Kind is how an event is marked in a record. Numbers are never reused.
type Kind uint8

const (
	KindAccept Kind = iota + 1
	KindSettle
	KindAckThrough // no longer written, and refused: a device's claim settles nothing
	KindCancel
	KindPurge
	KindRegister
	KindDisconnected
	KindUpdate
	KindUplink
	KindExpire
	KindForgetMessage
	KindForgetKey
	KindForgetUplinks
	KindForgetClient
	KindForgetOrdinal
	KindProbe
	KindOpened
	KindBounded
	KindForgetEvents
	KindNote
	KindPut
	KindRemoveClient
)

// Accept stores a message with its audience.
type Accept struct {
	gateway.Acceptance
	// Mask narrows the audience to these ordinals; nil for no narrowing. It is
	// what Acceptance.Only said when it was asked, before the log.
	Mask Bitmap
}

// accepts are used again by callers that were answered.
var accepts = sync.Pool{New: func() any { return new(Accept) }}

// NewAccept returns an event with a copy of the payload. The copy outlives
// the call, because the feed hands it on, and because the caller may give up before
// the answer.
func NewAccept(a gateway.Acceptance) *Accept {
	ev := accepts.Get().(*Accept)
	ev.Acceptance = a
	ev.Payload = bytes.Clone(a.Payload)
	return ev
}

// Free gives back an event that no goroutine uses any more.
func (e *Accept) Free() {
	*e = Accept{}
	accepts.Put(e)
}

func (e *Accept) Kind() Kind { return KindAccept }

func (e *Accept) Size() int {
	return 256 + len(e.Payload) + 64*len(e.Metadata) + 48*len(e.To.Clients) + len(e.Mask)*(ChunkBits/8+8)
}

func (e *Accept) encode(b []byte) []byte {
	b = PutTime(PutTime(PutID(b, e.ID), e.CreatedAt), e.ExpiresAt)
	b = PutUint(PutBool(append(b, byte(e.Encoding)), e.QueueUnknown), uint64(e.Rate))
	b = PutStrings(PutString(b, e.To.Client), e.To.Clients)
	b = PutBool(PutMap(PutString(b, e.To.Group), e.To.Labels), e.To.All)
	b = PutBool(PutString(PutString(b, e.Scope), e.IdempotencyKey), e.Online)
	b = append(b, e.Fingerprint[:]...)
	b = PutBool(b, e.Mask != nil)
	if e.Mask != nil {
		b = PutBitmap(b, e.Mask)
	}
	b = PutBytes(PutMap(PutString(PutString(b, e.Owner), e.Account), e.Metadata), e.Payload)
	if e.MaxRecipients > 0 { // an event without a bound is as before it existed
		b = PutUint(b, uint64(e.MaxRecipients))
	}
	return b
}

func decodeAccept(d *Decoder) *Accept {
	e := new(Accept)
	e.ID, e.CreatedAt, e.ExpiresAt = d.ID(), d.Time(), d.Time()
	e.Encoding, e.QueueUnknown, e.Rate = gateway.Encoding(d.Byte()), d.Bool(), d.Int()
	e.To.Client, e.To.Clients = gateway.ClientID(d.Text()), DecodeStrings[gateway.ClientID](d)
	e.To.Group, e.To.Labels, e.To.All = d.Text(), d.Map(), d.Bool()
	e.Scope, e.IdempotencyKey, e.Online = d.Text(), d.Text(), d.Bool()
	d.Copy(e.Fingerprint[:])
	if d.Bool() {
		if e.Mask = d.Bitmap(); e.Mask == nil {
			e.Mask = Bitmap{}
		}
	}
	e.Owner, e.Account, e.Metadata, e.Payload = d.Text(), d.Text(), d.Map(), d.Bytes()
	if len(d.Rest) > 0 && d.Err == nil {
		e.MaxRecipients = d.Int()
	}
	return e
}

// Settle proposes a final state for a delivery.
type Settle struct{ gateway.Outcome }

// settles holds the commonest event between records.
var settles = sync.Pool{New: func() any { return new(Settle) }}

// NewSettle returns an event with a copy of the result.
func NewSettle(o gateway.Outcome) *Settle {
	e := settles.Get().(*Settle)
	e.Outcome = o
	e.Result = bytes.Clone(o.Result)
	return e
}

// Free gives back an event whose record is over.
func (e *Settle) Free() {
	*e = Settle{}
	settles.Put(e)
}

func (e *Settle) Kind() Kind { return KindSettle }
func (e *Settle) Size() int  { return 32 + len(e.Client) + len(e.Reason) + len(e.Result) }

func (e *Settle) encode(b []byte) []byte {
	b = PutUint(PutUint(PutString(PutID(b, e.Message), e.Client), uint64(e.Ref)), uint64(e.Seq))
	b = PutUint(PutString(append(b, byte(e.State)), e.Reason), uint64(e.Attempts))
	return PutBytes(PutTime(PutTime(b, e.SentAt), e.At), e.Result)
}

func decodeSettle(d *Decoder) *Settle {
	e := new(Settle)
	e.Message, e.Client, e.Ref, e.Seq = d.ID(), gateway.ClientID(d.Text()), uint32(d.Uint()), gateway.Seq(d.Uint())
	e.State, e.Reason, e.Attempts = gateway.State(d.Byte()), d.Text(), d.Int()
	e.SentAt, e.At, e.Result = d.Time(), d.Time(), d.Bytes()
	return e
}

// Cancel makes the deliveries of a message canceled that are not final.
type Cancel struct {
	ID gateway.MessageID
	At time.Time
}

func (e *Cancel) Kind() Kind             { return KindCancel }
func (e *Cancel) Size() int              { return 64 }
func (e *Cancel) encode(b []byte) []byte { return PutTime(PutID(b, e.ID), e.At) }

// Purge cancels the deliveries that are queued for a client within Span.
type Purge struct {
	Client gateway.ClientID
	At     time.Time
	Span   gateway.Span
}

func (e *Purge) Kind() Kind { return KindPurge }
func (e *Purge) Size() int  { return 64 }
func (e *Purge) encode(b []byte) []byte {
	return PutUint(PutUint(PutTime(PutString(b, e.Client), e.At), uint64(e.Span.After)), uint64(e.Span.Through))
}

// Register remembers a client that connects, unless a rule refuses it.
type Register struct{ gateway.Registration }

func (e *Register) Kind() Kind { return KindRegister }
func (e *Register) Size() int  { return 96 + 64*len(e.Reported) + 32*(len(e.Groups)+len(e.Guarded)) }

func (e *Register) encode(b []byte) []byte {
	b = PutMap(PutBool(PutString(b, e.Client), e.Reported != nil), e.Reported)
	b = PutTime(PutStrings(PutBool(b, e.Groups != nil), e.Groups), e.At)
	b = PutString(PutStrings(b, slices.Sorted(maps.Keys(e.Guarded))), e.Account)
	return PutString(PutString(PutString(b, e.Session), e.Dialect), e.Remote)
}

func decodeRegister(d *Decoder) *Register {
	e := new(Register)
	e.Client = gateway.ClientID(d.Text())
	some := d.Bool()
	if e.Reported = d.Map(); some && e.Reported == nil {
		e.Reported = map[string]string{}
	}
	some = d.Bool()
	if e.Groups = DecodeStrings[string](d); some && e.Groups == nil {
		e.Groups = []string{}
	}
	e.At = d.Time()
	if guarded := DecodeStrings[string](d); guarded != nil {
		e.Guarded = make(map[string]bool, len(guarded))
		for _, name := range guarded {
			e.Guarded[name] = true
		}
	}
	e.Account = d.Text()
	e.Session, e.Dialect, e.Remote = gateway.SessionID(d.Text()), d.Text(), d.Text()
	return e
}

// Disconnected ends the session that began with the registration of the number Epoch.
// It counts if the client has not registered since.
type Disconnected struct{ gateway.Disconnection }

func (e *Disconnected) Kind() Kind { return KindDisconnected }
func (e *Disconnected) Size() int  { return 128 + len(e.Reason) }
func (e *Disconnected) encode(b []byte) []byte {
	b = PutTime(PutUint(PutString(b, e.Client), e.Epoch), e.At)
	return PutString(PutString(b, e.Reason), e.Session)
}

func decodeDisconnected(d *Decoder) *Disconnected {
	e := new(Disconnected)
	e.Client, e.Epoch, e.At = gateway.ClientID(d.Text()), d.Uint(), d.Time()
	e.Reason, e.Session = d.Text(), gateway.SessionID(d.Text())
	return e
}

// Update changes labels, groups or the block of a client, or creates it.
type Update struct {
	Client  gateway.ClientID
	Change  gateway.ClientChange
	Created time.Time // of a client that is created; zero for a known one
	// Account is the tenant that the client belongs to if it is created, or if its groups
	// change; "" = none.
	Account string
}

func (e *Update) Kind() Kind { return KindUpdate }
func (e *Update) Size() int  { return 96 + 64*len(e.Change.Labels) }

func (e *Update) encode(b []byte) []byte {
	b = PutUint(PutString(b, e.Client), uint64(len(e.Change.Labels)))
	for _, k := range slices.Sorted(maps.Keys(e.Change.Labels)) {
		v := e.Change.Labels[k]
		if b = PutBool(PutString(b, k), v != nil); v != nil {
			b = PutString(b, *v)
		}
	}
	if b = PutBool(b, e.Change.Groups != nil); e.Change.Groups != nil {
		b = PutStrings(b, *e.Change.Groups)
	}
	if b = PutBool(b, e.Change.BlockedUntil != nil); e.Change.BlockedUntil != nil {
		b = PutTime(b, *e.Change.BlockedUntil)
	}
	return PutString(PutString(PutTime(b, e.Created), e.Account), e.Change.Owner)
}

func decodeUpdate(d *Decoder) *Update {
	e := &Update{Client: gateway.ClientID(d.Text())}
	if n := d.Count(2); n > 0 {
		e.Change.Labels = make(map[string]*string, n)
		for range n {
			k := d.Text()
			if e.Change.Labels[k] = nil; d.Bool() {
				v := d.Text()
				e.Change.Labels[k] = &v
			}
		}
	}
	if d.Bool() {
		g := DecodeStrings[string](d)
		e.Change.Groups = &g
	}
	if d.Bool() {
		t := d.Time()
		e.Change.BlockedUntil = &t
	}
	e.Created, e.Account, e.Change.Owner = d.Time(), d.Text(), d.Text()
	return e
}

// Uplink stores a payload from a device.
type Uplink struct{ gateway.Uplink }

func (e *Uplink) Kind() Kind { return KindUplink }
func (e *Uplink) Size() int  { return 128 + len(e.Payload) }
func (e *Uplink) encode(b []byte) []byte {
	b = PutUint(PutString(PutString(b, e.Client), e.Session), e.Number)
	return PutBytes(PutTime(b, e.At), e.Payload)
}

// Expire makes the open deliveries of a message expired, if it is due at At.
type Expire struct {
	ID gateway.MessageID
	At time.Time
}

func (e *Expire) Kind() Kind             { return KindExpire }
func (e *Expire) Size() int              { return 64 }
func (e *Expire) encode(b []byte) []byte { return PutTime(PutID(b, e.ID), e.At) }

// ForgetMessage removes a message that was completed at or before through.
type ForgetMessage struct {
	ID      gateway.MessageID
	Through time.Time
}

func (e *ForgetMessage) Kind() Kind             { return KindForgetMessage }
func (e *ForgetMessage) Size() int              { return 64 }
func (e *ForgetMessage) encode(b []byte) []byte { return PutTime(PutID(b, e.ID), e.Through) }

// ForgetKey removes an idempotency key that was given at at.
type ForgetKey struct {
	Scoped []byte
	At     time.Time
}

func (e *ForgetKey) Kind() Kind             { return KindForgetKey }
func (e *ForgetKey) Size() int              { return 32 + len(e.Scoped) }
func (e *ForgetKey) encode(b []byte) []byte { return PutTime(PutBytes(b, e.Scoped), e.At) }

// ForgetUplinks removes the uplinks with a sequence up to through.
type ForgetUplinks struct {
	Through uint64
	Max     int // at most so many by one event
}

func (e *ForgetUplinks) Kind() Kind { return KindForgetUplinks }
func (e *ForgetUplinks) Size() int  { return 32 }
func (e *ForgetUplinks) encode(b []byte) []byte {
	return PutUint(PutUint(b, e.Through), uint64(e.Max))
}

// ForgetClient removes a client with nothing queued that was not seen
// since before.
type ForgetClient struct {
	Client gateway.ClientID
	Before time.Time
	At     time.Time
}

func (e *ForgetClient) Kind() Kind { return KindForgetClient }
func (e *ForgetClient) Size() int  { return 64 }
func (e *ForgetClient) encode(b []byte) []byte {
	return PutTime(PutTime(PutString(b, e.Client), e.Before), e.At)
}

// RemoveClient removes a client that an operator wants to be forgotten: it ends the
// client's session and cancels all that is queued for it.
type RemoveClient struct {
	Client gateway.ClientID
	At     time.Time
}

func (e *RemoveClient) Kind() Kind             { return KindRemoveClient }
func (e *RemoveClient) Size() int              { return 64 }
func (e *RemoveClient) encode(b []byte) []byte { return PutTime(PutString(b, e.Client), e.At) }

// ForgetOrdinal removes the name of a client that was forgotten at at:
// no message refers to it any more.
type ForgetOrdinal struct {
	Ord Ordinal
	At  time.Time
}

func (e *ForgetOrdinal) Kind() Kind             { return KindForgetOrdinal }
func (e *ForgetOrdinal) Size() int              { return 32 }
func (e *ForgetOrdinal) encode(b []byte) []byte { return PutTime(PutUint(b, uint64(e.Ord)), e.At) }

// Probe changes nothing: it shows that the log takes writes.
type Probe struct{}

func (e *Probe) Kind() Kind             { return KindProbe }
func (e *Probe) Size() int              { return 16 }
func (e *Probe) encode(b []byte) []byte { return b }

// errAckThrough refuses a journal with such an event. Only journals of the tests
// keep events: the store's own journal keeps the rows that they change.
var errAckThrough = errors.New("the event acks all that is queued for a client up to a sequence, which this version " +
	"does not do: start once with the version that wrote the journal, so that it is applied")

// decodeEvent reads one event. Byte slices of the result are parts of body.
func decodeEvent(k Kind, body []byte) (Event, error) {
	d := &Decoder{Rest: body}
	var e Event
	switch k {
	case KindAccept:
		e = decodeAccept(d)
	case KindSettle:
		e = decodeSettle(d)
	case KindAckThrough:
		return nil, errAckThrough
	case KindCancel:
		e = &Cancel{d.ID(), d.Time()}
	case KindPurge:
		e = &Purge{gateway.ClientID(d.Text()), d.Time(), gateway.Span{After: gateway.Seq(d.Uint()), Through: gateway.Seq(d.Uint())}}
	case KindRegister:
		e = decodeRegister(d)
	case KindDisconnected:
		e = decodeDisconnected(d)
	case KindUpdate:
		e = decodeUpdate(d)
	case KindUplink:
		u := new(Uplink)
		u.Client, u.Session, u.Number = gateway.ClientID(d.Text()), gateway.SessionID(d.Text()), d.Uint()
		u.At, u.Payload = d.Time(), d.Bytes()
		e = u
	case KindExpire:
		e = &Expire{d.ID(), d.Time()}
	case KindForgetMessage:
		e = &ForgetMessage{d.ID(), d.Time()}
	case KindForgetKey:
		e = &ForgetKey{d.Bytes(), d.Time()}
	case KindForgetUplinks:
		e = &ForgetUplinks{d.Uint(), d.Int()}
	case KindForgetClient:
		e = &ForgetClient{gateway.ClientID(d.Text()), d.Time(), d.Time()}
	case KindForgetOrdinal:
		e = &ForgetOrdinal{Ordinal(d.Uint()), d.Time()}
	case KindProbe:
		e = &Probe{}
	case KindOpened:
		e = &Opened{After: d.Uint(), Floor: Numbers{d.Uint(), d.Uint(), d.Uint()}}
	case KindBounded:
		e = &Bounded{DecodeBounds(d)}
	case KindForgetEvents:
		e = &ForgetEvents{d.Uint(), d.Int()}
	case KindNote:
		e = DecodeNote(d)
	case KindPut:
		e = decodePut(d)
	case KindRemoveClient:
		e = &RemoveClient{gateway.ClientID(d.Text()), d.Time()}
	default:
		return nil, fmt.Errorf("event of unknown kind %d", k)
	}
	if err := d.End(); err != nil {
		return nil, fmt.Errorf("event of kind %d: %w", k, err)
	}
	return e, nil
}
