package client

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"sync"
	"time"
)

// BulkItem is one push of a bulk request. Its mode is always durable, and its
// Wait is ignored.
type BulkItem struct {
	To   Audience
	Push Push
}

// BulkResult is the gateway's answer to one item.
type BulkResult struct {
	Line   int    `json:"line"`          // of the item, from 1
	Key    string `json:"key,omitempty"` // its idempotency key
	Status int    `json:"status"`        // as the HTTP status of a single push
	ID     string `json:"id,omitempty"`  // of the message, when accepted
	State  Status `json:"state,omitempty"`
	// Replayed is set when the key was known: an earlier request made the
	// message.
	Replayed bool     `json:"replayed,omitempty"`
	Problem  *Problem `json:"problem,omitempty"`
}

// bulkLine is a line of the answer: a result, or the summary at the end.
type bulkLine struct {
	BulkResult
	Done *bool `json:"done"` // false: the gateway did not read the rest, and the problem says why
}

// ErrBulkCut is yielded when a bulk answer ended without its summary. Items
// without a result may or may not have been accepted; sending them again with the
// same idempotency keys is safe.
var ErrBulkCut = errors.New("bulk: the answer was cut off; items without a result may have been accepted")

// Bulk sends items in one request and yields each result as it arrives. An item
// with an accepted result is on stable storage. Both directions stream, so
// neither the items nor the results are held in memory. Another goroutine ranges
// over items; it has ended when Bulk's range ends.
//
// Every item without an idempotency key gets one (BulkResult.Key). The request as
// a whole is not repeated. An error is the last value that Bulk yields.
func (c *Client) Bulk(ctx context.Context, items iter.Seq[BulkItem]) iter.Seq2[BulkResult, error] {
	return func(yield func(BulkResult, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		pr, pw := io.Pipe()
		written := make(chan error, 1)
		// The writer ends when the items end or pr is closed.
		go func() {
			err := writeItems(pw, items)
			pw.CloseWithError(err)
			written <- err
		}()
		err := c.bulk(ctx, pr, yield)
		cancel()
		pr.CloseWithError(io.ErrClosedPipe)
		werr := <-written
		switch {
		case errors.Is(err, errStopped) || err == nil:
			return
		case werr != nil && !errors.Is(werr, io.ErrClosedPipe):
			err = werr // it is the cause
		}
		yield(BulkResult{}, err)
	}
}

// writeItems encodes items as lines until they end or the reader closes.
func writeItems(w io.Writer, items iter.Seq[BulkItem]) error {
	b := newLingerWriter(w)
	defer b.stop()
	enc := json.NewEncoder(b) // ends each value with a line feed
	n := 0
	for it := range items {
		n++
		body, err := it.Push.body(&it.To)
		if err != nil {
			return fmt.Errorf("bulk item %d: %w", n, err)
		}
		if body.Key = it.Push.IdempotencyKey; body.Key == "" {
			body.Key = rand.Text()
		}
		if err := enc.Encode(body); err != nil {
			return err
		}
	}
	return b.flush()
}

// linger is how long an encoded item waits for others. A fast source then fills
// whole buffers, and the items of a slow one still leave without a visible delay.
const linger = 5 * time.Millisecond

// lingerWriter collects small writes and passes them on when its buffer is full
// or linger is over.
type lingerWriter struct {
	mu    sync.Mutex
	buf   *bufio.Writer // guarded by mu
	armed bool          // guarded by mu: timer will flush
	timer *time.Timer
}

func newLingerWriter(w io.Writer) *lingerWriter {
	l := &lingerWriter{buf: bufio.NewWriterSize(w, 16<<10)}
	l.timer = time.AfterFunc(time.Hour, func() { l.flush() })
	l.timer.Stop()
	return l
}

func (l *lingerWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := l.buf.Write(p)
	if !l.armed && l.buf.Buffered() > 0 {
		l.armed = true
		l.timer.Reset(linger)
	}
	return n, err
}

// flush writes the buffer. Each later Write returns its error.
func (l *lingerWriter) flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed = false
	return l.buf.Flush()
}

func (l *lingerWriter) stop() { l.timer.Stop() }

// bulk sends body and yields the results. It returns nil when the summary has
// come.
func (c *Client) bulk(ctx context.Context, body io.Reader, yield func(BulkResult, error) bool) error {
	req, err := c.newRequest(ctx, request{method: http.MethodPost, path: "/v1/messages/bulk",
		header: http.Header{"Content-Type": {"application/x-ndjson"}, "Accept": {"application/x-ndjson"}}}, body)
	if err != nil {
		return err
	}
	res, err := c.send(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return problemOf(res)
	}
	return readResults(res.Body, yield)
}

func readResults(r io.Reader, yield func(BulkResult, error) bool) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 4096), maxLine)
	for s.Scan() {
		if len(bytes.TrimSpace(s.Bytes())) == 0 {
			continue
		}
		var l bulkLine
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			return &notGatewayError{fmt.Errorf("bulk result: %w", err)}
		}
		switch {
		case l.Done != nil && *l.Done:
			return nil
		case l.Done != nil && l.Problem != nil:
			return l.Problem
		case l.Done != nil:
			return ErrBulkCut
		}
		if !yield(l.BulkResult, nil) {
			return errStopped
		}
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("%w (%w)", ErrBulkCut, err)
	}
	return ErrBulkCut
}
