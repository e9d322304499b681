package history

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// outbox is what a device has to tell. It sends an uplink again until it is acked,
// over connections too. Numbers are unique and in no order.
type outbox struct {
	j       *journal
	rnd     *rand.Rand
	client  string
	n       int
	numbers []uint64
	pending []*uplink
	again   []*uplink // acked on the connection of now; a repeat must not hurt
}

type uplink struct {
	number  uint64
	payload string
	conn    int       // where it was sent last; 0 = not yet
	due     time.Time // to be sent again, if it is not acked before
}

const (
	maxPending  = 3
	uplinkRetry = 1500 * time.Millisecond
)

// number gives each block of sixteen numbers in a random order.
func (o *outbox) number() uint64 {
	if len(o.numbers) == 0 {
		for _, i := range o.rnd.Perm(16) {
			o.numbers = append(o.numbers, uint64(o.n+i+1))
		}
	}
	n := o.numbers[0]
	o.numbers = o.numbers[1:]
	return n
}

// work begins an uplink now and then, and sends what is due.
func (o *outbox) work(c *conn, now time.Time) {
	if len(o.pending) < maxPending && o.rnd.IntN(6) == 0 && !c.calm.Load() {
		number := o.number()
		o.n++
		o.pending = append(o.pending, &uplink{number: number, payload: padded(o.rnd, fmt.Sprintf("%s up %d", o.client, number), 16<<o.rnd.IntN(6))})
	}
	if len(o.again) > 0 && o.rnd.IntN(20) == 0 {
		if u := o.again[0]; u.conn == c.number {
			o.send(c, u, now)
		}
		o.again = o.again[1:]
	}
	for _, i := range o.rnd.Perm(len(o.pending)) {
		if u := o.pending[i]; u.conn != c.number || !now.Before(u.due) {
			o.send(c, u, now)
		}
	}
}

func (o *outbox) send(c *conn, u *uplink, now time.Time) {
	m := message{kind: data, seq: u.number, dup: u.conn != 0, body: []byte(u.payload)}
	u.conn, u.due = c.number, now.Add(uplinkRetry)
	o.j.write(entry{what: sent, conn: c.number, seq: u.number, payload: digestOf(m.body)})
	c.send(m)
}

// answered takes the gateway's verdict on an uplink.
func (o *outbox) answered(conn int, m message) {
	for i, u := range o.pending {
		if u.number != m.seq {
			continue
		}
		o.j.write(entry{what: stored, conn: conn, seq: m.seq, code: m.code, payload: digestOf([]byte(u.payload))})
		switch m.code {
		case codeOK:
			o.pending = append(o.pending[:i:i], o.pending[i+1:]...)
			if o.rnd.IntN(8) == 0 {
				o.again = append(o.again, u)
			}
		case codeLater:
			u.due = time.Now().Add(100*time.Millisecond + upTo(o.rnd, 300*time.Millisecond))
		default:
			o.j.wrong("uplink refused", "uplink %d was answered %d %s", m.seq, m.code, m.body)
			o.pending = append(o.pending[:i:i], o.pending[i+1:]...)
		}
		return
	}
}
