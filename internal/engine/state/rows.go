package state

import (
	"slices"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// Standing is how far the log is applied, and the counts up to there.
type Standing struct {
	Pos         uint64 // position of the last applied record
	At          int64  // time of the record, ns
	Seq         gateway.Seq
	Useq        uint64         // last uplink sequence
	Event       uint64         // last event number
	nextOrdinal record.Ordinal // of the next new client
	era         uint64         // of the last boot that was taken; rises by one with each
	Clients     int64
	Messages    int64
	Queued      int64  // deliveries that are not final
	bitmaps     int64  // messages in bitmap form that are not completed
	eventBytes  int64  // of the rows of events, keys and values
	EventsGone  uint64 // events up to this number were forgotten
	epoch       uint64 // highest one of a forgotten client
	uplinkBytes int64  // of the rows of uplinks, keys and values
	written     hourly // events
	// setBack has the first number of an event behind each of the last times that the
	// clock was set back, rising; 0 = none.
	setBack [maxSetBack]uint64
	// Sum is the running checksum behind Pos, Agreed the one behind the last position
	// that is a multiple of 256, for nodes to compare; see Machine.seal.
	Sum    uint64
	Agreed Agreement
}

// maxSetBack bounds the times that the clock was set back which are remembered.
const maxSetBack = 8

// clockSkew is by how much the clocks of records may differ without a step.
const clockSkew = int64(time.Second)

// follow notes the time of a record, whose events have the next numbers.
func (r *Standing) follow(at int64) {
	if at < r.At-clockSkew {
		kept := slices.DeleteFunc(r.setBack[:], func(n uint64) bool { return n <= r.EventsGone+1 || n == r.Event+1 })
		if len(kept) == maxSetBack {
			kept = slices.Delete(kept, 0, 1)
		}
		r.setBack[len(kept)] = r.Event + 1
	}
	r.At = at
}

// Agreement is a checksum that all states of one log have at one position.
type Agreement struct{ Pos, Sum uint64 }

// ReadStanding reads the row of the state; a store without one is at its beginning.
func ReadStanding(rows Reader) (r Standing, err error) {
	v, err := rows.Get(keyState)
	if err != nil || v == nil {
		return r, err
	}
	return decodeState(v)
}

// UplinkBytes returns the size of the rows of uplinks.
func (r *Standing) UplinkBytes() int64 { return r.uplinkBytes }

// Row returns the row of the state.
func (r *Standing) Row() (key, value []byte) { return keyState, r.encode() }

// OldWriters are the bounds of the rows of writers up to format 3.
var OldWriters = [2][]byte{{'w'}, {'w' + 1}}

func (r *Standing) encode() []byte {
	b := make([]byte, 0, 64)
	for _, v := range [...]uint64{r.Pos, uint64(r.At), uint64(r.Seq), r.Useq, r.Event, uint64(r.nextOrdinal), r.era,
		uint64(r.Clients), uint64(r.Messages), uint64(r.Queued), uint64(r.bitmaps), uint64(r.eventBytes), r.EventsGone,
		r.Sum, r.Agreed.Pos, r.Agreed.Sum, r.epoch, uint64(r.uplinkBytes),
		uint64(r.written.hour), uint64(r.written.bytes)} {
		b = record.PutUint(b, v)
	}
	for _, n := range r.setBack { // older rows end before them
		if n == 0 {
			break
		}
		b = record.PutUint(b, n)
	}
	return record.PutSum(keyState, b)
}

func decodeState(v []byte) (r Standing, err error) {
	d := record.Open(keyState, v)
	var n [stateValues + maxSetBack]uint64
	count := 0
	for ; len(d.Rest) > 0 && count < len(n); count++ {
		n[count] = d.Uint()
	}
	if err := d.End(); err != nil {
		return r, err
	}
	switch {
	case count >= stateValues, count == stateValues-2: // of a state before the shares of the event log
		r = Standing{Pos: n[0], At: int64(n[1]), Seq: gateway.Seq(n[2]), Useq: n[3], Event: n[4], nextOrdinal: record.Ordinal(n[5]), era: n[6],
			Clients: int64(n[7]), Messages: int64(n[8]), Queued: int64(n[9]), bitmaps: int64(n[10]), eventBytes: int64(n[11]), EventsGone: n[12],
			Sum: n[13], Agreed: Agreement{n[14], n[15]}, epoch: n[16], uplinkBytes: int64(n[17]),
			written: hourly{int64(n[18]), int64(n[19])}}
		copy(r.setBack[:], n[stateValues:])
	case count == oldStateValues: // the incarnations of the writer become eras that are over; n[2] was a number within one
		r = Standing{Pos: n[0], era: n[1], At: int64(n[3]), Seq: gateway.Seq(n[4]), Useq: n[5], nextOrdinal: record.Ordinal(n[6]),
			Clients: int64(n[7]), Messages: int64(n[8]), Queued: int64(n[9]), bitmaps: int64(n[10])}
	default:
		err = record.Corrupt(keyState, record.ErrShort)
	}
	return r, err
}

// Numbers of values in the row of the state, without setBack and up to format 3.
const (
	stateValues    = 20
	oldStateValues = 11
)

// form is how a message's recipients are kept.
type form uint8

const (
	formOne    form = iota // one client
	formList               // ordinals in the message row, a row per recipient
	formBitmap             // a bit per recipient
)

// messageRow is written once, at acceptance.
type messageRow struct {
	id        gateway.MessageID
	key       []byte // of the row, while the message is accepted
	seq       gateway.Seq
	createdAt int64
	expiresAt int64
	encoding  gateway.Encoding
	form      form
	online    bool               // formOne; see gateway.Acceptance
	ord       record.Ordinal     // formOne
	client    gateway.ClientID   // formOne
	ords      []record.Ordinal   // formList, rising
	unknown   []gateway.ClientID // formList: addressed, never registered; failed at once
	metadata  map[string]string
	owner     string
	payload   []byte
}

// encode appends the row to b, which is empty.
func (r *messageRow) encode(b, key []byte) []byte {
	b = record.PutUint(record.PutUint(record.PutUint(b, uint64(r.seq)), uint64(r.createdAt)), uint64(r.expiresAt))
	b = append(b, marked(byte(r.encoding), r.online), byte(r.form))
	switch r.form {
	case formOne:
		b = record.PutString(record.PutUint(b, uint64(r.ord)), r.client)
	case formList:
		b = record.PutUint(b, uint64(len(r.ords)))
		prev := record.Ordinal(0)
		for _, o := range r.ords {
			b = record.PutUint(b, uint64(o-prev))
			prev = o
		}
		b = record.PutStrings(b, r.unknown)
	}
	b = record.PutBytes(record.PutMap(record.PutString(b, r.owner), r.metadata), r.payload)
	return record.PutSum(key, b)
}

// decodeMessage keeps no part of v.
func decodeMessage(key, v []byte) (r messageRow, err error) {
	d := record.Open(key, v)
	r.id = record.ParseID(key[1:])
	r.seq, r.createdAt, r.expiresAt = gateway.Seq(d.Uint()), int64(d.Uint()), int64(d.Uint())
	encoding, online := unmarked(d.Byte())
	r.encoding, r.online, r.form = gateway.Encoding(encoding), online, form(d.Byte())
	switch r.form {
	case formOne:
		r.ord, r.client = record.Ordinal(d.Uint()), gateway.ClientID(d.Text())
	case formList:
		r.ords = make([]record.Ordinal, d.Count(1))
		prev := record.Ordinal(0)
		for i := range r.ords {
			prev += record.Ordinal(d.Uint())
			r.ords[i] = prev
		}
		r.unknown = record.DecodeStrings[gateway.ClientID](&d)
	}
	r.owner, r.metadata, r.payload = d.Text(), d.Map(), append([]byte(nil), d.Bytes()...)
	return r, d.End()
}

// recipients returns the ordinals of the recipients that have a row each.
func (r *messageRow) recipients() []record.Ordinal {
	if r.form == formOne {
		return []record.Ordinal{r.ord}
	}
	return r.ords
}

// onlineMark is the bit of a message's encoding, and of a delivery's state, that says
// that it was pushed with mode=online.
const onlineMark = 0x80

func marked(b byte, online bool) byte {
	if online {
		return b | onlineMark
	}
	return b
}

func unmarked(b byte) (plain byte, online bool) { return b &^ onlineMark, b&onlineMark != 0 }

// queueRow is a delivery that is not final.
type queueRow struct {
	id        gateway.MessageID
	createdAt int64
	expiresAt int64
	size      int64 // payload bytes
	many      bool
}

// encode appends the row of the message with this id, see record.AppendID, to b.
func (r *queueRow) encode(b, id []byte) []byte {
	b = record.PutBytes(b, id)
	b = record.PutUint(record.PutUint(record.PutUint(b, uint64(r.createdAt)), uint64(r.expiresAt)), uint64(r.size))
	return record.PutBool(b, r.many)
}

func decodeQueued(key, v []byte) (r queueRow, err error) {
	d := record.Decoder{Rest: v}
	r.id, r.createdAt, r.expiresAt, r.size = d.ID(), int64(d.Uint()), int64(d.Uint()), int64(d.Uint())
	r.many = d.Bool()
	return r, record.Corrupt(key, d.End())
}

// bytes returns the size that counts against the client's limit.
func (r *queueRow) bytes() int64 {
	if r.many {
		return 0
	}
	return r.size
}

// finalRow is a delivery that is final.
type finalRow struct {
	id         gateway.MessageID
	createdAt  int64
	expiresAt  int64
	many       bool
	online     bool
	state      gateway.State
	reason     string
	attempts   int
	sentAt     int64
	finalAt    int64
	result     []byte
	lateAt     int64
	lateResult []byte
	lateCode   gateway.AckCode
}

// encode appends the row to b, which is empty.
func (r *finalRow) encode(b, key []byte) []byte {
	b = record.PutID(b, r.id)
	b = record.PutUint(record.PutUint(b, uint64(r.createdAt)), uint64(r.expiresAt))
	b = append(record.PutBool(b, r.many), marked(byte(r.state), r.online))
	b = record.PutUint(record.PutString(b, r.reason), uint64(r.attempts))
	b = record.PutBytes(record.PutUint(record.PutUint(b, uint64(r.sentAt)), uint64(r.finalAt)), r.result)
	b = record.PutBytes(record.PutUint(b, uint64(r.lateAt)), r.lateResult)
	if r.lateCode != gateway.AckOK { // older rows end before it
		b = append(b, byte(r.lateCode))
	}
	return record.PutSum(key, b)
}

// decodeFinal keeps no part of v.
func decodeFinal(key, v []byte) (r finalRow, err error) {
	d := record.Open(key, v)
	r.id, r.createdAt, r.expiresAt = d.ID(), int64(d.Uint()), int64(d.Uint())
	r.many = d.Bool()
	state, online := unmarked(d.Byte())
	r.state, r.online = gateway.State(state), online
	r.reason, r.attempts = d.Text(), d.Int()
	r.sentAt, r.finalAt, r.result = int64(d.Uint()), int64(d.Uint()), append([]byte(nil), d.Bytes()...)
	r.lateAt, r.lateResult = int64(d.Uint()), append([]byte(nil), d.Bytes()...)
	if len(d.Rest) > 0 {
		r.lateCode = gateway.AckCode(d.Byte())
	}
	return r, d.End()
}

// delivery returns the row as the gateway knows it.
func (r *finalRow) delivery(c gateway.ClientID, s gateway.Seq) gateway.Delivery {
	return gateway.Delivery{Message: r.id, Client: c, Seq: s, Online: r.online, State: r.state, Reason: r.reason, Attempts: r.attempts,
		CreatedAt: record.TimeOf(r.createdAt), ExpiresAt: record.TimeOf(r.expiresAt), SentAt: record.TimeOf(r.sentAt),
		FinalAt: record.TimeOf(r.finalAt), Result: r.result, LateAckAt: record.TimeOf(r.lateAt),
		LateCode: r.lateCode, LateResult: r.lateResult}
}

// headRow is the part of a message to many that changes.
type headRow struct {
	id          gateway.MessageID
	form        form
	createdAt   int64
	expiresAt   int64
	completedAt int64 // 0 = not completed
	total       int
	count       [gateway.Failed + 1]int // by state; Sent is not used
	// chunks covers the recipients of a bitmap: their ordinals are below
	// chunks × chunkBits.
	chunks  uint32
	account string // of the push of a bitmap, for Machine.broadcasts
}

func (r *headRow) encode(key []byte) []byte {
	b := append(record.PutID(make([]byte, 0, 80), r.id), byte(r.form))
	b = record.PutUint(record.PutUint(record.PutUint(b, uint64(r.createdAt)), uint64(r.expiresAt)), uint64(r.completedAt))
	b = record.PutUint(record.PutUint(b, uint64(r.total)), uint64(r.chunks))
	for _, n := range r.count {
		b = record.PutUint(b, uint64(n))
	}
	if r.account != "" {
		b = record.PutString(b, r.account)
	}
	return record.PutSum(key, b)
}

func decodeHead(key, v []byte) (r headRow, err error) {
	d := record.Open(key, v)
	r.id, r.form = d.ID(), form(d.Byte())
	r.createdAt, r.expiresAt, r.completedAt = int64(d.Uint()), int64(d.Uint()), int64(d.Uint())
	r.total, r.chunks = d.Int(), uint32(d.Uint())
	for i := range r.count {
		r.count[i] = d.Int()
	}
	if len(d.Rest) > 0 {
		r.account = d.Text()
	}
	return r, d.End()
}

func (r *headRow) counts() gateway.Counts {
	c := gateway.Counts{Total: r.total}
	for s := gateway.Queued; s <= gateway.Failed; s++ {
		*c.Of(s) = r.count[s]
	}
	return c
}

// keyRow is a remembered idempotency key.
type keyRow struct {
	id          gateway.MessageID
	at          int64
	fingerprint [32]byte
	online      bool // of a push with mode=online
}

func (r *keyRow) encode() []byte {
	b := append(record.PutUint(record.PutID(make([]byte, 0, 64), r.id), uint64(r.at)), r.fingerprint[:]...)
	return record.PutBool(b, r.online)
}

func decodeKey(key, v []byte) (r keyRow, err error) {
	d := record.Decoder{Rest: v}
	r.id, r.at = d.ID(), int64(d.Uint())
	d.Copy(r.fingerprint[:])
	if len(d.Rest) > 0 { // rows of format 3 end here
		r.online = d.Bool()
	}
	return r, record.Corrupt(key, d.End())
}

// mismatch refuses a request that is not the one that the key was given for.
func (r *keyRow) mismatch(a *gateway.Acceptance) error {
	text := "the idempotency key was used with another request"
	switch {
	case r.online != a.Online:
		text = "the idempotency key was used with the other mode"
	case r.fingerprint == a.Fingerprint:
		return nil
	}
	return &gateway.Error{Code: gateway.CodeIdempotencyMismatch, MessageID: r.id, Message: text}
}

func encodeUplink(key []byte, u *gateway.Uplink) []byte {
	b := record.PutString(make([]byte, 0, 64+len(u.Payload)), u.Session)
	b = record.PutBytes(record.PutTime(record.PutUint(b, u.Number), u.At), u.Payload)
	return record.PutSum(key, b)
}

// decodeUplink keeps no part of v.
func decodeUplink(key, v []byte) (u gateway.Uplink, err error) {
	d := record.Open(key, v)
	u.Session, u.Number, u.At = gateway.SessionID(d.Text()), d.Uint(), d.Time()
	u.Payload = append([]byte(nil), d.Bytes()...)
	if err = d.End(); err == nil { // else the key may be wrong, too
		u.Client, u.Seq = gateway.ClientID(key[1:len(key)-9]), tail64(key)
	}
	return u, err
}
