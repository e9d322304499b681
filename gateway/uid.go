package gateway

import (
	"encoding/binary"
	"encoding/hex"
	"time"
)

// uid is a UUID in memory. The ids of sessions and messages are a kind and a
// UUID; their text is made on demand.
type uid [16]byte

// Kinds of ids.
const (
	messageKind = "msg_"
	sessionKind = "ses_"
)

const kindLen, uuidLen = 4, 36

// MessageIDOf returns the message id of a UUID, such as
// msg_0193f2a0-7c1e-7d3a-9b1f-2f6d1c0a9e11.
func MessageIDOf(u [16]byte) MessageID { return MessageID(uid(u).text(messageKind)) }

// UUID is the reverse of MessageIDOf; ok is false for an id of another form.
func (id MessageID) UUID() (u [16]byte, ok bool) { return parseUID(string(id), messageKind) }

// firstMessageAt returns the lowest id that carries a time.
func firstMessageAt(t time.Time) MessageID {
	var u [16]byte
	binary.BigEndian.PutUint64(u[:8], uint64(max(0, t.UnixMilli()))<<16)
	return MessageIDOf(u)
}

// madeAt returns the time in a UUIDv7, which begins with it in milliseconds.
func (u uid) madeAt() time.Time { return time.UnixMilli(int64(binary.BigEndian.Uint64(u[:8]) >> 16)) }

// text is the id of a kind.
func (u uid) text(kind string) string {
	var b [kindLen + uuidLen]byte
	copy(b[:], kind)
	t := b[kindLen:]
	hex.Encode(t[0:8], u[0:4])
	hex.Encode(t[9:13], u[4:6])
	hex.Encode(t[14:18], u[6:8])
	hex.Encode(t[19:23], u[8:10])
	hex.Encode(t[24:36], u[10:16])
	t[8], t[13], t[18], t[23] = '-', '-', '-', '-'
	return string(b[:])
}

// parseUID is the reverse of text. ok is false for every other spelling.
func parseUID(id, kind string) (u uid, ok bool) {
	if len(id) != kindLen+uuidLen || id[:kindLen] != kind {
		return u, false
	}
	at := kindLen
	for i := range u {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			if id[at] != '-' {
				return u, false
			}
			at++
		}
		hi, lo := hexDigits[id[at]], hexDigits[id[at+1]]
		if hi|lo > 15 {
			return u, false
		}
		u[i], at = hi<<4|lo, at+2
	}
	return u, true
}

// hexDigits has the value of each lower-case hexadecimal digit, 255 for others.
var hexDigits = func() (t [256]byte) {
	for i := range t {
		t[i] = 255
	}
	for i, c := range "0123456789abcdef" {
		t[c] = byte(i)
	}
	return t
}()
