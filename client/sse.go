package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// silence is how long a stream may be quiet before the client gives it up. The
// gateway sends a comment every 15 s.
const silence = 45 * time.Second

// subscription is a stream over one connection after another.
type subscription struct {
	client *Client
	path   string
	query  url.Values
	after  string        // the position behind which it is opened
	retry  time.Duration // as the gateway asked
}

// follow yields the events of a subscription until ctx ends, the caller stops, or another attempt cannot
// help. It gets each from read, which also gets the position behind it; io.EOF from read
// makes it open the stream again.
func follow[T any](ctx context.Context, from subscription, reconnecting func(error, time.Duration), read func(f frame, at string) (T, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		s := from // a second range starts from the beginning
		err := s.client.goOn(ctx, reconnecting, &s.retry, func(ctx context.Context) (bool, error) {
			return s.once(ctx, func(f frame) error {
				item, err := read(f, s.after)
				switch {
				case errors.Is(err, io.EOF):
					return err
				case err != nil:
					return &notGatewayError{fmt.Errorf("event %q: %w", f.id, err)}
				case !yield(item, nil):
					return errStopped
				}
				return nil
			})
		})
		if err != nil {
			var zero T
			yield(zero, err)
		}
	}
}

// once opens the stream, and passes its events to deliver until the stream or deliver ends.
// progress is true if at least one line came, so the gateway is there.
func (s *subscription) once(ctx context.Context, deliver func(frame) error) (progress bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Canceling the request wakes a read from a dead connection.
	watchdog := time.AfterFunc(silence, func() { cancel(errors.New("event stream: silent for too long")) })
	defer watchdog.Stop()

	res, err := s.client.openStream(ctx, s.path, s.query, s.after)
	if err != nil {
		return false, causeOf(ctx, err)
	}
	defer res.Body.Close()
	r := newEventReader(res.Body, func() { progress = true; watchdog.Reset(silence) })
	for {
		f, err := r.next()
		s.retry = r.retry
		if r.position != "" {
			s.after = r.position
		}
		if err != nil {
			return progress, causeOf(ctx, err)
		}
		watchdog.Stop() // the caller may take its time with an event
		if err := deliver(f); err != nil {
			return progress, err
		}
		watchdog.Reset(silence)
	}
}

// frame is one event of a stream in its wire form.
type frame struct {
	id   string
	name string
	data []byte // valid until the next call of next
}

// eventReader parses text/event-stream (WHATWG HTML §9.2.6).
type eventReader struct {
	scan  *bufio.Scanner
	alive func() // called for each line, comments included
	data  bytes.Buffer
	retry time.Duration // as the server asked, 0 for none
	// position is the id of the last complete block, even one without data: a
	// filter may skip many events.
	position string
}

// errLineTooLong is returned for a line beyond maxLine.
var errLineTooLong = errors.New("event stream: line too long")

// openStream opens an event stream, behind the event with the id after if that is not "".
func (c *Client) openStream(ctx context.Context, path string, query url.Values, after string) (*http.Response, error) {
	h := http.Header{"Accept": {"text/event-stream"}, "Cache-Control": {"no-cache"}}
	if after != "" {
		h.Set("Last-Event-ID", after)
	}
	req, err := c.newRequest(ctx, request{method: http.MethodGet, path: path, query: query, header: h}, nil)
	if err != nil {
		return nil, err
	}
	res, err := c.send(req)
	if err != nil {
		return nil, err
	}
	switch kind := res.Header.Get("Content-Type"); {
	case res.StatusCode != http.StatusOK:
		err = problemOf(res)
	case !strings.HasPrefix(kind, "text/event-stream"):
		err = &notGatewayError{fmt.Errorf("content type %q", kind)}
	default:
		return res, nil
	}
	res.Body.Close()
	return nil, err
}

func newEventReader(r io.Reader, alive func()) *eventReader {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 4096), maxLine)
	return &eventReader{scan: s, alive: alive}
}

// next returns the next event with data; io.EOF at the end of the stream. An
// event that the end cuts off is dropped, as the standard says.
func (r *eventReader) next() (frame, error) {
	var f frame
	r.data.Reset()
	for r.scan.Scan() {
		r.alive()
		line := r.scan.Bytes()
		if len(line) == 0 {
			if f.id != "" {
				r.position = f.id
			}
			if r.data.Len() == 0 {
				f = frame{}
				continue
			}
			f.data = bytes.TrimSuffix(r.data.Bytes(), []byte("\n"))
			return f, nil
		}
		if err := r.field(&f, line); err != nil {
			return frame{}, err
		}
	}
	if errors.Is(r.scan.Err(), bufio.ErrTooLong) {
		return frame{}, errLineTooLong
	}
	if err := r.scan.Err(); err != nil {
		return frame{}, err
	}
	return frame{}, io.EOF
}

// field processes one line: "name: value", or a comment that starts with a colon.
func (r *eventReader) field(f *frame, line []byte) error {
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(name) {
	case "id":
		if !bytes.ContainsRune(value, 0) {
			f.id = string(value)
		}
	case "event":
		f.name = string(value)
	case "data":
		if r.data.Len()+len(value) > maxLine {
			return errLineTooLong
		}
		r.data.Write(value)
		r.data.WriteByte('\n')
	case "retry":
		if ms, err := strconv.ParseUint(strings.TrimSpace(string(value)), 10, 31); err == nil {
			r.retry = time.Duration(ms) * time.Millisecond
		}
	}
	return nil
}
