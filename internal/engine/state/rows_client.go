package state

import (
	"cmp"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// clientRow is a client's row, without its queue's counters.
type clientRow struct {
	ord          record.Ordinal
	createdAt    int64
	lastSeenAt   int64
	blockedUntil int64
	// connectedIn is the era of the boot in which the client registered last, 0 once it
	// has disconnected. If that era is over, the writer's process has ended before the
	// connection.
	connectedIn uint64
	lastClose   string
	labels      map[string]string
	groups      []string          // sorted
	epoch       uint64            // rises by one with each registration
	joined      []gateway.Joining // of each of groups
	reported    map[string]string // labels that the device has sent
	account     string            // of the caller that has made it known; "" = none
	tenant      string            // that it belongs to and is counted for instead; "" = none
	churn       hourly            // events of its connections
}

func (r *clientRow) encode(key []byte) []byte {
	b := record.PutUint(make([]byte, 0, 64), uint64(r.ord))
	b = record.PutUint(record.PutUint(record.PutUint(b, uint64(r.createdAt)), uint64(r.lastSeenAt)), uint64(r.blockedUntil))
	b = record.PutStrings(record.PutMap(record.PutString(record.PutUint(b, r.connectedIn), r.lastClose), r.labels), r.groups)
	b = record.PutUint(record.PutString(record.PutMap(record.PutUint(b, r.epoch), r.reported), r.account), 0)
	if r.tenant != "" || r.churn.bytes != 0 || len(r.groups) > 0 {
		b = r.churn.encode(record.PutString(b, r.tenant))
		for i := range r.joined {
			b = putJoining(b, &r.joined[i])
		}
	}
	return record.PutSum(key, b)
}

func decodeClient(key, v []byte) (r clientRow, err error) {
	d := record.Open(key, v)
	var since uint64 // number of the event before the client's groups became as they are
	r.ord = record.Ordinal(d.Uint())
	r.createdAt, r.lastSeenAt, r.blockedUntil = int64(d.Uint()), int64(d.Uint()), int64(d.Uint())
	r.connectedIn, r.lastClose, r.labels, r.groups = d.Uint(), d.Text(), d.Map(), record.DecodeStrings[string](&d)
	if len(d.Rest) > 0 { // rows of format 3 end here
		r.epoch, r.reported, r.account, since = d.Uint(), d.Map(), d.Text(), d.Uint()
	}
	if len(d.Rest) > 0 {
		r.tenant, r.churn = d.Text(), decodeHourly(&d)
	}
	r.joined = make([]gateway.Joining, len(r.groups))
	for i := range r.joined {
		if since > 0 || len(d.Rest) == 0 { // a row of before there were joinings
			r.joined[i].Event = since
			continue
		}
		r.joined[i] = decodeJoining(&d)
	}
	return r, d.End()
}

func putJoining(b []byte, j *gateway.Joining) []byte {
	return record.PutUint(record.PutUint(record.PutUint(b, j.Event), uint64(j.Seq)), j.Uplink)
}

func decodeJoining(d *record.Decoder) gateway.Joining {
	return gateway.Joining{Event: d.Uint(), Seq: gateway.Seq(d.Uint()), Uplink: d.Uint()}
}

// owner returns the account that the client is counted for, "" for none.
func (r *clientRow) owner() string { return cmp.Or(r.tenant, r.account) }

// record returns the row as the gateway knows it.
func (r *clientRow) record(id gateway.ClientID, queued int, bytes int64, eras eras) gateway.ClientRecord {
	rec := gateway.ClientRecord{ID: id, Labels: r.labels, Reported: r.reported, Groups: r.groups, CreatedAt: record.TimeOf(r.createdAt),
		LastSeenAt: record.TimeOf(r.lastSeenAt), LastClose: r.lastClose, BlockedUntil: record.TimeOf(r.blockedUntil),
		Queued: queued, QueuedBytes: bytes, Ref: uint32(r.ord) + 1, Epoch: r.epoch, Joined: r.joined}
	if r.connectedIn != 0 && !eras.live(r.connectedIn) {
		rec.LastClose = gateway.ReasonServerStopped
	}
	return rec
}

// countRow is how much is queued for one client, bitmap messages not counted.
type countRow struct {
	n     int
	bytes int64 // of messages to it alone
}

func (r countRow) encode() []byte {
	return record.PutUint(record.PutUint(nil, uint64(r.n)), uint64(r.bytes))
}

func decodeCount(key, v []byte) (r countRow, err error) {
	d := record.Decoder{Rest: v}
	r.n, r.bytes = d.Int(), int64(d.Uint())
	return r, record.Corrupt(key, d.End())
}

// refusal returns why the queue has no room for a message to its client alone, nil if it
// has. size is that of the payload, bytes.
func (r countRow) refusal(id gateway.ClientID, size int64, b *record.Bounds) error {
	const text = "the queue of client %q has reached its limit of %d %s"
	switch {
	case r.n >= b.MaxQueued:
		return limitError(gateway.CodeQueueFull, b.MaxQueued, text, id, b.MaxQueued, "messages")
	case r.bytes+size > b.MaxQueuedBytes:
		return limitError(gateway.CodeQueueFull, b.MaxQueuedBytes, text, id, b.MaxQueuedBytes, "bytes")
	}
	return nil
}
