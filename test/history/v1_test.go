package history

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"
)

// oldDevice speaks v1: no numbers, one thing at a time. It acks at once or never,
// so that no ack of it can be taken for another delivery's.
type oldDevice struct {
	id     string
	addr   string
	calm   *atomic.Bool
	rnd    *rand.Rand
	j      *journal
	conn   int
	n      int
	uplink string // not acked
	sentOn int    // the connection that it was sent on last
}

func newOldDevice(id, addr string, seed uint64, calm *atomic.Bool, j *journal) *oldDevice {
	return &oldDevice{id: id, addr: addr, calm: calm, rnd: random(seed, id), j: j}
}

// run connects again and again until stop is closed.
func (d *oldDevice) run(stop <-chan struct{}) {
	for {
		d.conn++
		d.connect(stop)
		select {
		case <-stop:
			return
		case <-time.After(time.Millisecond + upTo(d.rnd, 100*time.Millisecond)):
		}
	}
}

const v1Gap = 35 * time.Millisecond // between two writes of a device

func (d *oldDevice) connect(stop <-chan struct{}) {
	socket, err := net.DialTimeout("tcp", d.addr, time.Second)
	if err != nil {
		return
	}
	defer socket.Close()
	ended := make(chan struct{})
	defer close(ended)
	go func() { // ends with the connection or the test
		select {
		case <-stop:
			socket.Close()
		case <-ended:
		}
	}()
	d.write(socket, "\x01#"+d.id)
	buf, registered, begun := make([]byte, 4096), false, d.calm.Load()
	for begun == d.calm.Load() { // at the calm everything is to come anew
		socket.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		n, err := socket.Read(buf)
		if timeout, ok := err.(net.Error); err != nil && (!ok || !timeout.Timeout()) {
			return
		}
		for _, m := range split(buf[:n]) {
			if m[0] == byte(registerAck) {
				registered = string(m) == "\x02#ok"
				continue
			}
			d.take(socket, m)
		}
		if registered && n == 0 {
			d.tell(socket)
		}
	}
}

// split separates messages that one read has joined (SPEC §3.2).
func split(b []byte) (all [][]byte) {
	start := -1
	for i := 0; i+1 < len(b); i++ {
		if b[i] >= 1 && b[i] <= 6 && b[i+1] == '#' {
			if start >= 0 {
				all = append(all, b[start:i])
			}
			start = i
		}
	}
	if start >= 0 {
		all = append(all, b[start:])
	}
	return all
}

func (d *oldDevice) write(socket net.Conn, s string) {
	<-time.After(v1Gap)
	socket.SetWriteDeadline(time.Now().Add(5 * time.Second))
	socket.Write([]byte(s))
}

func (d *oldDevice) take(socket net.Conn, m []byte) {
	switch kind(m[0]) {
	case heartbeat:
		d.write(socket, "\x02#h")
	case acknowledge:
		if d.uplink != "" && d.sentOn == d.conn {
			d.j.write(entry{what: stored, conn: d.conn, payload: digestOf([]byte(d.uplink))})
			d.uplink, d.sentOn = "", 0
		}
	case data:
		payload := m[2:]
		if !bytes.HasSuffix(payload, []byte{';'}) {
			return // the connection was cut in it
		}
		d.j.write(entry{what: got, conn: d.conn, payload: digestOf(payload)})
		if d.rnd.IntN(20) == 0 && !d.calm.Load() {
			return
		}
		d.j.write(entry{what: answered, conn: d.conn, payload: digestOf(payload)})
		d.write(socket, "\x06#")
	}
}

// tell sends an uplink, once on a connection: of two transmissions the acks could
// not be told apart.
func (d *oldDevice) tell(socket net.Conn) {
	if d.uplink == "" && !d.calm.Load() && d.rnd.IntN(6) == 0 {
		d.n++
		d.uplink = padded(d.rnd, fmt.Sprintf("%s up %d", d.id, d.n), 30)
	}
	if d.uplink == "" || d.sentOn == d.conn {
		return
	}
	d.sentOn = d.conn
	d.j.write(entry{what: sent, conn: d.conn, payload: digestOf([]byte(d.uplink))})
	d.write(socket, "\x05#"+d.uplink)
}
