package gateway

import "encoding/hex"

// uid is a UUID in memory. The ids of sessions and messages are a kind and a
// UUID; their text is made on demand.
type uid [16]byte

// Kinds of ids.
const (
	messageKind = "msg_"
	sessionKind = "ses_"
)

const kindLen, uuidLen = 4, 36

// text is the id of a kind, such as msg_0193f2a0-7c1e-7d3a-9b1f-2f6d1c0a9e11.
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
	n := 0
	for t := id[kindLen:]; t != ""; {
		if len(t) == 28 || len(t) == 23 || len(t) == 18 || len(t) == 13 {
			if t[0] != '-' {
				return u, false
			}
			t = t[1:]
		}
		hi, lo := nibble(t[0]), nibble(t[1])
		if hi|lo > 15 {
			return u, false
		}
		u[n] = hi<<4 | lo
		n, t = n+1, t[2:]
	}
	return u, true
}

// nibble is the value of a lower-case hexadecimal digit, more than 15 for other
// bytes.
func nibble(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}
