package history

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"time"
)

// digest stands for a payload or a result: itself when it is short, otherwise its
// beginning, length and hash.
type digest string

func digestOf(b []byte) digest {
	if len(b) <= 48 {
		return digest(b)
	}
	return digest(fmt.Sprintf("%s… %d bytes %x", b[:24], len(b), sha256.Sum256(b)))
}

// what is one kind of entry in a journal.
type what string

const (
	got      what = "got"      // a payload arrived
	asked    what = "asked"    // an ASK arrived
	handled  what = "handled"  // the device acted; code and result are its verdict
	answered what = "answered" // an ACK is about to be written
	proved   what = "proved"   // the gateway has read all that conn wrote before the entry seq
	joined   what = "joined"   // REGISTER_ACK arrived
	forgot   what = "forgot"   // the ledger was given up, as REGISTER_ACK demands
	sent     what = "sent"     // an uplink is about to be written; seq is its number
	stored   what = "stored"   // an uplink was acked; code is the gateway's verdict
	closed   what = "closed"   // CLOSE arrived; result is its text
	unsaved  what = "unsaved"  // the device has crashed before it had saved that it acted
	wanted   what = "wanted"   // a program has something to tell, by the SDK
	done     what = "done"     // Send has returned nil
	given    what = "given up" // a program has ended before its uplink was acked
)

// entry is one thing that a device saw or did.
type entry struct {
	at        time.Time
	what      what
	conn      int // which connection of the device
	seq       uint64
	ephemeral bool
	code      byte
	payload   digest
	result    digest
	place     int // in the journal, of an entry that was looked up
}

func (e entry) String() string {
	s := fmt.Sprintf("%s conn %d %s", e.at.Format("04:05.000"), e.conn, e.what)
	if e.ephemeral {
		s += " e"
	}
	return fmt.Sprintf("%s %d code %d %.60q %.60q", s, e.seq, e.code, e.payload, e.result)
}

// journal is what one device saw and did, in order. It outlives the gateway and
// every life of the device's program.
type journal struct {
	client  string
	dialect string

	mu      sync.Mutex
	entries []entry
	faults  []fault // what the device itself found wrong
}

// write appends an entry and returns its place.
func (j *journal) write(e entry) int {
	e.at = time.Now()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.entries = append(j.entries, e)
	return len(j.entries) - 1
}

func (j *journal) length() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.entries)
}

// closes notes a CLOSE. None may say that the device must not come back.
func (j *journal) closes(conn int, body []byte) {
	j.write(entry{what: closed, conn: conn, result: digest(body)})
	if strings.HasPrefix(string(body), "35") {
		j.wrong("protocol", "the gateway closed for good: %s", body)
	}
}

func (j *journal) wrong(rule, format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.faults = append(j.faults, fault{rule: rule, client: j.client, text: fmt.Sprintf(format, args...)})
}

// index finds a journal's entries. It is made when the journal is complete.
type index struct {
	*journal
	stored map[digest][]int // payload → places, of stored deliveries
	online map[digest][]int // payload → places, of online ones
	proofs map[int][]int    // connection → places of proved
}

func newIndex(j *journal) *index {
	x := &index{journal: j, stored: map[digest][]int{}, online: map[digest][]int{}, proofs: map[int][]int{}}
	payloads := map[uint64]digest{} // an ASK and its answer have none
	for i, e := range j.entries {
		switch e.what {
		case proved:
			x.proofs[e.conn] = append(x.proofs[e.conn], i)
		case got, asked, handled, answered:
			if e.ephemeral {
				x.online[e.payload] = append(x.online[e.payload], i)
				continue
			}
			if e.what == got && e.seq != 0 {
				payloads[e.seq] = e.payload
			}
			if e.payload == "" {
				e.payload = payloads[e.seq]
			}
			x.stored[e.payload] = append(x.stored[e.payload], i)
		}
	}
	return x
}

func (x *index) about(payload digest) []entry { return x.entriesAt(x.stored[payload]) }

func (x *index) entriesAt(places []int) []entry {
	found := make([]entry, len(places))
	for i, at := range places {
		found[i] = x.entries[at]
		found[i].place = at
	}
	return found
}

// fault is one difference between what the gateway promises and what happened.
type fault struct {
	rule   string
	client string
	text   string
	trace  []entry
}

func (f fault) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s: %s", f.rule, f.client, f.text)
	for _, e := range f.trace[max(0, len(f.trace)-20):] {
		fmt.Fprintf(&b, "\n        %s", e)
	}
	return b.String()
}
