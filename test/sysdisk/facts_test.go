//go:build linux

package sysdisk

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// fact is one thing that the gateway told: an answer, a frame, an event.
type fact struct {
	kind string
	what string
	text string // of an accepted message
	wire *wire
	upto int // its last byte on the wire
	at   int // the moment from which on it may have left

	holds func(*view) error // is it true of a rebuilt store?
	// ask finds out by requests of its own; it is done for a sample. May be nil.
	ask func(*view) error
}

// facts are collected by many goroutines.
type facts struct {
	mu  sync.Mutex
	all []*fact
}

func (fs *facts) add(f fact) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.all = append(fs.all, &f)
}

// date finds the moment of each fact.
func (fs *facts) date(sent *sockets) error {
	for _, f := range fs.all {
		if f.wire == nil {
			continue
		}
		var err error
		if f.at, err = sent.left(f.wire, f.upto); err != nil {
			return fmt.Errorf("%s: %w", f.what, err)
		}
	}
	slices.SortStableFunc(fs.all, func(a, b *fact) int { return a.at - b.at })
	return nil
}

// before are the facts that were told before a moment.
func (fs *facts) before(at int) []*fact {
	n, _ := slices.BinarySearchFunc(fs.all, at, func(f *fact, at int) int { return f.at - at })
	return fs.all[:n]
}

// of are the facts of a kind.
func (fs *facts) of(kind string) (list []*fact) {
	for _, f := range fs.all {
		if f.kind == kind {
			list = append(list, f)
		}
	}
	return list
}

// kinds counts the facts.
func (fs *facts) kinds() string {
	n := map[string]int{}
	for _, f := range fs.all {
		n[f.kind]++
	}
	var all []string
	for _, kind := range slices.Sorted(maps.Keys(n)) {
		all = append(all, fmt.Sprint(n[kind], " ", kind))
	}
	return strings.Join(all, ", ")
}

// accepted says that a push was answered: the message is stored. client is "" for
// a message to many, key "" if it had none.
func (fs *facts) accepted(a answer, p push) {
	kind := "accepted"
	if a.replayed {
		kind = "replayed"
	}
	what := fmt.Sprintf("%s: %d for %s %s", kind, a.code, a.ID, p.path)
	fs.add(fact{kind: kind, what: what, text: p.text, wire: a.wire, upto: a.upto,
		holds: func(v *view) error {
			m, ok := v.messages[a.ID]
			if !ok || m.Client != a.Client {
				return fmt.Errorf("the list of messages has it: %t, for %q", ok, m.Client)
			}
			return nil
		},
		ask: func(v *view) error {
			m, err := v.call("GET", "/v1/messages/"+a.ID, "", "")
			if err != nil || m.code != 200 || m.Text == nil || *m.Text != p.text {
				return fmt.Errorf("GET answers %d, text as it should be: %t, %v", m.code, m.Text != nil && *m.Text == p.text, err)
			}
			if p.key == "" {
				return nil
			}
			again, err := v.call("POST", p.path, p.key, p.body)
			if err != nil || again.ID != a.ID || !again.replayed {
				return fmt.Errorf("its repeat answers %d %s, replayed %t, %v", again.code, again.ID, again.replayed, err)
			}
			return nil
		}})
	fs.final(a, "the push's answer")
}

// push is a request that makes a message.
type push struct{ path, key, body, text string }

// final says that a final state was told.
func (fs *facts) final(a answer, how string) {
	switch a.Status {
	case "acked", "rejected", "expired", "canceled", "failed":
		fs.add(fact{kind: "final", what: fmt.Sprintf("%s is %s for %s by %s", a.ID, a.Status, a.Client, how), wire: a.wire, upto: a.upto,
			holds: func(v *view) error {
				m, ok := v.deliveries[[2]string{a.ID, a.Client}]
				if !ok || m.Status != a.Status || m.Reason != a.Reason || text(m.Result) != text(a.Result) ||
					a.FinalAt != "" && m.FinalAt != a.FinalAt {
					return fmt.Errorf("it reads %v reason %q result %s at %s; told was reason %q result %s at %s", m.Status, m.Reason,
						text(m.Result), m.FinalAt, a.Reason, text(a.Result), a.FinalAt)
				}
				return nil
			}})
	case "completed":
		fs.add(fact{kind: "completed", what: fmt.Sprintf("%s is completed with %v", a.ID, a.Counts), wire: a.wire, upto: a.upto,
			holds: func(v *view) error {
				if m := v.messages[a.ID]; m.Status != "completed" || fmt.Sprint(m.Counts) != fmt.Sprint(a.Counts) {
					return fmt.Errorf("it reads %v with %v", m.Status, m.Counts)
				}
				return nil
			}})
	}
}

func text(s *string) string {
	if s == nil {
		return "none"
	}
	return strconv.Quote(*s)
}

// uplinked says that the sequence of a stored uplink was told.
func (fs *facts) uplinked(u answer, w *wire, upto int, how string) {
	fs.add(fact{kind: "uplink listed", what: fmt.Sprintf("uplink %d is %q of %s by %s", u.Seq, text(u.Text), u.Client, how), wire: w, upto: upto,
		holds: func(v *view) error {
			if seq, ok := v.uplinks[u.Client+" "+text(u.Text)]; !ok || seq != u.Seq {
				return fmt.Errorf("it is stored: %t, as %d", ok, seq)
			}
			if v.useq <= u.Seq {
				return fmt.Errorf("the number was given again, or passed: a new uplink has %d", v.useq)
			}
			return nil
		}})
}

// device reads what a device was told on a connection.
func (fs *facts) device(client string, w *wire) {
	got, said := w.so()
	sent := map[uint64]string{}
	for _, f := range frames(said) {
		if f.typ == frameData {
			sent[f.number] = string(f.body)
		}
	}
	for _, f := range frames(got) {
		switch {
		case f.typ == frameRegisterAck:
			var welcome struct{ Log string }
			if json.Unmarshal(f.body, &welcome) != nil {
				continue
			}
			fs.add(fact{kind: "log", what: client + " is told the log " + welcome.Log, wire: w, upto: f.upto, holds: func(v *view) error {
				if v.log != welcome.Log {
					return fmt.Errorf("the log is now %s", v.log)
				}
				return nil
			}})
		case f.typ == frameData && f.flags&flagEphemeral == 0:
			seq := f.number
			fs.add(fact{kind: "message number", what: fmt.Sprintf("%s gets message number %d", client, seq), wire: w, upto: f.upto, holds: func(v *view) error {
				if v.seq <= seq {
					return fmt.Errorf("the number was given again, or passed: a new message has %d", v.seq)
				}
				return nil
			}})
		case f.typ == frameAck && f.flags&flagEphemeral == 0 && len(f.body) > 0 && f.body[0] == 0:
			payload := sent[f.number]
			fs.add(fact{kind: "uplink acked", what: fmt.Sprintf("%s has the ack of its uplink %q", client, payload), wire: w, upto: f.upto, holds: func(v *view) error {
				if _, ok := v.uplinks[client+" "+strconv.Quote(payload)]; !ok {
					return fmt.Errorf("it is not listed")
				}
				return nil
			}})
		}
	}
}

// lines calls each for the lines of JSON on a wire, with the place of their end.
func (w *wire) lines(each func(line []byte, upto int)) {
	got, _ := w.so()
	at := 0
	for line := range bytes.Lines(got) {
		at += len(line)
		if line = bytes.TrimSpace(line); bytes.HasPrefix(line, []byte("{")) && bytes.HasSuffix(line, []byte("}")) {
			each(line, at)
		}
	}
}

// event is a line of the event stream.
type event struct {
	Type     string `json:"type"`
	Sequence string `json:"sequence"`
	Data     struct {
		answer
		MessageID string  `json:"message_id"`
		Uplink    *answer `json:"uplink"`
	} `json:"data"`
}

// events reads an event stream. A final state of a message to one client, which
// has no time there, is told like any other.
func (fs *facts) events(w *wire) {
	w.lines(func(line []byte, upto int) {
		var e event
		if json.Unmarshal(line, &e) != nil {
			return
		}
		if n, err := strconv.ParseUint(e.Sequence, 10, 64); err == nil {
			fs.add(fact{kind: "event number", what: "event number " + e.Sequence, wire: w, upto: upto, holds: func(v *view) error {
				if v.event <= n {
					return fmt.Errorf("the number was given again, or passed: a new event has %d", v.event)
				}
				return nil
			}})
		}
		a := e.Data.answer
		a.wire, a.upto, a.ID = w, upto, e.Data.MessageID
		if e.Type != "message.late_ack" && a.Client != "" {
			fs.final(a, "event")
		}
		if e.Data.Uplink != nil {
			fs.uplinked(*e.Data.Uplink, w, upto, "event")
		}
	})
}

// bulk reads the answer to a bulk request, whose lines were these pushes.
func (fs *facts) bulk(w *wire, pushes []push) {
	w.lines(func(line []byte, upto int) {
		var r struct {
			Line   int    `json:"line"`
			Status int    `json:"status"`
			ID     string `json:"id"`
		}
		if json.Unmarshal(line, &r) != nil || r.Status != 202 || r.Line < 1 || r.Line > len(pushes) {
			return
		}
		p := pushes[r.Line-1]
		client := strings.TrimSuffix(strings.TrimPrefix(p.path, "/v1/clients/"), "/messages")
		fs.accepted(answer{code: 202, ID: r.ID, Client: client, wire: w, upto: upto}, push{text: p.text, path: "bulk " + p.path})
	})
}
