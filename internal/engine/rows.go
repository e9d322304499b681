package engine

import (
	"github.com/longwire/longwire/gateway"
)

// stateRow is where the log stands, and what has been counted up to there.
type stateRow struct {
	pos         uint64 // position of the last applied record
	incarnation uint64 // of the writer: rises with each opening
	writerSeq   uint64 // within the incarnation
	at          int64  // time of the record, ns
	seq         gateway.Seq
	useq        uint64  // last uplink sequence
	nextOrdinal ordinal // of the next new client
	clients     int64
	messages    int64
	queued      int64 // deliveries that are not final
	bitmaps     int64 // messages in bitmap form that are not completed
}

func (r *stateRow) encode() []byte {
	b := make([]byte, 0, 64)
	for _, v := range [...]uint64{r.pos, r.incarnation, r.writerSeq, uint64(r.at), uint64(r.seq), r.useq,
		uint64(r.nextOrdinal), uint64(r.clients), uint64(r.messages), uint64(r.queued), uint64(r.bitmaps)} {
		b = putUint(b, v)
	}
	return putSum(keyState, b)
}

func decodeState(v []byte) (r stateRow, err error) {
	if v, err = checkSum(keyState, v); err != nil {
		return r, err
	}
	d := decoder{b: v}
	r.pos, r.incarnation, r.writerSeq, r.at = d.uint(), d.uint(), d.uint(), int64(d.uint())
	r.seq, r.useq, r.nextOrdinal = gateway.Seq(d.uint()), d.uint(), ordinal(d.uint())
	r.clients, r.messages, r.queued, r.bitmaps = int64(d.uint()), int64(d.uint()), int64(d.uint()), int64(d.uint())
	return r, d.end()
}

// clientRow is what is remembered of a client, without its queue's counters.
type clientRow struct {
	ord          ordinal
	createdAt    int64
	lastSeenAt   int64
	blockedUntil int64
	// connectedIn is the writer's incarnation in which the client registered
	// last, 0 once it has disconnected.
	connectedIn uint64
	lastClose   string
	labels      map[string]string
	groups      []string // sorted
}

func (r *clientRow) encode(key []byte) []byte {
	b := putUint(make([]byte, 0, 64), uint64(r.ord))
	b = putUint(putUint(putUint(b, uint64(r.createdAt)), uint64(r.lastSeenAt)), uint64(r.blockedUntil))
	b = putStrings(putMap(putString(putUint(b, r.connectedIn), r.lastClose), r.labels), r.groups)
	return putSum(key, b)
}

func decodeClient(key, v []byte) (r clientRow, err error) {
	if v, err = checkSum(key, v); err != nil {
		return r, err
	}
	d := decoder{b: v}
	r.ord = ordinal(d.uint())
	r.createdAt, r.lastSeenAt, r.blockedUntil = int64(d.uint()), int64(d.uint()), int64(d.uint())
	r.connectedIn, r.lastClose, r.labels, r.groups = d.uint(), d.string(), d.strmap(), decodeStrings[string](&d)
	return r, d.end()
}

// record returns the row as the gateway knows it.
func (r *clientRow) record(id gateway.ClientID, queued int, bytes int64) gateway.ClientRecord {
	return gateway.ClientRecord{ID: id, Labels: r.labels, Groups: r.groups, CreatedAt: timeOf(r.createdAt),
		LastSeenAt: timeOf(r.lastSeenAt), LastClose: r.lastClose, BlockedUntil: timeOf(r.blockedUntil),
		Queued: queued, QueuedBytes: bytes, Ref: uint32(r.ord) + 1}
}

// countRow is how much is queued for one client, bitmap messages not counted.
type countRow struct {
	n     int
	bytes int64 // of messages to it alone
}

func (r countRow) encode() []byte { return putUint(putUint(nil, uint64(r.n)), uint64(r.bytes)) }

func decodeCount(v []byte) (r countRow, err error) {
	d := decoder{b: v}
	r.n, r.bytes = d.int(), int64(d.uint())
	return r, d.end()
}

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
	ord       ordinal            // formOne
	client    gateway.ClientID   // formOne
	ords      []ordinal          // formList, rising
	unknown   []gateway.ClientID // formList: addressed, never registered; failed at once
	metadata  map[string]string
	owner     string
	payload   []byte
}

// encode appends the row to b, which is empty.
func (r *messageRow) encode(b, key []byte) []byte {
	b = putUint(putUint(putUint(b, uint64(r.seq)), uint64(r.createdAt)), uint64(r.expiresAt))
	b = append(b, byte(r.encoding), byte(r.form))
	switch r.form {
	case formOne:
		b = putString(putUint(b, uint64(r.ord)), r.client)
	case formList:
		b = putUint(b, uint64(len(r.ords)))
		prev := ordinal(0)
		for _, o := range r.ords {
			b = putUint(b, uint64(o-prev))
			prev = o
		}
		b = putStrings(b, r.unknown)
	}
	b = putBytes(putMap(putString(b, r.owner), r.metadata), r.payload)
	return putSum(key, b)
}

// decodeMessage keeps no part of v.
func decodeMessage(key, v []byte) (r messageRow, err error) {
	if v, err = checkSum(key, v); err != nil {
		return r, err
	}
	d := decoder{b: v}
	r.id = parseID(key[1:])
	r.seq, r.createdAt, r.expiresAt = gateway.Seq(d.uint()), int64(d.uint()), int64(d.uint())
	r.encoding, r.form = gateway.Encoding(d.byte()), form(d.byte())
	switch r.form {
	case formOne:
		r.ord, r.client = ordinal(d.uint()), gateway.ClientID(d.string())
	case formList:
		r.ords = make([]ordinal, d.count(1))
		prev := ordinal(0)
		for i := range r.ords {
			prev += ordinal(d.uint())
			r.ords[i] = prev
		}
		r.unknown = decodeStrings[gateway.ClientID](&d)
	}
	r.owner, r.metadata, r.payload = d.string(), d.strmap(), append([]byte(nil), d.bytes()...)
	return r, d.end()
}

// queueRow is a delivery that is not final.
type queueRow struct {
	id        gateway.MessageID
	createdAt int64
	expiresAt int64
	size      int64 // payload bytes
	many      bool
}

// encode appends the row of the message with this id, see appendID, to b.
func (r *queueRow) encode(b, id []byte) []byte {
	b = putBytes(b, id)
	b = putUint(putUint(putUint(b, uint64(r.createdAt)), uint64(r.expiresAt)), uint64(r.size))
	return putBool(b, r.many)
}

func decodeQueued(v []byte) (r queueRow, err error) {
	d := decoder{b: v}
	r.id, r.createdAt, r.expiresAt, r.size = d.id(), int64(d.uint()), int64(d.uint()), int64(d.uint())
	r.many = d.bool()
	return r, d.end()
}

// bytes is what the row counts against its client's limit.
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
	b = putID(b, r.id)
	b = putUint(putUint(b, uint64(r.createdAt)), uint64(r.expiresAt))
	b = append(putBool(b, r.many), byte(r.state))
	b = putUint(putString(b, r.reason), uint64(r.attempts))
	b = putBytes(putUint(putUint(b, uint64(r.sentAt)), uint64(r.finalAt)), r.result)
	b = putBytes(putUint(b, uint64(r.lateAt)), r.lateResult)
	if r.lateCode != gateway.AckOK { // older rows end before it
		b = append(b, byte(r.lateCode))
	}
	return putSum(key, b)
}

// decodeFinal keeps no part of v.
func decodeFinal(key, v []byte) (r finalRow, err error) {
	if v, err = checkSum(key, v); err != nil {
		return r, err
	}
	d := decoder{b: v}
	r.id, r.createdAt, r.expiresAt = d.id(), int64(d.uint()), int64(d.uint())
	r.many, r.state = d.bool(), gateway.State(d.byte())
	r.reason, r.attempts = d.string(), d.int()
	r.sentAt, r.finalAt, r.result = int64(d.uint()), int64(d.uint()), append([]byte(nil), d.bytes()...)
	r.lateAt, r.lateResult = int64(d.uint()), append([]byte(nil), d.bytes()...)
	if len(d.b) > 0 {
		r.lateCode = gateway.AckCode(d.byte())
	}
	return r, d.end()
}

// delivery returns the row as the gateway knows it.
func (r *finalRow) delivery(c gateway.ClientID, s gateway.Seq) gateway.Delivery {
	return gateway.Delivery{Message: r.id, Client: c, Seq: s, State: r.state, Reason: r.reason, Attempts: r.attempts,
		CreatedAt: timeOf(r.createdAt), ExpiresAt: timeOf(r.expiresAt), SentAt: timeOf(r.sentAt),
		FinalAt: timeOf(r.finalAt), Result: r.result, LateAckAt: timeOf(r.lateAt),
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
	chunks uint32
}

func (r *headRow) encode(key []byte) []byte {
	b := append(putID(make([]byte, 0, 80), r.id), byte(r.form))
	b = putUint(putUint(putUint(b, uint64(r.createdAt)), uint64(r.expiresAt)), uint64(r.completedAt))
	b = putUint(putUint(b, uint64(r.total)), uint64(r.chunks))
	for _, n := range r.count {
		b = putUint(b, uint64(n))
	}
	return putSum(key, b)
}

func decodeHead(key, v []byte) (r headRow, err error) {
	if v, err = checkSum(key, v); err != nil {
		return r, err
	}
	d := decoder{b: v}
	r.id, r.form = d.id(), form(d.byte())
	r.createdAt, r.expiresAt, r.completedAt = int64(d.uint()), int64(d.uint()), int64(d.uint())
	r.total, r.chunks = d.int(), uint32(d.uint())
	for i := range r.count {
		r.count[i] = d.int()
	}
	return r, d.end()
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
}

func (r *keyRow) encode() []byte {
	return append(putUint(putID(make([]byte, 0, 64), r.id), uint64(r.at)), r.fingerprint[:]...)
}

func decodeKey(v []byte) (r keyRow, err error) {
	d := decoder{b: v}
	r.id, r.at = d.id(), int64(d.uint())
	if copy(r.fingerprint[:], d.b) != len(r.fingerprint) {
		return r, errShort
	}
	return r, d.err
}

// mismatch refuses a request that is not the one that the key was given for.
func (r *keyRow) mismatch(fingerprint [32]byte) error {
	if r.fingerprint == fingerprint {
		return nil
	}
	return &gateway.Error{Code: gateway.CodeIdempotencyMismatch, MessageID: r.id,
		Message: "the idempotency key was used with another request"}
}

func encodeUplink(key []byte, u *gateway.Uplink) []byte {
	b := putString(make([]byte, 0, 64+len(u.Payload)), u.Session)
	b = putBytes(putTime(putUint(b, u.Number), u.At), u.Payload)
	return putSum(key, b)
}

// decodeUplink keeps no part of v.
func decodeUplink(key, v []byte) (u gateway.Uplink, err error) {
	if v, err = checkSum(key, v); err != nil {
		return u, err
	}
	d := decoder{b: v}
	u.Session, u.Number, u.At = gateway.SessionID(d.string()), d.uint(), d.time()
	u.Payload = append([]byte(nil), d.bytes()...)
	u.Client, u.Seq = gateway.ClientID(key[1:len(key)-9]), tail64(key)
	return u, d.end()
}
