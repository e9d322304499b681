package test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
)

// book keeps what a gateway has told its callers. Whatever is in it has to stay
// true, whoever is killed.
type book struct {
	mu       sync.Mutex
	ids      []string                      // accepted messages, in order of the answers
	payloads map[string]string             // by message id
	messages map[string]string             // id by payload
	told     map[[2]string]map[status]bool // final states by message id and client
	faults   []string
}

func newBook() *book {
	return &book{payloads: map[string]string{}, messages: map[string]string{}, told: map[[2]string]map[status]bool{}}
}

// accepted notes an answer of 202 or 200.
func (b *book) accepted(id, payload string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if other, ok := b.messages[payload]; ok && other != id {
		b.faults = append(b.faults, fmt.Sprintf("push %s became two messages, %s and %s", payload, other, id))
	}
	if _, ok := b.payloads[id]; ok {
		return
	}
	b.ids = append(b.ids, id)
	b.payloads[id], b.messages[payload] = payload, id
}

// final reports whether a state can change no more.
func (s status) final() bool {
	switch s {
	case "acked", "rejected", "expired", "canceled", "failed", "completed":
		return true
	}
	return false
}

// saw notes the state that a caller was told of a delivery, or of a whole
// message (client "").
func (b *book) saw(id, client string, s status, where string) {
	if !s.final() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	k := [2]string{id, client}
	if b.told[k] == nil {
		b.told[k] = map[status]bool{}
	}
	b.told[k][s] = true
	if len(b.told[k]) > 1 {
		b.faults = append(b.faults, fmt.Sprintf("%s says that message %s to %q is %s, it was told as %v", where, id, client, s, b.told[k]))
	}
}

// known returns the final states that were told of a delivery by now.
func (b *book) known(id, client string) map[status]bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.told[[2]string{id, client}])
}

// read checks a state that was read against those that were told before it was
// asked for, and notes it.
func (b *book) read(before map[status]bool, id, client string, s status) {
	if len(before) > 0 && !before[s] {
		b.fault("message %s to %q reads %s, it was told as %v", id, client, s, before)
	}
	b.saw(id, client, s, "GET")
}

func (b *book) fault(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.faults = append(b.faults, fmt.Sprintf(format, args...))
}

func (b *book) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.ids)
}

// recent returns one of the last n messages, "" when there is none.
func (b *book) recent(n int) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.ids) == 0 {
		return ""
	}
	return b.ids[len(b.ids)-1-rand.IntN(min(n, len(b.ids)))]
}
