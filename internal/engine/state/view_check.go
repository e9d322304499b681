package state

import (
	"errors"
	"fmt"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// Findings are the counts of the rows, and the problems in them.
type Findings struct {
	Position uint64 // of the last record
	Rows     int

	Clients    int
	Messages   int
	Queued     int // deliveries that are not final
	Uplinks    int
	Keys       int // idempotency keys
	Broadcasts int // messages in bitmap form that are not completed

	// Problems are the first things found wrong, at most maxProblems of them;
	// Count is how many there were.
	Problems []string
	Count    int
}

const maxProblems = 100

// OK reports whether nothing was found wrong.
func (r *Findings) OK() bool { return r.Count == 0 }

// Problem notes one thing that is wrong.
func (r *Findings) Problem(format string, args ...any) {
	if r.Count++; len(r.Problems) < maxProblems {
		r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
	}
}

// verifier walks all rows of a view.
type verifier struct {
	*View
	r        *Findings
	expiry   int
	perOrd   map[record.Ordinal]countRow // queued rows found
	pending  int                         // messages that are not completed
	online   int64                       // clients, by their rows
	onBits   int64                       // clients, by the online bitmaps
	event    uint64                      // last number in the rows of events
	bytes    int64                       // of the rows of events
	accounts map[string]accountRow       // counted by the rows of clients and uplinks
	hoards   map[gateway.ClientID]int64  // bytes of the uplinks of a client
	uplinks  int64                       // bytes of all
}

// Check reads all rows, and compares them with each other and with the counts of the
// state.
func (v *View) Check(r *Findings) {
	c := &verifier{View: v, r: r, perOrd: map[record.Ordinal]countRow{}, accounts: map[string]accountRow{}, hoards: map[gateway.ClientID]int64{}}
	r.Position = v.State.Pos
	for _, step := range []struct {
		kind byte
		row  func(k, val []byte) error
	}{
		{kindQueued, c.queuedRow}, {kindClient, c.clientRow}, {kindOrdinal, nil}, {kindCount, c.countRow},
		{kindFull, nil}, {kindForgotten, sound(decodeForgotten)}, {kindKnown, c.bitsRow}, {kindGroup, c.bitsRow}, {kindLabel, c.bitsRow},
		{kindMessage, c.message}, {kindFinal, c.settledRow}, {kindSparse, c.settledRow}, {kindUnknown, c.settledRow},
		{kindHead, sound(decodeHead)}, {kindBits, c.queuedBits}, {kindStateBits, c.bitsRow}, {kindExpiry, c.expiryRow},
		{kindRetention, c.retentionRow}, {kindIdempotent, c.keyRow}, {kindKeyAge, nil}, {kindUplink, c.uplinkRow},
		{kindUplinkSeq, sound(decodeArrival)}, {kindHoard, c.hoardRow}, {kindAccount, c.accountRow}, {kindOnline, c.onlineBits},
		{kindEvents, c.events}, {kindEntry, sound(record.CheckSum)}, {kindWriter, sound(decodeWriter)}, {kindEraEnd, sound(decodeEraEnd)}, {kindMeta, c.metaRow},
	} {
		err := v.each([]byte{step.kind}, []byte{step.kind + 1}, false, func(k, val []byte) (bool, error) {
			r.Rows++
			if step.row == nil {
				return true, nil
			}
			if err := step.row(k, val); err != nil {
				r.Problem("row %q: %v", k, err)
			}
			return true, nil
		})
		if err != nil {
			r.Problem("rows of kind %q: %v", step.kind, err)
		}
	}
	c.totals()
}

// sound checks a row for itself.
func sound[T any](decode func(k, val []byte) (T, error)) func(k, val []byte) error {
	return func(k, val []byte) error {
		_, err := decode(k, val)
		return err
	}
}

// totals compares the counted rows with the counts of the state.
func (c *verifier) totals() {
	for _, n := range []struct {
		what      string
		got, want int64
	}{
		{"clients", int64(c.r.Clients), c.State.Clients},
		{"messages", int64(c.r.Messages), c.State.Messages},
		{"queued deliveries", int64(c.r.Queued), c.State.Queued},
		{"messages in bitmap form", int64(c.r.Broadcasts), c.State.bitmaps},
		{"clients in online bitmaps", c.onBits, c.online},
		{"bytes of events", c.bytes, c.State.eventBytes},
		{"bytes of uplinks", c.uplinks, c.State.uplinkBytes},
		{"rows of the expiry index", int64(c.expiry), int64(c.pending)},
	} {
		if n.got != n.want {
			c.r.Problem("%d %s, want %d", n.got, n.what, n.want)
		}
	}
	for id, n := range c.hoards {
		c.r.Problem("client %q has uplinks of %d bytes and no row for them", id, n)
	}
	for name, r := range c.accounts {
		c.r.Problem("account %q has %+v and no row", name, r)
	}
	for o, n := range c.perOrd {
		c.r.Problem("client with ordinal %d has %d queued deliveries that its counter leaves out", o, n.n)
	}
}

func (c *verifier) queuedRow(k, val []byte) error {
	q, err := decodeQueued(k, val)
	if err != nil {
		return err
	}
	c.r.Queued++
	o := record.Ordinal(tail32(k[:5]))
	n := c.perOrd[o]
	n.n++
	n.bytes += q.bytes()
	c.perOrd[o] = n
	row, err := c.messageRow(q.id)
	if err != nil {
		return err
	}
	if row == nil {
		return fmt.Errorf("message %s: %w", q.id, record.ErrMissing)
	}
	if row.seq != gateway.Seq(tail64(k)) {
		return fmt.Errorf("message %s has sequence %d", q.id, row.seq)
	}
	return nil
}

func (c *verifier) countRow(k, val []byte) error {
	n, err := decodeCount(k, val)
	if err != nil {
		return err
	}
	o := record.Ordinal(tail32(k))
	if got := c.perOrd[o]; got != n {
		return fmt.Errorf("%d queued deliveries of %d bytes, the counter says %d of %d", got.n, got.bytes, n.n, n.bytes)
	}
	delete(c.perOrd, o)
	return nil
}

func (c *verifier) clientRow(k, val []byte) error {
	row, err := decodeClient(k, val)
	if err != nil {
		return err
	}
	c.r.Clients++
	if name := row.owner(); name != "" {
		a := c.accounts[name]
		a.clients++
		c.accounts[name] = a
	}
	name, err := c.nameOf(row.ord)
	if err != nil {
		return err
	}
	if name != gateway.ClientID(k[1:]) {
		return fmt.Errorf("ordinal %d belongs to %q", row.ord, name)
	}
	eras, err := c.eras()
	if err != nil {
		return err
	}
	ids := append(row.bitmaps(), knownChunk(record.ChunkOf(row.ord)))
	if eras.live(row.connectedIn) {
		c.online++
		ids = append(ids, onlineChunk(row.connectedIn, record.ChunkOf(row.ord)))
	}
	for _, id := range ids {
		set, err := c.chunk(id)
		if err != nil {
			return err
		}
		if !set.Has(row.ord) {
			return fmt.Errorf("bitmap %q leaves it out", id.key())
		}
	}
	return nil
}

func (c *verifier) accountRow(k, val []byte) error {
	got, err := decodeAccount(k, val)
	got.events = hourly{} // which no other row has
	if want := c.accounts[string(k[1:])]; err == nil && got != want {
		err = fmt.Errorf("has %+v, want %+v", got, want)
	}
	delete(c.accounts, string(k[1:]))
	return err
}

func (c *verifier) bitsRow(k, val []byte) error {
	var set record.Bitset
	return decodeChunk(&set, k, val)
}

func (c *verifier) onlineBits(k, val []byte) error {
	var set record.Bitset
	if err := decodeChunk(&set, k, val); err != nil {
		return err
	}
	c.onBits += int64(set.Count())
	eras, err := c.eras()
	if era := tail64(k[:9]); err == nil && !eras.live(era) {
		err = fmt.Errorf("era %d is over", era)
	}
	return err
}

func (c *verifier) events(k, val []byte) error {
	events, err := DecodeEvents(k, val)
	if err != nil {
		return err
	}
	c.bytes += int64(len(k) + len(val))
	for _, e := range events {
		if e.Number <= c.event || e.last() > c.State.Event {
			return fmt.Errorf("%d events from number %d, after %d; the last is %d", e.N, e.Number, c.event, c.State.Event)
		}
		c.event = e.last()
		if n := e.Clients.Count(); n != 0 && n != e.N {
			return fmt.Errorf("event %d is of %d clients and has taken %d numbers", e.Number, n, e.N)
		}
	}
	return nil
}

func (c *verifier) queuedBits(k, val []byte) error {
	var set record.Bitset
	if err := decodeChunk(&set, k, val); err != nil {
		return err
	}
	c.r.Queued += set.Count()
	return nil
}

func (c *verifier) message(k, val []byte) error {
	row, err := decodeMessage(k, val)
	if err != nil {
		return err
	}
	c.r.Messages++
	msg, err := c.View.message(&row)
	if err != nil {
		return err
	}
	if got := msg.Counts.Queued + msg.Counts.Final(); got != msg.Counts.Total {
		return fmt.Errorf("%d deliveries, %d in states", msg.Counts.Total, got)
	}
	index := retentionKey(record.Nanos(msg.CompletedAt), row.id)
	if !msg.Completed() {
		c.pending++
		index = expiryKey(row.expiresAt, row.seq)
	}
	if v, err := c.get(index); err != nil || v == nil {
		return errors.Join(err, fmt.Errorf("row %q: %w", index, record.ErrMissing))
	}
	if row.form == formBitmap {
		return c.bits(&row)
	}
	return c.recipients(&row)
}

// recipients checks that each recipient has exactly one row.
func (c *verifier) recipients(row *messageRow) error {
	for _, o := range row.recipients() {
		q, err := c.get(queueKey(o, row.seq))
		if err != nil {
			return err
		}
		f, err := c.finalRow(finalKey(o, row.seq))
		if err != nil {
			return err
		}
		if (q != nil) == (f != nil) {
			return fmt.Errorf("recipient %d: queued %t and final %t", o, q != nil, f != nil)
		}
	}
	return nil
}

// bits checks that each recipient has exactly one bit, and the counts.
func (c *verifier) bits(row *messageRow) error {
	h, err := c.head(row.seq)
	if err != nil {
		return err
	}
	if h.count[gateway.Queued] > 0 {
		c.r.Broadcasts++
		if h.account != "" {
			a := c.accounts[h.account]
			a.bitmaps++
			c.accounts[h.account] = a
		}
	}
	var got [gateway.Failed + 1]int
	total := 0
	for n := range h.chunks {
		var all record.Bitset
		sum := 0
		for _, s := range bitStates {
			set, err := c.chunk(stateChunk(row.seq, s, n))
			if err != nil {
				return err
			}
			got[s] += set.Count()
			sum += set.Count()
			all.Or(&set)
		}
		if all.Count() != sum {
			return fmt.Errorf("chunk %d: a recipient is in two states", n)
		}
		total += sum
	}
	if got != h.count || total != h.total {
		return fmt.Errorf("bits count %v of %d, the head says %v of %d", got, total, h.count, h.total)
	}
	return nil
}

func (c *verifier) settledRow(k, val []byte) error {
	f, err := decodeFinal(k, val)
	if err == nil && !f.state.Final() {
		err = fmt.Errorf("state %v is not final", f.state)
	}
	return err
}

func (c *verifier) expiryRow(_, val []byte) error {
	c.expiry++
	return c.indexed(val)
}

func (c *verifier) retentionRow(k, _ []byte) error { return c.indexed(k[9:]) }

// indexed checks that the message exists that an index has.
func (c *verifier) indexed(id []byte) error {
	row, err := c.messageRow(record.ParseID(id))
	if err == nil && row == nil {
		err = record.ErrMissing
	}
	return err
}

func (c *verifier) keyRow(k, val []byte) error {
	c.r.Keys++
	_, err := decodeKey(k, val)
	return err
}

func (c *verifier) metaRow(k, val []byte) (err error) {
	switch string(k) {
	case string(keyState):
		_, err = decodeState(val)
	case string(keyBounds):
		_, err = decodeBounds(k, val)
	}
	return err // others are package disk's
}

func (c *verifier) uplinkRow(k, val []byte) error {
	c.r.Uplinks++
	u, err := decodeUplink(k, val)
	if err != nil {
		return err
	}
	place := key64(kindUplinkSeq, u.Seq)
	raw, err := c.get(place)
	if err != nil {
		return err
	}
	a, err := decodeArrival(place, raw)
	switch size := int64(len(k) + len(val)); {
	case err != nil:
		return err
	case a.client != u.Client:
		return fmt.Errorf("the order of arrival says %q", a.client)
	case a.size == size:
		c.hoards[u.Client] += size
		c.uplinks += size
	case a.size != 0:
		return fmt.Errorf("has %d bytes, the order of arrival says %d", size, a.size)
	}
	return nil
}

func (c *verifier) hoardRow(k, val []byte) error {
	id := gateway.ClientID(k[1:])
	r, err := decodeHoard(k, val)
	if want := c.hoards[id]; err == nil && r.bytes != want {
		err = fmt.Errorf("has %d bytes, want %d", r.bytes, want)
	}
	delete(c.hoards, id)
	if r.account != "" {
		a := c.accounts[r.account]
		a.uplinkBytes += r.bytes
		c.accounts[r.account] = a
	}
	return err
}
