package bench

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"time"
)

// pusher is an HTTP caller on its own keep-alive connection. It implements only the
// part of HTTP that answers to a push need, to leave the cores to the process under
// test.
type pusher struct {
	addr    string
	conn    net.Conn  // nil = none yet
	until   time.Time // the server may close the connection later if it is silent
	answers *bufio.Reader
	random  *rand.Rand
	request []byte // reused
	rest    string // of a request, behind the client
	clients int    // number of recipients; each push goes to a random one
	status  string // expected of every answer
}

const payloadBytes = 64

var pushPayload = bytes.Repeat([]byte("x"), payloadBytes)

// newPushers opens the connections.
func (r *run) newPushers(ctx context.Context, t *target, l load, clients int) (*callers, error) {
	c := r.newCallers(t)
	c.deliver = l.delivered && t.role == gatewayServer
	for i := range l.callers {
		p := &pusher{addr: t.http, answers: bufio.NewReaderSize(nil, 2048), clients: clients, status: l.status(t.role),
			random: rand.New(rand.NewPCG(uint64(i), r.Seed)), rest: restOfRequest(t, l)}
		r.onClose(p.close)
		c.all = append(c.all, p)
		if err := cmp.Or(ctx.Err(), p.dial()); err != nil {
			return nil, fmt.Errorf("open %d HTTP connections: %w", l.callers, err)
		}
	}
	return c, nil
}

const requestStart = "POST /v1/clients/"

// restOfRequest is the part of a push request behind the client.
func restOfRequest(t *target, l load) string {
	body, query := fmt.Sprintf(`{"text":"%s"}`, pushPayload), ""
	if l.mode != "" {
		body = fmt.Sprintf(`{"text":"%s","mode":"%s"}`, pushPayload, l.mode)
	}
	if l.wait {
		query = "?wait=30s"
	}
	return fmt.Sprintf("/messages%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		query, t.http, t.key, len(body), body)
}

// Servers close silent connections while the other sides of a comparison have their
// turns, new connections sooner than used ones. The pusher reconnects before that.
const (
	longestNew  = 3 * time.Second
	longestIdle = time.Minute
)

func (c *pusher) dial() (err error) {
	_ = c.close()
	if c.conn, err = net.DialTimeout("tcp", c.addr, callTimeout); err == nil {
		c.until = time.Now().Add(longestNew)
		c.answers.Reset(c.conn)
	}
	return err
}

func (c *pusher) close() error {
	if c.conn == nil {
		return nil
	}
	return c.conn.Close()
}

// call sends one push.
func (c *pusher) call() (int, error) {
	now := time.Now()
	if now.After(c.until) {
		if err := c.dial(); err != nil {
			return 0, err
		}
	}
	c.until = now.Add(longestIdle)
	_ = c.conn.SetDeadline(now.Add(callTimeout))
	c.request = append(c.request[:0], requestStart...)
	c.request = append(c.request, clientID(c.random.IntN(c.clients))...)
	c.request = append(c.request, c.rest...)
	if _, err := c.conn.Write(c.request); err != nil {
		return 0, err
	}
	got, body, err := readAnswer(c.answers)
	if err == nil && got != c.status {
		err = fmt.Errorf("status %s instead of %s: %.200s", got, c.status, body)
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
	length := -1
	for first := true; ; first = false {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return "", nil, err
		}
		switch {
		case first:
			if len(line) < len("HTTP/1.1 200\r\n") || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
				return "", nil, fmt.Errorf("%w: %.60q", errNotAnAnswer, line)
			}
			status = statusText(line[9:12])
		case len(line) <= 2:
			if length < 0 {
				return "", nil, fmt.Errorf("%w: status %s", errNotAnAnswer, status)
			}
			if length <= r.Size() {
				body, err = r.Peek(length)
			}
			if err == nil {
				_, err = r.Discard(length)
			}
			return status, body, err
		case len(line) > len(contentLength) && bytes.EqualFold(line[:len(contentLength)], contentLength):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[len(contentLength):]))); err != nil || length < 0 {
				return "", nil, fmt.Errorf("%w: %.60q", errNotAnAnswer, line)
			}
		}
	}
}

// statusText is string(b) without an allocation for the usual statuses.
func statusText(b []byte) string {
	switch string(b) {
	case "200":
		return "200"
	case "202":
		return "202"
	}
	return string(b)
}
