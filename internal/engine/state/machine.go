package state

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// Sizes of the machine's caches.
const (
	maxCachedClients  = 32 << 10 // about 0.5 KB each
	maxCachedChunks   = 8 << 10  // 0.6 KB each
	maxCachedHeads    = 8 << 10  // 0.2 KB each
	maxCachedAccounts = 1 << 10  // 0.2 KB each
	maxCachedHoards   = 16 << 10 // 0.2 KB each

	// maxCachedLabels bounds the bytes of the cached clients' rows beyond usualRow each:
	// their labels and groups, which take about twice the room in memory.
	maxCachedLabels = 16 << 20
	usualRow        = 512
)

// Machine applies records: Begin, Apply for each event, Finish. It belongs to
// one goroutine. Its caches hold the same rows as the database, with the changes of
// all earlier records; after an error it is thrown away.
type Machine struct {
	writes                 // of the record under way; reads see them
	record  *record.Commit // under way
	era     uint64         // of its boot
	events  eventLog       // of the record under way
	State   Standing       // with the events applied so far
	bounds  record.Bounds
	writers eras
	clients map[gateway.ClientID]*client
	// labelBytes counts what maxCachedLabels bounds: of rows that were read or written since
	// the cache of clients was emptied.
	labelBytes int
	chunks     map[chunkID]*chunk
	heads      map[gateway.Seq]*head
	accounts   map[string]*account
	hoards     map[gateway.ClientID]*hoard
	dirty      struct {
		clients  []*client
		chunks   []*chunk
		heads    []*head
		accounts []*account
		hoards   []*hoard
	}
	notices *Feed // of the record under way
	// counts has the clients whose queues the record under way has changed; one
	// may be in it more than once.
	counts []*client
	buf    []byte // of the row that is being written
	recent *recentMessages
	queued recentQueued
	caches Caches
}

// client is a client as the machine caches it.
type client struct {
	id gateway.ClientID
	clientRow
	countRow
	dirty      bool // in the dirty list
	rowDirty   bool
	countDirty bool
	loaded     bool // countRow and full are known
	full       bool // has an f row
	gone       bool // forgotten in this record
}

type head struct {
	seq gateway.Seq
	headRow
	dirty bool
}

// Caches is how many entries each cache of a machine may have between two records.
// Their sizes change the speed and nothing else.
type Caches int

const (
	CachesFull  Caches = 0  // the sizes that are meant
	CachesEmpty Caches = -1 // nothing is kept
)

// of returns the size of a cache that is meant to have n entries.
func (c Caches) of(n int) int {
	if c == CachesFull {
		return n
	}
	return max(0, int(c))
}

// NewMachine returns a machine that continues the state in base.
func NewMachine(base Base, c Caches) (*Machine, error) {
	m := &Machine{writes: writes{base: base}, clients: map[gateway.ClientID]*client{}, chunks: map[chunkID]*chunk{},
		heads: map[gateway.Seq]*head{}, accounts: map[string]*account{}, hoards: map[gateway.ClientID]*hoard{}, queued: make(recentQueued, c.of(recentQueuedRows)), caches: c}
	var err error
	if m.State, err = ReadStanding(base); err != nil {
		return nil, err
	}
	if m.bounds, err = ReadBounds(base); err != nil {
		return nil, err
	}
	if m.writers, err = readWriters(base); err != nil {
		return nil, err
	}
	m.recent, err = newRecentMessages(base, c.of(recentGeneration))
	return m, err
}

// Begin starts a record. It ends the validity of the changes of the one before.
func (m *Machine) Begin(r *record.Commit) {
	m.drop()
	m.record, m.era = r, m.writers[r.Writer].era
	m.events.begin(r.At)
	m.counts = m.counts[:0]
	m.notices = takeNotices()
}

// Applied is the outcome of a record, beside the results of its events.
type Applied struct {
	Changes Changes // valid until the next record begins
	Feed    *Feed
	Waiting []waitingChange
	State   Standing // behind the record
}

// Finish completes the record, which has the position pos.
func (m *Machine) Finish(pos uint64) (a Applied, err error) {
	r := m.record
	m.State.Pos = pos
	m.State.follow(r.At)
	m.noteWriter(r)
	m.flush()
	m.evict()
	m.storeEvents()
	m.seal(r)
	m.set(keyState, m.State.encode())
	a.Feed, a.State = m.notices, m.State
	m.notices, m.record = nil, nil
	if a.Changes, err = m.take(); err == nil {
		a.Waiting = m.takeWaiting()
	}
	return a, err
}

// Abort gives up the record under way; the machine is of no more use.
func (m *Machine) Abort() { m.drop() }

// ApplyAll applies a record as a whole. An error names the event that the record could
// not be applied for: nothing of it may be stored, and the machine is of no more use.
func (m *Machine) ApplyAll(r *record.Commit, pos uint64, results []Result) (a Applied, err error) {
	m.Begin(r)
	for i, e := range r.Events {
		if err = m.Apply(e, &results[i]); err != nil {
			m.Abort()
			return a, fmt.Errorf("event %d of the record, of kind %d: %w", i+1, e.Kind(), err)
		}
	}
	return m.Finish(pos)
}

// takeWaiting returns the changes of the clients' queues.
func (m *Machine) takeWaiting() []waitingChange {
	changes := make([]waitingChange, len(m.counts))
	for i, c := range m.counts {
		changes[i] = waitingChange{c.ord, c.n > 0}
	}
	clear(m.counts)
	m.counts = m.counts[:0]
	return changes
}

// flush writes the dirty rows of the caches into the batch, so that scans see them.
func (m *Machine) flush() {
	slices.SortFunc(m.dirty.clients, func(a, b *client) int { return cmp.Compare(a.ord, b.ord) }) // see writes
	for _, c := range m.dirty.clients {
		c.dirty = false
		if c.gone {
			continue
		}
		if c.rowDirty {
			k := clientKey(c.id)
			row := c.clientRow.encode(k)
			m.set(k, row)
			m.labelBytes += max(0, len(row)-usualRow)
		}
		if c.countDirty {
			m.counts = append(m.counts, c)
			if k := countKey(c.ord); c.n == 0 {
				m.del(k)
			} else {
				m.set(k, c.countRow.encode())
			}
		}
		c.rowDirty, c.countDirty = false, false
	}
	for _, c := range m.dirty.chunks {
		c.dirty = false
		if v := c.bits.Encode(); v != nil {
			k := c.id.key()
			m.set(k, record.PutSum(k, v))
			c.stored = true
		} else if c.stored {
			m.del(c.id.key())
			c.stored = false
		}
	}
	for _, h := range m.dirty.heads {
		h.dirty = false
		k := headKey(h.seq)
		m.set(k, h.headRow.encode(k))
	}
	m.flushCounts()
	m.dirty.clients, m.dirty.chunks, m.dirty.heads = m.dirty.clients[:0], m.dirty.chunks[:0], m.dirty.heads[:0]
}

// evict keeps the caches within their bounds. Nothing in them is dirty.
func (m *Machine) evict() {
	most := m.caches.of(maxCachedClients)
	if m.labelBytes > maxCachedLabels {
		most = 0
	}
	if len(m.clients) > most {
		m.labelBytes = 0
	}
	evict(m.clients, most)
	evict(m.accounts, m.caches.of(maxCachedAccounts))
	evict(m.hoards, m.caches.of(maxCachedHoards))
	evict(m.chunks, m.caches.of(maxCachedChunks))
	evict(m.heads, m.caches.of(maxCachedHeads))
}

// evict empties a cache with more than most entries.
func evict[K comparable, V any](cache map[K]V, most int) {
	if len(cache) > most {
		clear(cache)
	}
}

// client returns a known client, nil for an unknown one.
func (m *Machine) client(id gateway.ClientID) (*client, error) {
	if c := m.clients[id]; c != nil {
		return c, nil
	}
	k := clientKey(id)
	v, err := m.get(k)
	if err != nil || v == nil {
		return nil, err
	}
	row, err := decodeClient(k, v)
	if err != nil {
		return nil, err
	}
	m.labelBytes += max(0, len(v)-usualRow)
	c := &client{id: id, clientRow: row}
	m.clients[id] = c
	return c, nil
}

// load reads the client's counters, which an ack of a bit does not need.
func (m *Machine) load(c *client) error {
	if c.loaded {
		return nil
	}
	n, err := readRow(m, countKey(c.ord), decodeCount)
	if err != nil {
		return err
	}
	if n != nil {
		v, err := m.get(fullKey(c.ord))
		if err != nil {
			return err
		}
		c.countRow, c.full = *n, v != nil
	}
	c.loaded = true
	return nil
}

// counted is client, with its counters.
func (m *Machine) counted(id gateway.ClientID) (*client, error) {
	c, err := m.client(id)
	if err == nil && c != nil {
		err = m.load(c)
	}
	return c, err
}

func (m *Machine) clientByOrdinal(o record.Ordinal) (*client, error) {
	v, err := m.get(ordinalKey(o))
	if err != nil {
		return nil, err
	}
	c, err := m.counted(gateway.ClientID(v))
	if err == nil && (c == nil || c.ord != o) {
		return nil, record.Corrupt(ordinalKey(o), fmt.Errorf("no client %q with this ordinal", v))
	}
	return c, err
}

// newClient makes a client known. Its epochs rise from the highest epoch of all forgotten
// clients, so that they differ from those of an earlier client with the same id.
func (m *Machine) newClient(id gateway.ClientID, createdAt int64, account string) (*client, error) {
	c := &client{id: id, loaded: true}
	a, err := m.account(account)
	if err != nil {
		return nil, err
	}
	a.clients++
	m.touchAccount(a)
	c.account = account
	c.ord, c.createdAt, c.rowDirty, c.epoch = m.State.nextOrdinal, createdAt, true, m.State.epoch
	m.State.nextOrdinal++
	m.State.Clients++
	m.set(ordinalKey(c.ord), []byte(id))
	m.clients[id] = c
	m.touch(c)
	return c, m.setBit(knownChunk(record.ChunkOf(c.ord)), c.ord, true)
}

func (m *Machine) touch(c *client) {
	if !c.dirty {
		c.dirty = true
		m.dirty.clients = append(m.dirty.clients, c)
	}
}

// count changes how much is queued for a client alone, and keeps its f row.
func (m *Machine) count(c *client, n int, bytes int64) {
	c.n += n
	c.countRow.bytes += bytes
	c.countDirty = true
	m.touch(c)
	full := c.n >= m.bounds.MaxQueued
	if full && !c.full {
		m.set(fullKey(c.ord), nil)
	} else if !full && c.full {
		m.del(fullKey(c.ord))
	}
	c.full = full
}

// bound puts bounds in force. The f rows follow a change of the bound of queues.
func (m *Machine) bound(b record.Bounds) error {
	was := m.bounds.MaxQueued
	m.bounds = b
	m.set(keyBounds, record.PutSum(keyBounds, b.Encode(nil)))
	if was == b.MaxQueued {
		return nil
	}
	if err := m.deleteWith([]byte{kindFull}); err != nil {
		return err
	}
	var full []record.Ordinal
	err := m.each([]byte{kindCount}, []byte{kindCount + 1}, func(k, val []byte) (bool, error) {
		n, err := decodeCount(k, val)
		if n.n >= b.MaxQueued {
			full = append(full, record.Ordinal(tail32(k)))
		}
		return true, err
	})
	for _, o := range full {
		m.set(fullKey(o), nil)
	}
	for _, c := range m.clients {
		c.full = c.loaded && c.n >= b.MaxQueued
	}
	return err
}

// head returns the head of a message to many, nil when seq is none.
func (m *Machine) head(seq gateway.Seq) (*head, error) {
	if h := m.heads[seq]; h != nil {
		return h, nil
	}
	row, err := readRow(m, headKey(seq), decodeHead)
	if err != nil || row == nil {
		return nil, err
	}
	h := &head{seq: seq, headRow: *row}
	m.heads[seq] = h
	return h, nil
}

// knownHead is head of a message to many that exists.
func (m *Machine) knownHead(seq gateway.Seq) (*head, error) {
	h, err := m.head(seq)
	if err == nil && h == nil {
		err = missing(headKey(seq))
	}
	return h, err
}

func (m *Machine) touchHead(h *head) {
	if !h.dirty {
		h.dirty = true
		m.dirty.heads = append(m.dirty.heads, h)
	}
}

// keysWith returns copies of the keys that start with prefix, the caches included.
func (m *Machine) keysWith(prefix []byte) (keys [][]byte, err error) {
	m.flush()
	err = m.each(prefix, afterPrefix(prefix), func(k, _ []byte) (bool, error) {
		keys = append(keys, slices.Clone(k))
		return true, nil
	})
	return keys, err
}

// deleteWith deletes the rows whose keys start with prefix.
func (m *Machine) deleteWith(prefix []byte) error {
	keys, err := m.keysWith(prefix)
	for _, k := range keys {
		m.del(k)
	}
	return err
}
