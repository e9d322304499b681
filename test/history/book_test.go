package history

import (
	"encoding/json"
	"sync"
	"time"
)

// shown is a message, delivery, uplink or problem as the API shows it.
type shown struct {
	ID          string          `json:"id"`
	Client      string          `json:"client"`
	RawStatus   json.RawMessage `json:"status"` // a state; of a problem a number
	State       string          `json:"state"`  // the state in an answer to a line of bulk
	Mode        string          `json:"mode"`
	Reason      string          `json:"reason"`
	Attempts    int             `json:"attempts"`
	CreatedAt   time.Time       `json:"created_at"`
	ExpiresAt   time.Time       `json:"expires_at"`
	SentAt      time.Time       `json:"sent_at"`
	FinalAt     time.Time       `json:"final_at"`
	LateAckAt   time.Time       `json:"late_ack_at"`
	Result      string          `json:"result"`
	LateResult  string          `json:"late_result"`
	LateVerdict string          `json:"late_verdict"` // ok or reject
	Text        string          `json:"text"`
	Deliveries  string          `json:"deliveries_url"`
	Counts      struct {
		Total, Queued, Sent, Acked, Rejected, Expired, Canceled, Failed int
	} `json:"counts"`

	Queued  int    `json:"queued"` // of a client
	Session string `json:"session"`
	Number  uint64 `json:"number"`
	Device  uint64 `json:"device_id"` // what number was called before

	Items      []shown `json:"items"`
	NextCursor string  `json:"next_cursor"`
	NextAfter  uint64  `json:"next_after"`
	More       bool    `json:"more"`

	Line int    `json:"line"`
	Key  string `json:"key"`
	Done bool   `json:"done"`
}

// status is the state of a message or delivery, "" for problems.
func (s *shown) status() string {
	var text string
	if json.Unmarshal(s.RawStatus, &text) != nil {
		return s.State
	}
	return text
}

func (s *shown) number() uint64 { return max(s.Number, s.Device) }

func final(status string) bool {
	switch status {
	case "acked", "rejected", "expired", "canceled", "failed":
		return true
	}
	return false
}

// outcome is what the API tells of a delivery.
type outcome struct {
	status, reason string
	result         digest
}

func outcomeOf(s *shown) outcome {
	return outcome{s.status(), s.Reason, digestOf([]byte(s.Result))}
}

// note is one answer about one delivery.
type note struct {
	begin, end time.Time // of the call
	where      string
	id, client string
	outcome
}

// pushed is one thing that a caller wanted.
type pushed struct {
	payload digest
	to      []string
	ids     []string // of every answer that told one
	keyed   bool
	online  bool
	unknown bool    // an attempt had no answer, and may have stored it
	refused bool    // by an answer that says that nothing is stored
	answer  outcome // online: how it ended
}

// told is a final state in the event stream.
type told struct{ event, id, client string }

// book is what the callers wanted and were told.
type book struct {
	mu       sync.Mutex
	pushes   map[digest]*pushed
	ids      []string          // of stored messages, in the order of the answers
	client   map[string]string // to whom, of messages to one
	notes    []note
	canceled map[string]bool // someone has asked for it
	events   map[string]told // by event id
	faults   []fault
}

func newBook() *book {
	return &book{pushes: map[digest]*pushed{}, client: map[string]string{}, canceled: map[string]bool{}, events: map[string]told{}}
}

func (b *book) wants(p *pushed) *pushed {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pushes[p.payload] = p
	return p
}

func (b *book) accepted(p *pushed, id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p.ids = append(p.ids, id)
	b.ids = append(b.ids, id)
	if len(p.to) == 1 {
		b.client[id] = p.to[0]
	}
}

// recent returns one of the last n accepted ids; pick chooses below what it gets.
func (b *book) recent(n int, pick func(int) int) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.ids) == 0 {
		return ""
	}
	return b.ids[len(b.ids)-1-pick(min(n, len(b.ids)))]
}

// tell notes an answer about a delivery.
func (b *book) tell(where string, begin time.Time, id, client string, o outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if client == "" {
		client = b.client[id]
	}
	if client != "" {
		b.notes = append(b.notes, note{begin: begin, end: time.Now(), where: where, id: id, client: client, outcome: o})
	}
}

func (b *book) event(event string, e told) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events[event] = e
}

func (b *book) cancels(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.canceled[id] = true
}

func (b *book) wrong(rule, client, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = append(b.faults, fault{rule: rule, client: client, text: text})
}
