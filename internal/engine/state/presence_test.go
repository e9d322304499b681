package state

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// world is a database with the machine above it.
type world struct {
	*testing.T
	testDB
	*Machine
	size Caches
	at   time.Time
	told []gateway.Change // by the last record
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, testDB: openDB(t), at: time.Date(2031, 2, 3, 4, 5, 6, 7, time.UTC)}
	w.restart()
	return w
}

// restart begins with what the database has.
func (w *world) restart() {
	w.Helper()
	var err error
	if w.Machine, err = NewMachine(w.testDB, w.size); err != nil {
		w.Fatal(err)
	}
}

// record applies the next record of a writer's last boot, or the first of another.
func (w *world) record(writer, boot uint64, events ...record.Event) []Result {
	w.Helper()
	r := &record.Commit{Writer: writer, Boot: boot, N: w.writers[writer].n + 1, At: w.at.UnixNano(), Events: events}
	if was, _ := w.Boot(writer); was != boot {
		r.N, r.Events = 1, append([]record.Event{&record.Opened{After: was}}, events...)
	}
	results := make([]Result, len(r.Events))
	a, err := w.ApplyAll(r, w.Machine.State.Pos+1, results)
	if err != nil {
		w.Fatal(err)
	}
	w.apply(w.T, &a.Changes)
	w.told = append([]gateway.Change(nil), a.Feed.list...)
	return results[len(results)-len(events):]
}

func (w *world) view() *View {
	w.Helper()
	shared, err := NewShared(w.testDB)
	if err != nil {
		w.Fatal(err)
	}
	return &View{Rows: w.testDB, State: w.Machine.State, Shared: shared}
}

// verify checks all rows.
func (w *world) verify() *Findings {
	w.Helper()
	var f Findings
	w.view().Check(&f)
	for _, p := range f.Problems {
		w.Error(p)
	}
	return &f
}

func (w *world) register(id gateway.ClientID) *record.Register {
	return &record.Register{Registration: gateway.Registration{Client: id, At: w.at}}
}

func (w *world) ends(id gateway.ClientID, epoch uint64) *record.Disconnected {
	return &record.Disconnected{Disconnection: gateway.Disconnection{Client: id, Epoch: epoch, At: w.at, Reason: gateway.ReasonClientClosed}}
}

// online wants the clients that have a bit as connected, by the writers of their eras.
func (w *world) online(want map[uint64][]gateway.ClientID) {
	w.Helper()
	got := map[uint64]int{}
	for writer, row := range w.writers {
		for _, id := range want[writer] {
			c, _, err := w.view().clientRow(id)
			set, err2 := w.view().chunk(onlineChunk(row.era, record.ChunkOf(c.ord)))
			if err != nil || err2 != nil || !set.Has(c.ord) {
				w.Errorf("%s is not online at writer %d; %v, %v", id, writer, err, err2)
			}
		}
		set, _ := w.view().chunk(onlineChunk(row.era, 0))
		if got[writer] = set.Count(); got[writer] != len(want[writer]) {
			w.Errorf("%d clients are online at writer %d, want %q", got[writer], writer, want[writer])
		}
	}
	w.verify()
}

func (w *world) lastClose(id gateway.ClientID, want string) {
	w.Helper()
	rec, err := w.view().Client(id)
	if err != nil || rec.LastClose != want {
		w.Errorf("the last close of %s is %q, %v; want %q", id, rec.LastClose, err, want)
	}
}

// Who is online is a bit per client and writer; the epoch says which session ended.
func TestPresence(t *testing.T) {
	w := newWorld(t)
	w.record(1, 11, w.register("a"), w.register("b"), w.register("c"))
	w.record(2, 21)
	w.online(map[uint64][]gateway.ClientID{1: {"a", "b", "c"}})

	r := w.record(2, 21, w.register("c"), w.ends("c", 1)) // it has moved
	if r[0].Record.Epoch != 2 {
		t.Errorf("the second registration has the epoch %d", r[0].Record.Epoch)
	}
	w.online(map[uint64][]gateway.ClientID{1: {"a", "b"}, 2: {"c"}})

	w.record(1, 11, w.ends("a", 1), w.ends("a", 1), w.ends("b", 2), w.ends("stranger", 1))
	w.online(map[uint64][]gateway.ClientID{1: {"b"}, 2: {"c"}})
	w.lastClose("a", gateway.ReasonClientClosed)

	w.restart()
	w.record(1, 12) // the process of the first writer was killed
	if len(w.told) != 2 || *w.told[0].(*gateway.DisconnectedAll) != (gateway.DisconnectedAll{Reason: gateway.ReasonServerStopped, N: 1}) {
		t.Errorf("told of %+v", w.told)
	}
	w.online(map[uint64][]gateway.ClientID{2: {"c"}})
	w.lastClose("a", gateway.ReasonClientClosed)
	w.lastClose("b", gateway.ReasonServerStopped)
	w.lastClose("c", "")
	w.record(1, 12, w.ends("b", 1)) // a note of a session of the boot that is over
	w.lastClose("b", gateway.ReasonServerStopped)

	if r = w.record(1, 12, w.register("b")); r[0].Record.Epoch != 2 || r[0].Record.LastClose != "" {
		t.Errorf("after the restart: %+v", r[0].Record)
	}
	w.online(map[uint64][]gateway.ClientID{1: {"b"}, 2: {"c"}})

	w.record(1, 13)
	w.record(1, 14)
	if len(w.told) != 0 {
		t.Errorf("with no client online: told of %+v", w.told)
	}
	w.lastClose("b", gateway.ReasonServerStopped)
}

// A message that is forgotten takes no bit of those online with it, although its
// sequence is the number of an era.
func TestPresenceOutlivesMessages(t *testing.T) {
	w := newWorld(t)
	bounds := record.DefaultBounds()
	bounds.SmallAudience = 0
	w.record(1, 11, &record.Bounded{Bounds: bounds}, w.register("a"))
	w.record(1, 11, &record.Accept{Acceptance: gateway.Acceptance{ID: "m", To: gateway.Audience{All: true}, CreatedAt: w.at, ExpiresAt: w.at}},
		w.register("b"), &record.Expire{ID: "m", At: w.at}, &record.ForgetMessage{ID: "m", Through: w.at}, w.register("c"))
	w.online(map[uint64][]gateway.ClientID{1: {"a", "b", "c"}})
}

// Under RejectTwins an id that is connected to one writer may not register with another,
// until it has disconnected or the writer's process is over.
func TestTwinsOfTwoWriters(t *testing.T) {
	w := newWorld(t)
	bounds := record.DefaultBounds()
	bounds.RejectTwins = true
	register := &record.Register{Registration: gateway.Registration{Client: "a", At: w.at}}
	w.record(1, 10, &record.Bounded{Bounds: bounds})
	w.record(2, 20)
	first := w.record(1, 10, register)[0]
	if first.Err != nil {
		t.Fatal(first.Err)
	}
	if r := w.record(2, 20, register)[0]; gateway.CodeOf(r.Err) != gateway.CodeIDInUse {
		t.Errorf("the id of a client connected to another writer: %v, want CodeIDInUse", r.Err)
	}
	if r := w.record(1, 10, register)[0]; r.Err != nil {
		t.Errorf("at the same writer, whose gateway decides: %v", r.Err)
	}
	w.record(1, 11)
	if r := w.record(2, 20, register)[0]; r.Err != nil {
		t.Errorf("after the other writer's process ended: %v", r.Err)
	}
	w.record(2, 20, &record.Disconnected{Disconnection: gateway.Disconnection{Client: "a", At: w.at, Epoch: 3}})
	if r := w.record(1, 11, register)[0]; r.Err != nil {
		t.Errorf("after the client disconnected: %v", r.Err)
	}
	w.verify()
}

// The cache of clients has a bound of its bytes too: a REGISTER may have 8 KiB of labels.
func TestCachedLabelsAreBounded(t *testing.T) {
	w := newWorld(t)
	w.size = CachesFull
	w.restart()
	label := strings.Repeat("x", gateway.MaxLabelValue)
	for i := range 3000 {
		r := w.register(gateway.ClientID(fmt.Sprint("c", i)))
		r.Reported = map[string]string{}
		for k := range gateway.MaxLabels - 2 {
			r.Reported[fmt.Sprint("k", k)] = label
		}
		w.record(1, 1, r)
		if i%500 < 499 {
			continue
		}
		bytes := 0
		for _, c := range w.clients {
			for k, v := range c.reported {
				bytes += len(k) + len(v)
			}
		}
		if bytes > 18<<20 {
			t.Fatalf("%d clients in the cache have labels of %d bytes", len(w.clients), bytes)
		}
	}
	if len(w.clients) == 0 {
		t.Error("the cache is empty")
	}
	w.verify()
}
