package disk

import (
	"github.com/cockroachdb/pebble/v2/batchrepr"

	"github.com/longwire/longwire/gateway"
)

// lostMessages returns the messages that records of a log behind offset from have
// accepted. It reads records that lie in one chunk; others, and damaged ones,
// cannot be read alone.
func lostMessages(o *Options, name string, from int64) (ids []gateway.MessageID, err error) {
	b, err := readAll(o.FS, name)
	if err != nil {
		return nil, err
	}
	number := logNumber(name)
	for at := int(from); at+logHeader <= len(b); {
		end := min(len(b), (at/logBlock+1)*logBlock)
		size, _, ok := parseChunk(b[at:end], number)
		if !ok {
			at++
			continue
		}
		if b[at+6] == logChunkFull {
			ids = append(ids, messagesIn(o.Rows, b[at+logHeader:at+size])...)
		}
		at += size
	}
	return ids, nil
}

// messagesIn returns the messages whose rows a batch of the database sets.
func messagesIn(rows Rows, batch []byte) (ids []gateway.MessageID) {
	if len(batch) < batchrepr.HeaderLen {
		return nil
	}
	for r := batchrepr.Read(batch); ; {
		kind, key, _, ok, err := r.Next()
		if err != nil || !ok {
			return ids
		}
		if id, ok := rows.Message(key); ok && kind == setKind {
			ids = append(ids, id)
		}
	}
}

// setKind is how a batch marks a row that it sets.
const setKind = 1
