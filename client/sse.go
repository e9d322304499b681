package client

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

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
