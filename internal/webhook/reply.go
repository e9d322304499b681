package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"unicode/utf8"

	"github.com/longwire/longwire/gateway"
)

// reply pushes the body of an answer to the device that has sent the event's uplink. A
// repeat has the same message id, so that it finds the message instead of a second one.
func (m *Manager) reply(ctx context.Context, w *Webhook, ev *gateway.Event, id string, body []byte, kind replyKind) error {
	if kind.err != nil {
		return kind.err
	}
	encoding := kind.encoding
	if encoding == gateway.EncodingJSON && !json.Valid(body) || encoding == gateway.EncodingText && !utf8.Valid(body) {
		encoding = gateway.EncodingBinary
	}
	_, err := m.cfg.Gateway.Push(ctx, gateway.PushRequest{ID: replyID(ev, id, w.ID), To: gateway.Audience{Client: ev.Client}, Payload: body,
		Encoding: encoding, TTL: kind.ttl, Owner: w.Limit.Owner(), Metadata: map[string]string{"reply_to": id}})
	return err
}

// replyID returns a UUIDv7 (RFC 9562) with the event's time and 74 bits of a hash of the
// event and the webhook.
func replyID(ev *gateway.Event, event, webhook string) gateway.MessageID {
	sum := sha256.Sum256([]byte(event + " " + webhook))
	var u [16]byte
	binary.BigEndian.PutUint64(u[:8], uint64(ev.At.UnixMilli())<<16|0x7000|uint64(binary.BigEndian.Uint16(sum[:2])&0x0fff))
	binary.BigEndian.PutUint64(u[8:], binary.BigEndian.Uint64(sum[2:10])&(1<<62-1)|1<<63)
	return gateway.MessageIDOf(u)
}
