package state

import (
	"fmt"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// Result is the outcome of an event. Which fields are set depends on the event.
// err is the domain's answer: the event changed nothing.
type Result struct {
	Receipt gateway.Receipt
	Message gateway.Message
	Record  gateway.ClientRecord
	Given   gateway.Seq // highest so far
	N       int
	Useq    uint64
	Err     error
}

// Apply makes one event's changes in the record under way. An error is not the
// event's answer but a database that cannot be read: the record must be given
// up.
func (m *Machine) Apply(e record.Event, r *Result) error {
	switch e := e.(type) {
	case *record.Accept:
		return m.accept(e, r)
	case *record.Settle:
		return m.settle(&e.Outcome)
	case *record.Cancel:
		return m.cancel(e, r)
	case *record.Purge:
		return m.purge(e, r)
	case *record.Register:
		return m.register(e, r)
	case *record.Disconnected:
		return m.disconnected(e)
	case *record.Update:
		return m.update(e, r)
	case *record.Uplink:
		return m.uplink(e, r)
	case *record.Expire:
		return m.expire(e)
	case *record.ForgetMessage:
		return m.forgetMessage(e)
	case *record.ForgetKey:
		return m.forgetKey(e)
	case *record.ForgetUplinks:
		return m.forgetUplinks(e)
	case *record.ForgetClient:
		return m.forgetClient(e)
	case *record.RemoveClient:
		return m.removeClient(e, r)
	case *record.ForgetOrdinal:
		m.del(ordinalKey(e.Ord))
		m.del(forgottenKey(record.Nanos(e.At), e.Ord))
		return nil
	case *record.Opened:
		return m.opened(e)
	case *record.Bounded:
		return m.bound(e.Bounds)
	case *record.ForgetEvents:
		return m.forgetEvents(e)
	case *record.Note:
		m.note(&Event{Kind: EventNoted, Client: e.Event.Client, At: record.Nanos(e.Event.At), Note: e})
		return nil
	case *record.Put:
		for i := range e.Entries {
			m.put(&e.Entries[i])
		}
		return nil
	case *record.Probe:
		return nil
	}
	return fmt.Errorf("event of kind %d has no rule", e.Kind())
}

// messageRow returns a message's row, nil when it is unknown.
func (m *Machine) messageRow(id gateway.MessageID) (*messageRow, error) {
	return readRow(m, messageKey(id), decodeMessage)
}

func (m *Machine) queuedRow(o record.Ordinal, s gateway.Seq) (*queueRow, error) {
	if row, ok := m.queued.get(o, s); ok {
		return &row, nil
	}
	return readRow(m, queueKey(o, s), decodeQueued)
}

func (m *Machine) finalRow(key []byte) (*finalRow, error) { return readRow(m, key, decodeFinal) }

// message returns a message as it now stands.
func (m *Machine) message(row *messageRow) (gateway.Message, error) {
	msg := row.message()
	if row.form == formOne {
		q, err := m.queuedRow(row.ord, row.seq)
		if err != nil {
			return msg, err
		}
		if q != nil {
			msg.Counts = gateway.Counts{Total: 1, Queued: 1}
			return msg, nil
		}
		f, err := m.finalRow(finalKey(row.ord, row.seq))
		if err != nil {
			return msg, err
		}
		if f == nil {
			return msg, missing(finalKey(row.ord, row.seq))
		}
		f.complete(&msg)
		return msg, nil
	}
	h, err := m.knownHead(row.seq)
	if err != nil {
		return msg, err
	}
	msg.Counts, msg.CompletedAt = h.counts(), record.TimeOf(h.completedAt)
	return msg, nil
}

// message returns the message without its counts, which other rows have.
func (r *messageRow) message() gateway.Message {
	return gateway.Message{ID: r.id, Seq: r.seq, Payload: r.payload, Encoding: r.encoding, Online: r.online, Metadata: r.metadata, Owner: r.owner,
		CreatedAt: record.TimeOf(r.createdAt), ExpiresAt: record.TimeOf(r.expiresAt), Client: r.client}
}

// complete marks the message to one whose delivery r is.
func (r *finalRow) complete(msg *gateway.Message) {
	msg.Counts = gateway.Counts{Total: 1}
	*msg.Counts.Of(r.state) = 1
	msg.CompletedAt = record.TimeOf(r.finalAt)
}

// completed moves a message from the expiry index to the retention index.
func (m *Machine) completed(id gateway.MessageID, seq gateway.Seq, expiresAt, at int64) {
	m.delOnce(expiryKey(expiresAt, seq))
	m.set(retentionKey(at, id), nil)
}

// put writes or removes an entry of the gateway's own.
func (m *Machine) put(e *gateway.Entry) {
	k := entryKey(e.Key)
	if e.Value == nil {
		m.del(k)
		return
	}
	m.set(k, record.PutSum(k, append([]byte(nil), e.Value...)))
}

func domainError(c gateway.Code, format string, args ...any) *gateway.Error {
	return &gateway.Error{Code: c, Message: fmt.Sprintf(format, args...)}
}

// limitError is domainError with the limit that was met.
func limitError[N int | int64](c gateway.Code, limit N, format string, args ...any) error {
	err := domainError(c, format, args...)
	err.Limit = int64(limit)
	return err
}

func unknownClient(id gateway.ClientID) error {
	return domainError(gateway.CodeClientNotFound, "no client %q is known", id)
}

func unknownMessage(id gateway.MessageID) error {
	return domainError(gateway.CodeMessageNotFound, "no message %q is known", id)
}
