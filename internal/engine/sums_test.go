package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/journaltest"
	"github.com/longwire/longwire/internal/engine/record"
	"github.com/longwire/longwire/internal/engine/state"
)

// sums are checksums of one log.
type sums struct {
	records string // the events as they stand in records
	answers string // of the calls, and the observer's changes
	rows    string // all rows but the log's name, after replays in records of 1, 7 and 512 events: half-way and at the end
}

// A log with every kind of event has the bytes, the rows and the answers that it had
// when these sums were noted. Another sum is another format: then a migration reads
// the stores and records of the version before.
func TestRowsStayTheSame(t *testing.T) {
	alone(t)
	for name, want := range map[string]sums{
		"rows": {records: "04c2a414bbcdf1bc41907958", answers: "a90fca93f1fd349ac4088d1b",
			rows: "471be42daae6ebc7770a4c37 8d9e75c65b34e6cb53d08984 " +
				"e44dd0c2b2f488a21926c9c3 2002799d0f31155d7633a583 e44dd0c2b2f488a21926c9c3 2002799d0f31155d7633a583 "},
		"bitmaps": {records: "8b2968c1f964a2bb74645e1a", answers: "9f99c2912c71038395835427",
			rows: "a33e1e2d6878c7b5c9cb8426 3de35d15cbfd7d5898a3caa0 " +
				"6db26d7b6d976e88f5644b8d 91dbf9b2a547fcbf90cc187d 6db26d7b6d976e88f5644b8d 91dbf9b2a547fcbf90cc187d "},
	} {
		t.Run(name, func(t *testing.T) {
			var got sums
			s := newSchedule(t, name == "bitmaps")
			for range 6000 {
				s.step()
			}
			half := len(s.events())
			s.forget()
			events := s.events()
			got.records, got.answers = eventSum(events), hexSum(s.answers)
			sizes := []int{1, 7, maxRecordEvents}
			if underRace { // one goroutine replays: the detector has little to see
				sizes, want.rows = nil, ""
			}
			for _, size := range sizes {
				for _, upTo := range []int{half, len(events)} {
					r := replay(t, state.CachesFull)
					for i, raw := range regrouped(events[:upTo], size) {
						r.apply(uint64(i+1), raw)
					}
					r.verify()
					got.rows += rowSum(t, r.db, size == 1)
				}
			}
			if got != want {
				t.Errorf("%d events have the sums\n%#v, want\n%#v", len(events), got, want)
			}
			kinds := map[record.Kind]int{}
			for _, e := range events {
				kinds[e.Kind()]++
			}
			for k := record.KindAccept; k <= record.KindRemoveClient; k++ {
				if kinds[k] == 0 && k != record.KindAckThrough && k != record.KindProbe {
					t.Errorf("no event of kind %d", k)
				}
			}
		})
	}
}

// schedule makes calls in an order that a seed gives, one after the other, with ids
// and times of its own.
type schedule struct {
	t       *testing.T
	e       *Engine
	j       *journaltest.Log
	bitmaps bool
	rng     *rand.Rand
	now     time.Time
	ids     uint64
	answers hash.Hash
	sent    []gateway.Settlement // to be settled, not all for the first time
	keys    []gateway.Acceptance // that had an idempotency key
}

func newSchedule(t *testing.T, bitmaps bool) *schedule {
	s := &schedule{t: t, j: journaltest.NewLog("log", 1, journaltest.Faults{}), bitmaps: bitmaps, rng: rand.New(rand.NewPCG(11, 12)),
		now: time.Date(2031, 2, 3, 4, 5, 6, 789, time.UTC), answers: sha256.New()}
	o := s.options(vfs.NewMem())
	o.Journal = s.j
	s.e = openTest(t, o)
	s.e.Observe(s)
	return s
}

func (s *schedule) options(fs vfs.FS) Options {
	return Options{FS: fs, Dir: "data", SweepEvery: -1, MemTableBytes: 1 << 20, bitmapsOnly: s.bitmaps, Now: func() time.Time { return s.now },
		MaxQueued: 10, MaxQueuedBytes: 3 << 10, ForgetAfter: 48 * time.Hour, UplinkRetention: 3 * time.Hour, StatusRetention: 2 * time.Hour,
		EventRetention: 100_000 * time.Hour} // its proposals would depend on how events share records
}

// Changed notes all changes, and remembers deliveries to settle.
func (s *schedule) Changed(list []gateway.Change) {
	for _, c := range list {
		switch c := c.(type) {
		case *gateway.Accepted:
			s.note(*c)
			s.sent = append(s.sent, gateway.Settlement{Delivery: gateway.Delivery{Message: c.Transmission.Message, Client: c.Client, Seq: c.Transmission.Seq}})
		case *gateway.EventsLogged: // one for each record, and some events may share one
		case *gateway.AcceptedMany:
			s.note(c.Message, c.Seq, c.Total)
			for _, i := range s.rng.Perm(clientsOfSchedule)[:20] {
				s.sent = append(s.sent, gateway.Settlement{Delivery: gateway.Delivery{Message: c.Message, Client: clientOfSchedule(i), Seq: c.Seq}})
			}
		case *gateway.Settlement:
			done := gateway.Message{}
			if c.Completed != nil {
				done = *c.Completed
			}
			s.note(c.Delivery, c.Late, done)
		default:
			s.note(c)
		}
	}
}

func (s *schedule) note(what ...any) {
	for _, w := range what {
		fmt.Fprintf(s.answers, "%T %+v\n", w, w)
	}
}

const clientsOfSchedule = 300

func clientOfSchedule(n int) gateway.ClientID { return gateway.ClientID(fmt.Sprintf("client-%03d", n)) }

func (s *schedule) client() gateway.ClientID { return clientOfSchedule(s.rng.IntN(clientsOfSchedule)) }

// do sends an event through the log and notes the answer.
func (s *schedule) do(ev record.Event) {
	s.t.Helper()
	r, err := s.e.do(s.t.Context(), ev)
	if gateway.CodeOf(err) == gateway.CodeUnavailable {
		s.t.Fatal(err)
	}
	s.note(r.Receipt, r.Message, r.Record, r.Given, r.N, r.Useq, fmt.Sprint(err))
}

func (s *schedule) step() {
	s.now = s.now.Add(time.Duration(s.rng.IntN(20_000)) * time.Millisecond)
	switch s.rng.IntN(40) {
	case 0, 1:
		s.do(&record.Register{Registration: s.registration()})
	case 2:
		s.disconnect(s.client(), "gone away")
	case 3:
		id, change := s.client(), s.change()
		s.do(&record.Update{Client: id, Change: change, Account: change.Account})
	case 4, 5:
		s.do(&record.Uplink{Uplink: gateway.Uplink{Client: s.client(), Session: "s1", Number: s.rng.Uint64N(9), At: s.now, Payload: s.payload()}})
	case 6:
		s.do(&record.Purge{Client: s.client(), At: s.now})
	case 7:
		if len(s.sent) > 0 {
			s.do(&record.Cancel{ID: s.sent[s.rng.IntN(len(s.sent))].Delivery.Message, At: s.now})
		}
	case 8:
		if err := s.e.Expire(s.now); err != nil {
			s.t.Fatal(err)
		}
	case 9:
		if s.rng.IntN(2) == 0 {
			s.do(&record.Probe{})
		} else {
			s.do(&record.RemoveClient{Client: s.client(), At: s.now})
		}
	case 32:
		s.do(&record.Note{Event: gateway.Event{Type: gateway.EventWebhookDisabled, At: s.now, Reason: "gone", Detail: "it answered 410"}})
	case 33:
		key := fmt.Sprint("k", s.rng.IntN(9))
		s.do(&record.Put{Entries: []gateway.Entry{{Key: key, Value: s.payload()}, {Key: "gone"}}})
	case 10, 11, 12, 13, 14, 15, 16, 17, 18, 19:
		s.settle()
	default:
		s.accept()
	}
}

// disconnect ends the session of a client, or one that is over already.
func (s *schedule) disconnect(id gateway.ClientID, reason string) {
	rec, _ := s.e.Client(id) // none is known of a stranger
	epoch := rec.Epoch
	if s.rng.IntN(5) == 0 {
		epoch--
	}
	s.do(&record.Disconnected{Disconnection: gateway.Disconnection{Client: id, Epoch: epoch, At: s.now, Reason: reason}})
}

func (s *schedule) registration() gateway.Registration {
	r := gateway.Registration{Client: s.client(), At: s.now, Account: fmt.Sprint("t", s.rng.IntN(2))}
	if s.rng.IntN(3) > 0 {
		r.Reported = map[string]string{"colour": []string{"red", "blue"}[s.rng.IntN(2)], "n": fmt.Sprint(s.rng.IntN(4))}
	}
	if s.rng.IntN(3) > 0 {
		r.Groups = []string{"all", fmt.Sprint("g", s.rng.IntN(4))}
		r.Guarded = map[string]bool{"g3": true}
	}
	if s.rng.IntN(50) == 0 {
		r.Reported = map[string]string{"not a key": ""}
	}
	return r
}

func (s *schedule) change() gateway.ClientChange {
	c := gateway.ClientChange{Labels: map[string]*string{"colour": new([]string{"red", "blue"}[s.rng.IntN(2)]), "n": nil}}
	if s.rng.IntN(3) > 0 {
		c.Labels["n"] = new(fmt.Sprint(s.rng.IntN(4)))
	}
	if s.rng.IntN(2) == 0 {
		c.Groups, c.Account = &[]string{"g3", "g1"}, "group:g3"
	}
	if s.rng.IntN(4) == 0 {
		until := s.now.Add(time.Minute)
		c.BlockedUntil = &until
	}
	return c
}

func (s *schedule) payload() []byte {
	b := make([]byte, s.rng.IntN(400))
	for i := range b {
		b[i] = byte(s.rng.Uint32())
	}
	return b
}

// settle gives a delivery an outcome, often one that it has already.
func (s *schedule) settle() {
	if len(s.sent) == 0 {
		return
	}
	at := len(s.sent) - 1 - min(s.rng.IntN(len(s.sent)), s.rng.IntN(len(s.sent)))
	d := s.sent[at].Delivery
	o := gateway.Outcome{Message: d.Message, Client: d.Client, Seq: d.Seq, State: gateway.Acked, Attempts: 1 + s.rng.IntN(3), SentAt: s.now.Add(-time.Second), At: s.now}
	if rec, err := s.e.Client(d.Client); err == nil && s.rng.IntN(2) == 0 {
		o.Ref = rec.Ref
	}
	switch s.rng.IntN(8) {
	case 0:
		o.State, o.Reason, o.Result = gateway.Rejected, gateway.ReasonDeviceRejected, []byte("no")
	case 1:
		o.State, o.Reason = gateway.Failed, gateway.ReasonAttemptsUsedUp
	case 2:
		o.Result = []byte("done")
	case 3:
		o.Message = ""
	case 4:
		o.Seq = 0
	}
	s.do(record.NewSettle(o))
}

func (s *schedule) accept() {
	s.ids++
	a := gateway.Acceptance{ID: gateway.MessageID(fmt.Sprintf("msg_%08x-0000-7000-8000-%012x", s.ids, s.ids)), Payload: s.payload(), CreatedAt: s.now,
		ExpiresAt: s.now.Add(time.Duration(1+s.rng.IntN(7200)) * time.Second), QueueUnknown: s.rng.IntN(2) == 0, Owner: "owner",
		Encoding: gateway.EncodingJSON, Metadata: map[string]string{"b": "2", "a": "1"}}
	if s.rng.IntN(30) == 0 {
		a.ID = gateway.MessageID(fmt.Sprint("by hand ", s.rng.IntN(40)))
	}
	switch s.rng.IntN(20) {
	case 0:
		a.To.All = true
	case 1:
		a.To.Group = fmt.Sprint("g", s.rng.IntN(5))
	case 2:
		a.To.Labels = map[string]string{"colour": "red", "n": fmt.Sprint(s.rng.IntN(4))}
	case 3:
		a.To.Clients = []gateway.ClientID{s.client(), s.client(), "stranger", s.client()}
	case 4:
		a.To.Group = "all"
		a.Only = func(id gateway.ClientID) bool { return id[len(id)-1]%2 == 0 }
	case 5, 6:
		a.To.Client = clientOfSchedule(7) // its queue becomes full
	default:
		a.To.Client = s.client()
	}
	if s.rng.IntN(5) == 0 {
		a.IdempotencyKey, a.Scope, a.Fingerprint[3] = fmt.Sprint("key", s.ids), "scope", 9
		s.keys = append(s.keys, a)
	}
	if len(s.keys) > 0 && s.rng.IntN(10) == 0 {
		k := s.keys[s.rng.IntN(len(s.keys))]
		a.IdempotencyKey, a.Scope, a.Fingerprint[3] = k.IdempotencyKey, "scope", byte(9+s.rng.IntN(2))
	}
	r, err := s.e.Accept(context.Background(), a)
	if gateway.CodeOf(err) == gateway.CodeUnavailable {
		s.t.Fatal(err)
	}
	s.note(r, fmt.Sprint(err))
}

// forget lets most of what is stored end, and part of it be removed.
func (s *schedule) forget() {
	for _, d := range []time.Duration{time.Hour, 3 * time.Hour, 30 * time.Hour, 40 * 24 * time.Hour} {
		s.now = s.now.Add(d)
		if err := s.e.Expire(s.now); err != nil {
			s.t.Fatal(err)
		}
		for range 300 {
			s.step()
		}
	}
	for id := range clientsOfSchedule / 2 {
		s.disconnect(clientOfSchedule(id), "the end")
	}
	s.now = s.now.Add(50 * time.Hour)
	if err := s.e.Expire(s.now); err != nil {
		s.t.Fatal(err)
	}
	s.do(&record.ForgetEvents{Through: 3000, Max: 10_000})
}

// events are those of the log, each once: a record that is long under way is handed over
// again, and the state knows it by its number.
func (s *schedule) events() (all []record.Event) {
	s.t.Helper()
	last := uint64(0)
	for pos := uint64(1); pos <= s.j.End(); pos++ {
		r, err := record.Decode(s.j.At(pos))
		if err != nil {
			s.t.Fatal(err)
		}
		if r.N > last {
			all, last = append(all, r.Events...), r.N
		}
	}
	return all
}

// eventSum sums records in which nothing differs from start to start.
func eventSum(events []record.Event) string {
	h := sha256.New()
	for _, raw := range regrouped(events, 5) {
		h.Write(raw)
	}
	return hexSum(h)
}

// regrouped puts events into records of n of one writer.
func regrouped(events []record.Event, n int) (raw [][]byte) {
	for chunk := range slices.Chunk(events, n) {
		seq := uint64(len(raw) + 1)
		r := &record.Commit{Writer: 0x1234, Boot: 1, N: seq, At: 1e18 + int64(seq), Events: chunk}
		raw = append(raw, bytes.Clone(r.Encode()))
	}
	return raw
}

// rowSum sums all rows. The rows of the log's position depend on
// the size of records, and so do those of events; they count only if whole is set.
func rowSum(t *testing.T, db *pebble.DB, whole bool) string {
	t.Helper()
	it, err := db.NewIter(&pebble.IterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	for ok := it.First(); ok; ok = it.Next() {
		k, v := it.Key(), it.Value()
		if !whole && (k[0] == '!' || k[0] == 'W' || k[0] == 'T' || k[0] == 'E') {
			continue
		}
		var n [8]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(k)))
		binary.BigEndian.PutUint32(n[4:], uint32(len(v)))
		h.Write(n[:])
		h.Write(k)
		h.Write(v)
	}
	if err := it.Close(); err != nil {
		t.Fatal(err)
	}
	return hexSum(h) + " "
}

func hexSum(h hash.Hash) string { return fmt.Sprintf("%x", h.Sum(nil)[:12]) }
