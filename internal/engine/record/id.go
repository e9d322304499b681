package record

import "github.com/longwire/longwire/gateway"

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
	if u, ok := id.UUID(); ok {
		return append(append(b, UUIDForm), u[:]...)
	}
	return append(append(b, textForm), id...)
}

// ParseID is the reverse of AppendID; the id of no bytes is "".
func ParseID(b []byte) gateway.MessageID {
	if len(b) == 17 && b[0] == UUIDForm {
		return gateway.MessageIDOf([16]byte(b[1:]))
	}
	if len(b) == 0 {
		return ""
	}
	return gateway.MessageID(b[1:])
}
