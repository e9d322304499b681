package record

import (
	"encoding/hex"
	"strings"

	"github.com/longwire/longwire/gateway"
)

// Ordinal is a client's number within the store, for bitmaps and short keys.
type Ordinal uint32

// Message ids are kept as 16 bytes when they are "msg_" and a UUID in its
// usual form, else as they are. Both forms sort by time within themselves.
const (
	textForm = 0
	UUIDForm = 1
)

// AppendID appends the stored form of a message id.
func AppendID(b []byte, id gateway.MessageID) []byte {
	if s, ok := strings.CutPrefix(string(id), "msg_"); ok && len(s) == 36 {
		if u, ok := parseUUID(s); ok {
			return append(append(b, UUIDForm), u[:]...)
		}
	}
	return append(append(b, textForm), id...)
}

// parseUUID reads a UUID of 36 characters in its usual form, lower case.
func parseUUID(s string) (u [16]byte, ok bool) {
	at := 0
	for i := range u {
		if at == 8 || at == 13 || at == 18 || at == 23 {
			if s[at] != '-' {
				return u, false
			}
			at++
		}
		hi, lo := hexDigits[s[at]], hexDigits[s[at+1]]
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

// ParseID is the reverse of AppendID; the id of no bytes is "".
func ParseID(b []byte) gateway.MessageID {
	if len(b) == 17 && b[0] == UUIDForm {
		var s [40]byte
		copy(s[:], "msg_")
		u := b[1:]
		hex.Encode(s[4:], u[0:4])
		s[12] = '-'
		hex.Encode(s[13:], u[4:6])
		s[17] = '-'
		hex.Encode(s[18:], u[6:8])
		s[22] = '-'
		hex.Encode(s[23:], u[8:10])
		s[27] = '-'
		hex.Encode(s[28:], u[10:16])
		return gateway.MessageID(s[:])
	}
	if len(b) == 0 {
		return ""
	}
	return gateway.MessageID(b[1:])
}
