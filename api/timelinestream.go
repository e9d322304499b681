package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/api/internal/tenant"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/timeline"
)

// followTimeline streams the entries of a client: first those that a.limit allows, or
// those behind Last-Event-ID.
func (s *server) followTimeline(w http.ResponseWriter, r *http.Request, id gateway.ClientID, a timelineQuery) error {
	lines, ok := wantsLines(r)
	if !ok {
		return problem.New(problem.NotAcceptable, "the stream is text/event-stream or application/x-ndjson")
	}
	view := viewOf(w)
	if _, err := view.Client(id); err != nil {
		return err
	}
	if s.cfg.Timeline == nil {
		return timelineOff()
	}
	release, err := s.takeStream(w)
	if err != nil {
		return err
	}
	defer release()
	var first []TimelineEntry
	after, err := strconv.ParseUint(r.Header.Get("Last-Event-Id"), 10, 64)
	if err != nil || after == 0 {
		t, err := s.timelineOf(r.Context(), w, id, timelineQuery{limit: gateway.MaxListLimit, payloads: a.payloads, follow: true})
		if err != nil {
			return err
		}
		for _, e := range t.Items {
			after, _ = strconv.ParseUint(e.ID, 10, 64)
			if a.message == "" || e.Message == string(a.message) {
				first = append(first, e)
			}
		}
		first = first[max(0, len(first)-a.limit):]
	}
	reader, lost, err := view.FollowTimeline(s.cfg.Timeline, id, after)
	if err != nil {
		return err
	}
	defer reader.Close()
	st := timelineStream{stream: stream{server: s, view: view, w: w, wire: http.NewResponseController(w), lines: lines}, query: a, reader: reader}
	if lost {
		first = append(first, st.overflow())
	}
	return st.run(r.Context(), first)
}

// timelineStream is one reader of a timeline. It is owned by its request's goroutine.
type timelineStream struct {
	stream
	query  timelineQuery
	reader *tenant.TimelineReader
}

// run writes until the reader leaves or is too slow, the client is forgotten, or the
// server stops.
func (st *timelineStream) run(ctx context.Context, first []TimelineEntry) error {
	st.begin()
	for i := range first {
		st.entry(&first[i])
	}
	if st.send() != nil {
		return nil // the reader has gone
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(st.server.drain.began, cancel)()
	entries := make([]timeline.Entry, 0, eventBatch)
	for {
		var err error
		if entries, err = st.next(ctx, entries[:0]); err != nil {
			st.end()
			return nil
		}
		for i := range entries {
			if v := timelineView(&entries[i], st.query.payloads); st.query.message == "" || v.Message == string(st.query.message) {
				st.entry(&v)
			}
		}
		if st.flush() != nil {
			return nil
		}
	}
}

// next returns entries, or none after keepAlive of silence. An error ends the stream.
func (st *timelineStream) next(ctx context.Context, buf []timeline.Entry) ([]timeline.Entry, error) {
	quiet, cancel := context.WithTimeout(ctx, keepAlive)
	defer cancel()
	entries, err := st.reader.Next(quiet, buf)
	switch {
	case err == nil:
		return entries, nil
	case ctx.Err() != nil: // the reader has gone, or the server drains
		st.silence("end of stream")
		st.flush()
		return nil, ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		if _, err := st.view.Client(st.reader.Client); err != nil {
			return nil, err
		}
		st.silence("keep-alive")
		return nil, st.view.Alive()
	case errors.Is(err, timeline.ErrOverflow):
		v := st.overflow()
		st.entry(&v)
		st.flush()
	}
	return nil, err
}

// overflow is the entry that stands for those that were removed.
func (st *timelineStream) overflow() TimelineEntry {
	return TimelineEntry{ID: "0", At: fineStamp(st.server.cfg.Now()), Source: fromMemory, What: timelineOverflow,
		Detail: "entries were removed before they were read"}
}

// silence writes a line that is no entry.
func (st *timelineStream) silence(text string) {
	if st.lines {
		st.buf.WriteByte('\n')
		return
	}
	st.buf.WriteString(": " + text + "\n\n")
}
