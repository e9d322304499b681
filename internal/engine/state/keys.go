package state

import (
	"encoding/binary"
	"slices"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// The rows of the store. Integers in keys are big-endian, so that scans are in
// order; ord is a client's ordinal u32, given at its first registration and
// never reused; seq is a message's sequence u64; id is a message id (see
// record.AppendID); chunk is a u32 that covers 4,096 ordinals.
//
//	!format                    version of this layout, uvarint; package disk's
//	!log                       LogID; package disk's
//	!state                     position, sequences and counters (Standing)
//	!bounds                    settings that change outcomes (record.Bounds)
//	W <writer u64>             boot, era and last record of a writer (writerRow)
//	T <era u64>                time at which the next process found the era over; absent if it
//	                           had no clients, or a client of it would be forgotten by now
//
//	c <client>                 the client (clientRow)
//	d <ord>                    its id; outlives the client while messages may refer to it
//	A <account>                clients and uplinks that are counted for a key or tenant (accountRow)
//	n <ord>                    deliveries queued for it alone: count and bytes; absent = none
//	f <ord>                    empty: that queue is full
//	z <time> <ord>             the client was forgotten then (forgottenRow)
//	o <chunk>                  bitmap: known clients
//	i <era u64> <chunk>        bitmap: clients that are connected to the writer of this era
//	g <name> <chunk>           bitmap: members of a group
//	l <key=value> <chunk>      bitmap: clients with a label
//
//	m <id>                     message: recipients, metadata, payload; never rewritten
//	q <ord> <seq>              delivery that is not final (queueRow); set once, see delOnce
//	h <ord> <seq>              delivery that is final (finalRow)
//	v <client> 0 <seq>         delivery that failed because the client was unknown (finalRow)
//	a <seq>                    head of a message to many: counts (headRow)
//	b <chunk> <seq>            bitmap: recipients still queued, of messages in bitmap form
//	s <seq> <state> <chunk>    bitmap: recipients in a final state
//	e <seq> <ord>              reason, result and late ack, which a bit has no room for (finalRow)
//
//	x <expiry> <seq>           message id: expiry index of messages that are not completed; set once
//	r <completed> <id>         empty: retention index of completed messages
//	k <scope> <key>            idempotency key: message id, fingerprint, time
//	j <time> <scope> <key>     empty: retention index of idempotency keys
//	u <client> 0 <useq>        uplink
//	y <useq>                   client and size: uplinks in order of arrival (arrivalRow)
//	U <client>                 bytes of its uplinks (hoardRow); absent = none
//	E <number u64>             events of one record, from this number on (Event); set once
//	P <key>                    entry of the gateway's own (gateway.Entry)
//	w                          no longer: rows of writers, to format 3
//	p <ord> <wire number>      reserved: sequence and part of a delivery that was held back, and
//	                           that its client sees under the number of its release
//
// A message to one is m, q and x while it is queued and m, h and r when it is
// final. A message to many is one body and one head, and per recipient either
// q and h rows (up to record.Bounds.SmallAudience) or a bit: a chunk's queued bits lie next
// to each other for all messages, so that one short scan finds all messages for a
// client.
const (
	kindMeta       = '!'
	kindWriter     = 'W'
	kindEraEnd     = 'T'
	kindClient     = 'c'
	kindOrdinal    = 'd'
	kindAccount    = 'A'
	kindCount      = 'n'
	kindFull       = 'f'
	kindForgotten  = 'z'
	kindKnown      = 'o'
	kindGroup      = 'g'
	kindLabel      = 'l'
	kindMessage    = 'm'
	kindQueued     = 'q'
	kindFinal      = 'h'
	kindUnknown    = 'v'
	kindHead       = 'a'
	kindBits       = 'b'
	kindStateBits  = 's'
	kindSparse     = 'e'
	kindExpiry     = 'x'
	kindRetention  = 'r'
	kindIdempotent = 'k'
	kindKeyAge     = 'j'
	kindUplink     = 'u'
	kindUplinkSeq  = 'y'
	kindHoard      = 'U'
	kindOnline     = 'i'
	kindEvents     = 'E'
	kindEntry      = 'P'
)

var (
	keyState  = []byte("!state")
	keyBounds = []byte("!bounds")
)

func keyOf(kind byte, n int) []byte { return append(make([]byte, 0, 1+n), kind) }

func key32(kind byte, v uint32) []byte { return binary.BigEndian.AppendUint32(keyOf(kind, 4), v) }

func key64(kind byte, v uint64) []byte { return binary.BigEndian.AppendUint64(keyOf(kind, 8), v) }

func key32x64(kind byte, a uint32, b uint64) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(keyOf(kind, 12), a), b)
}

func key64x32(kind byte, a uint64, b uint32) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint64(keyOf(kind, 12), a), b)
}

func clientKey(id gateway.ClientID) []byte { return append(keyOf(kindClient, len(id)), id...) }

func ordinalKey(o record.Ordinal) []byte { return key32(kindOrdinal, uint32(o)) }
func countKey(o record.Ordinal) []byte   { return key32(kindCount, uint32(o)) }
func fullKey(o record.Ordinal) []byte    { return key32(kindFull, uint32(o)) }

func messageKey(id gateway.MessageID) []byte { return record.AppendID(keyOf(kindMessage, 17), id) }

// MessageOf returns the message whose row has this key, ok false for another row.
func MessageOf(key []byte) (id gateway.MessageID, ok bool) {
	if len(key) < 2 || key[0] != kindMessage {
		return "", false
	}
	return record.ParseID(key[1:]), true
}

func queueKey(o record.Ordinal, s gateway.Seq) []byte {
	return key32x64(kindQueued, uint32(o), uint64(s))
}
func finalKey(o record.Ordinal, s gateway.Seq) []byte {
	return key32x64(kindFinal, uint32(o), uint64(s))
}
func headKey(s gateway.Seq) []byte { return key64(kindHead, uint64(s)) }
func sparseKey(s gateway.Seq, o record.Ordinal) []byte {
	return key64x32(kindSparse, uint64(s), uint32(o))
}

func expiryKey(at int64, s gateway.Seq) []byte {
	b := binary.BigEndian.AppendUint64(keyOf(kindExpiry, 16), uint64(at))
	return binary.BigEndian.AppendUint64(b, uint64(s))
}

func retentionKey(at int64, id gateway.MessageID) []byte {
	return record.AppendID(binary.BigEndian.AppendUint64(keyOf(kindRetention, 8+17), uint64(at)), id)
}

// scopedKey is an idempotency key within its scope, as it stands in k and j rows.
func scopedKey(scope, key string) []byte {
	b := binary.AppendUvarint(make([]byte, 0, 4+len(scope)+len(key)), uint64(len(scope)))
	return append(append(b, scope...), key...)
}

func idempotencyKey(scoped []byte) []byte {
	return append(keyOf(kindIdempotent, len(scoped)), scoped...)
}

func keyAgeKey(at int64, scoped []byte) []byte {
	return append(key64(kindKeyAge, uint64(at)), scoped...)
}

// namedPrefix starts the keys of one client's rows of a kind that is by name;
// no client id has a zero byte.
func namedPrefix(kind byte, c gateway.ClientID) []byte {
	return append(append(keyOf(kind, len(c)+9), c...), 0)
}

func namedKey(kind byte, c gateway.ClientID, n uint64) []byte {
	return binary.BigEndian.AppendUint64(namedPrefix(kind, c), n)
}

func uplinkKey(c gateway.ClientID, useq uint64) []byte { return namedKey(kindUplink, c, useq) }

func unknownKey(c gateway.ClientID, s gateway.Seq) []byte {
	return namedKey(kindUnknown, c, uint64(s))
}

func entryKey(key string) []byte { return append(keyOf(kindEntry, len(key)), key...) }

func forgottenKey(at int64, o record.Ordinal) []byte {
	return key64x32(kindForgotten, uint64(at), uint32(o))
}

// tail64 and tail32 return the integer at the end of a key.
func tail64(k []byte) uint64 { return binary.BigEndian.Uint64(k[len(k)-8:]) }
func tail32(k []byte) uint32 { return binary.BigEndian.Uint32(k[len(k)-4:]) }

// afterPrefix returns the first key behind all keys that start with prefix.
func afterPrefix(prefix []byte) []byte {
	end := slices.Clone(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
