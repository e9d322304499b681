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
	"sync"
	"time"
)

// loader is HTTP callers on keep-alive connections, each of which sends its next
// request when it has the answer to the last. It knows as much of HTTP as the
// answers to a push need, to leave the cores to the process under test.
type loader struct {
	target *target
	conns  []*caller
	status string // that every answer must have
}

// caller is one connection.
type caller struct {
	conn    net.Conn
	answers *bufio.Reader
	random  *rand.Rand
	request []byte // reused
	write   func(b []byte, client int) []byte
	clients int
}

// pushes says what a loader sends.
type pushes struct {
	conns   int
	clients int // the recipients: one of these at random
	mode    string
	status  string // expected
}

const payloadBytes = 64

var pushPayload = bytes.Repeat([]byte("x"), payloadBytes)

// newLoader opens the connections.
func newLoader(ctx context.Context, t *target, p pushes) (*loader, error) {
	l := &loader{target: t, status: p.status}
	for i := range p.conns {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", t.http)
		if err != nil {
			l.close()
			return nil, fmt.Errorf("open %d HTTP connections: %w", p.conns, err)
		}
		l.conns = append(l.conns, &caller{conn: conn, answers: bufio.NewReaderSize(conn, 2048), clients: p.clients,
			random: rand.New(rand.NewPCG(uint64(i), 1)), write: requestWriter(t, p.mode)})
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

// play is a side of a comparison: the load for d.
func (l *loader) play(ctx context.Context, d time.Duration) (sample, error) {
	var s sample
	start := time.Now()
	cpu, err := l.target.cpuDuring(func() error { return l.run(ctx, d, &s) })
	s.elapsed, s.cpu = time.Since(start), cpu
	return s, err
}

// run has all callers call until d has passed.
func (l *loader) run(ctx context.Context, d time.Duration, total *sample) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	samples, errs := make([]sample, len(l.conns)), make([]error, len(l.conns))
	var callers sync.WaitGroup
	for i, c := range l.conns {
		callers.Go(func() { errs[i] = c.run(ctx, l.status, &samples[i]) })
	}
	callers.Wait()
	for i := range samples {
		total.done += samples[i].done
		total.latency.add(&samples[i].latency)
	}
	return errors.Join(errs...)
}

// run calls until ctx ends, and once at least; the last call is completed.
func (c *caller) run(ctx context.Context, status string, s *sample) error {
	_ = c.conn.SetDeadline(time.Now().Add(maxDuration + callTimeout))
	for s.done == 0 || ctx.Err() == nil {
		start := time.Now()
		c.request = c.write(c.request[:0], c.random.IntN(c.clients))
		if _, err := c.conn.Write(c.request); err != nil {
			return err
		}
		got, body, err := readAnswer(c.answers)
		if err != nil {
			return err
		}
		if got != status {
			return fmt.Errorf("status %s instead of %s: %.200s", got, status, body)
		}
		s.latency.observe(time.Since(start))
		s.done++
	}
	return nil
}

func (l *loader) close() {
	for _, c := range l.conns {
		c.conn.Close()
	}
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
