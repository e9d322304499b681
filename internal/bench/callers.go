package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/longwire/longwire/internal/engine"
)

// load is the calls that callers repeat.
type load struct {
	what      what
	callers   int
	online    bool // now or never; otherwise durable
	wait      bool // the answer comes after the device's ack
	delivered bool // a round lasts until the acks of all messages are stored
	lines     int  // of a bulk request
}

// what names the kinds of calls.
type what uint8

const (
	pushes     what = iota // POST /v1/clients/{id}/messages
	lines                  // POST /v1/messages/bulk, each line acked
	broadcasts             // POST /v1/messages to all, each delivery acked
	uplinks                // DATA of a device, until the ack
	accepts                // Store.Accept of the engine, in this process
	appends                // an append with a group fdatasync, in this process
)

var nouns = [...]string{pushes: "pushes", lines: "messages", broadcasts: "deliveries", uplinks: "uplinks", accepts: "messages", appends: "messages"}

var pushPayload = bytes.Repeat([]byte("x"), 64)

// open starts a side's server and its callers.
func (r *run) open(s side) *callers {
	if s.role == noServer {
		return r.openStore(s.load)
	}
	srv := r.server(s.spec)
	n, one := max(s.connected, s.offline), caller(nil)
	switch s.load.what {
	case pushes:
		return r.newPushers(srv, s.load, max(1, n))
	case uplinks:
		return r.newDevices(srv, s.load.callers, (*device).uplink)
	case lines:
		body := r.bulkBody(s.load.lines, n)
		one = func() (int, error) { return s.load.lines, srv.bulk(r.ctx, body, s.load.lines) }
	case broadcasts:
		one = func() (int, error) { return n, srv.broadcast(r.ctx, n) }
	}
	return &callers{target: srv, all: []caller{one}}
}

// newDevices are n registered devices that exchange a frame again and again.
func (r *run) newDevices(t *target, n int, exchange func(*device) error) *callers {
	c := &callers{target: t}
	j := Join{Addr: t.tcp, Count: n}
	for i := range n {
		d := must(j.admit(r.ctx, i))
		r.onClose(func() error { d.hangUp(); return nil })
		c.all = append(c.all, func() (int, error) {
			_ = d.SetDeadline(time.Now().Add(callTimeout))
			return 1, exchange(d)
		})
	}
	return c
}

// bulkBody is a bulk request with lines to random clients.
func (r *run) bulkBody(lines, clients int) []byte {
	random := rand.New(rand.NewPCG(r.Seed, 2))
	var b bytes.Buffer
	for range lines {
		fmt.Fprintf(&b, `{"to":{"client":"%s"},"text":"%s"}`+"\n", clientID(random.IntN(clients)), pushPayload)
	}
	return b.Bytes()
}

// bulk sends one request and checks that all lines are acked.
func (t *target) bulk(ctx context.Context, body []byte, lines int) error {
	answer, err := t.want(ctx, 200, "POST", "/v1/messages/bulk?wait=30s", "application/x-ndjson", body)
	if acked := bytes.Count(answer, []byte(`"state":"acked"`)); err == nil && acked != lines {
		err = fmt.Errorf("%d of %d lines were acked: %.200s", acked, lines, answer)
	}
	return err
}

// broadcast pushes to all and waits until each of want clients has acked.
func (t *target) broadcast(ctx context.Context, want int) error {
	body := fmt.Sprintf(`{"to":{"all":true},"online_only":true,"text":"%s"}`, pushPayload)
	var message struct{ Counts struct{ Acked int } }
	err := t.send(ctx, 200, "POST", "/v1/messages?wait=50s", body, &message)
	if err == nil && message.Counts.Acked != want {
		err = fmt.Errorf("%d of %d clients acked", message.Counts.Acked, want)
	}
	return err
}

// openStore has callers in this process: of the engine, or of the least work that
// makes their messages durable.
func (r *run) openStore(l load) *callers {
	payload, call := make([]byte, acceptBytes), caller(nil)
	if l.what == appends {
		floor := must(openAppendLog(r.newDir("floor")))
		r.onClose(floor.close)
		call = func() (int, error) { return 1, floor.append(payload) }
	} else {
		e := must(engine.Open(engine.Options{Dir: r.newDir("accept")}))
		r.onClose(e.Close)
		check(inParallel(fillers, acceptClients, func(i int) error { return registerOne(r.ctx, e, clientID(i)) }))
		var next atomic.Int64
		call = func() (int, error) {
			return 1, acceptOne(r.ctx, e, clientID(int(next.Add(1)%acceptClients)), payload)
		}
	}
	c := &callers{}
	for range l.callers {
		c.all = append(c.all, call)
	}
	return c
}

// pusher is an HTTP caller on its own keep-alive connection. It implements only the
// part of HTTP that answers to a push need, to leave the cores to the process under
// test.
type pusher struct {
	pushRequest
	conn    net.Conn  // nil = none yet
	until   time.Time // the server may close the connection later if it is silent
	answers *bufio.Reader
	random  *rand.Rand
	request []byte // reused
}

// pushRequest is a push to a random client.
type pushRequest struct {
	addr    string
	rest    string // of the request, behind the client
	clients int    // number of recipients
	status  string // expected of every answer
}

const requestStart = "POST /v1/clients/"

func newPushRequest(t *target, l load, clients int) pushRequest {
	p := pushRequest{addr: t.http, clients: clients, status: "202"}
	if t.role == bareServer || t.role == bareSyncing || l.wait || l.online {
		p.status = "200"
	}
	body, query := fmt.Sprintf(`{"text":"%s"}`, pushPayload), ""
	if l.online {
		body = fmt.Sprintf(`{"text":"%s","mode":"online"}`, pushPayload)
	}
	if l.wait {
		query = "?wait=30s"
	}
	p.rest = fmt.Sprintf("/messages%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		query, t.http, t.key, len(body), body)
	return p
}

// newPushers opens the connections.
func (r *run) newPushers(t *target, l load, clients int) *callers {
	c := &callers{target: t, deliver: l.delivered && t.role == gatewayServer}
	for i := range l.callers {
		p := &pusher{pushRequest: newPushRequest(t, l, clients), answers: bufio.NewReaderSize(nil, 2048), random: rand.New(rand.NewPCG(uint64(i), r.Seed))}
		r.onClose(p.close)
		check(p.dial())
		c.all = append(c.all, p.call)
	}
	return c
}

// Servers close silent connections while the other sides of a comparison have their
// turns, new connections sooner than used ones. The pusher reconnects before that.
const (
	longestNew  = 3 * time.Second
	longestIdle = time.Minute
)

func (p *pusher) dial() (err error) {
	_ = p.close()
	if p.conn, err = net.DialTimeout("tcp", p.addr, callTimeout); err == nil {
		p.until = time.Now().Add(longestNew)
		p.answers.Reset(p.conn)
	}
	return err
}

func (p *pusher) close() error {
	if p.conn == nil {
		return nil
	}
	return p.conn.Close()
}

// call sends one push.
func (p *pusher) call() (int, error) {
	now := time.Now()
	if now.After(p.until) {
		if err := p.dial(); err != nil {
			return 0, err
		}
	}
	p.until = now.Add(longestIdle)
	_ = p.conn.SetDeadline(now.Add(callTimeout))
	p.request = append(p.request[:0], requestStart...)
	p.request = append(p.request, clientID(p.random.IntN(p.clients))...)
	p.request = append(p.request, p.rest...)
	if _, err := p.conn.Write(p.request); err != nil {
		return 0, err
	}
	status, body, err := readAnswer(p.answers)
	if err == nil && status != p.status {
		err = fmt.Errorf("status %s instead of %s: %.200s", status, p.status, body)
	}
	return 1, err
}

var (
	contentLength  = []byte("content-length:")
	errNotAnAnswer = errors.New("not an HTTP answer with a length")
)

// readAnswer reads one answer of known length. It returns the body if r's buffer
// holds it completely; the body is valid until the next read.
func readAnswer(r *bufio.Reader) (status string, body []byte, err error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return "", nil, err
	}
	if len(line) < len("HTTP/1.1 200\r\n") || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return "", nil, fmt.Errorf("%w: %.60q", errNotAnAnswer, line)
	}
	status = string(line[9:12])
	length := -1
	for len(line) > 2 {
		if line, err = r.ReadSlice('\n'); err != nil {
			return "", nil, err
		}
		if len(line) > len(contentLength) && bytes.EqualFold(line[:len(contentLength)], contentLength) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[len(contentLength):]))); err != nil {
				break
			}
		}
	}
	if length < 0 || err != nil {
		return "", nil, fmt.Errorf("%w: status %s", errNotAnAnswer, status)
	}
	if length <= r.Size() {
		body, err = r.Peek(length)
	}
	if err == nil {
		_, err = r.Discard(length)
	}
	return status, body, err
}
