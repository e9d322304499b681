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
	"time"
)

// pusher is an HTTP caller on a keep-alive connection of its own. It knows as
// much of HTTP as the answers to a push need, to leave the cores to the process
// under test.
type pusher struct {
	conn    net.Conn
	answers *bufio.Reader
	random  *rand.Rand
	request []byte // reused
	write   func(b []byte, client int) []byte
	first   int    // the recipients are clients from this one on
	clients int    // so many of them, at random
	status  string // that every answer must have
}

// pushes says what pushers send.
type pushes struct {
	conns   int
	first   int // recipient
	clients int // the recipients: one of so many at random
	mode    string
	status  string // expected
}

const payloadBytes = 64

var pushPayload = bytes.Repeat([]byte("x"), payloadBytes)

// newPushers opens the connections.
func newPushers(ctx context.Context, t *target, p pushes) (*load, error) {
	l := &load{target: t}
	for i := range p.conns {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", t.http)
		if err != nil {
			l.close()
			return nil, fmt.Errorf("open %d HTTP connections: %w", p.conns, err)
		}
		l.closers = append(l.closers, conn.Close)
		l.callers = append(l.callers, &pusher{conn: conn, answers: bufio.NewReaderSize(conn, 2048), first: p.first, clients: p.clients,
			status: p.status, random: rand.New(rand.NewPCG(uint64(i), 1)), write: requestWriter(t, p.mode)})
	}
	return l, nil
}

// requestWriter returns a function that appends the request of a push to one
// client.
func requestWriter(t *target, mode string) func(b []byte, client int) []byte {
	body := fmt.Sprintf(`{"text":"%s","mode":"%s"}`, pushPayload, mode)
	rest := fmt.Sprintf("/messages HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		t.http, t.key, len(body), body)
	return func(b []byte, client int) []byte {
		b = append(b, "POST /v1/clients/"...)
		b = append(b, clientID(client)...)
		return append(b, rest...)
	}
}

// call does one push.
func (c *pusher) call() error {
	_ = c.conn.SetDeadline(time.Now().Add(callTimeout))
	c.request = c.write(c.request[:0], c.first+c.random.IntN(c.clients))
	if _, err := c.conn.Write(c.request); err != nil {
		return err
	}
	got, body, err := readAnswer(c.answers)
	if err != nil {
		return err
	}
	if got != c.status {
		return fmt.Errorf("status %s instead of %s: %.200s", got, c.status, body)
	}
	return nil
}

var (
	contentLength  = []byte("content-length:")
	errNotAnAnswer = errors.New("not an HTTP answer with a length")
)

// readAnswer reads one answer of known length. The body is returned when it is
// in r's buffer as a whole, and valid until the next read.
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

// statusText is string(b) without memory for the usual ones.
func statusText(b []byte) string {
	switch string(b) {
	case "200":
		return "200"
	case "202":
		return "202"
	}
	return string(b)
}
