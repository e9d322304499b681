package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/api/internal/tenant"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/feed"
)

const (
	keepAlive     = 15 * time.Second // of silence, then a comment
	streamTimeout = 10 * time.Second // for one write to a reader
	eventBatch    = 128              // events in one write, unless they have maxPooled bytes before
	maxTypes      = 64               // of a filter; one in a body has as many
	eventsRetry   = "retry: 2000\n\n"
)

// events streams events.
//
//	@ID				events
//	@Summary		Stream events
//	@Description	Server-sent events, or with `Accept: application/x-ndjson` one JSON object per line. Each is a CloudEvents 1.0 event.
//	@Description	The events are in a durable log: a reader that reconnects with Last-Event-ID (browsers do) or `after` misses nothing, also over a restart of the gateway. A first event `gap` means that the events behind the position are no longer kept; a last event `overflow` that events were removed before the reader came to them.
//	@Description	`sequence` is a cursor: compare it with nothing and do not calculate with it. The same event has the same `id` for every reader, also after a restart.
//	@Description	`since` starts at a time. With `follow=false` the answer ends at the newest event.
//	@Description	Without the scope `messages:read` the text of `uplink` and `result` are left out, and `payload_gone` says so; likewise if they are no longer kept.
//	@Tags			events
//	@Produce		text/event-stream,application/x-ndjson
//	@Param			types			query		string	false	"event types by comma, with wildcards such as client.*"
//	@Param			client			query		string	false	"of this client"
//	@Param			prefix			query		string	false	"of clients whose id starts so"
//	@Param			group			query		string	false	"of the members of this group"
//	@Param			label.{key}		query		string	false	"of clients with this label"
//	@Param			after			query		string	false	"behind this sequence; earliest (or 0) is the oldest event kept, now is the end"	default(now)
//	@Param			since			query		string	false	"logged at this time or later, or so long ago at most, such as 1h"
//	@Param			follow			query		bool	false	"false ends the answer at the newest event"	default(true)
//	@Param			Last-Event-ID	header		string	false	"as after"
//	@Success		200				{object}	Event	"a stream of events"
//	@x-scope		"events:read"
//	@Router			/v1/events [get]
func (s *server) events(w http.ResponseWriter, r *http.Request) error {
	q := queryOf(r)
	st := stream{server: s, view: viewOf(w), form: s.eventForm(viewOf(w)), wire: http.NewResponseController(w), w: w}
	st.payloads = st.view.Key().Scopes.Allows(apikey.MessagesRead)
	filter := feed.Filter{Types: q.list("types"), Client: q.clientID("client"), Prefix: q.prefix("prefix"), Group: q.group("group"), Labels: q.prefixed("label.")}
	for name := range filter.Labels {
		if !gateway.ValidLabelKey(name) {
			q.fail("label."+name, "names no label: 1 to %d bytes of A-Z a-z 0-9 . _ -, and neither . nor ..", gateway.MaxLabelKey)
		}
	}
	if len(filter.Labels) > gateway.MaxLabels {
		q.fail("label", "is given more than %d times", gateway.MaxLabels)
	}
	if len(filter.Types) > maxTypes {
		q.fail("types", "has more than %d entries", maxTypes)
	}
	begin := q.begin(r, s.cfg.Now())
	follow := q.oneOf("follow", "true", "true", "false") == "true"
	if _, err := st.view.Filter(filter); err != nil {
		q.fail("types", "%v", err)
	}
	if err := q.done(); err != nil {
		return err
	}
	var ok bool
	if st.lines, ok = wantsLines(r); !ok {
		return problem.New(problem.NotAcceptable, "the stream is text/event-stream or application/x-ndjson")
	}
	release, err := s.takeStream(w)
	if err != nil {
		return err
	}
	defer release()
	after, err := begin.position(st.view)
	if err != nil {
		return err
	}
	sub, gap, err := st.view.Subscribe(after, filter)
	if err != nil {
		return err
	}
	st.sub, st.gap = sub, gap && !begin.lenient()
	if !follow {
		st.until = st.view.LastEvent()
		st.finite = true
		sub.EndAt(st.until)
	}
	return st.run(r.Context())
}

// beginning is where a reader of the log starts.
type beginning struct {
	after position
	since time.Time
}

// begin takes after and since, or the header Last-Event-ID.
func (q *query) begin(r *http.Request, now time.Time) beginning {
	b := beginning{after: q.position("after"), since: q.since("since", now)}
	if b.after.given && !b.since.IsZero() {
		q.fail("since", "goes with no after")
	}
	if last := r.Header.Get("Last-Event-Id"); last != "" && !b.after.given {
		b.since = time.Time{} // the reader has come further
		var ok bool
		if b.after, ok = parsePosition(last); !ok {
			b.after.seq = 1 // it is before every event, so that the reader gets a gap event
		}
	}
	return b
}

// position returns the number behind which the reader starts.
func (b *beginning) position(v *tenant.View) (uint64, error) {
	switch {
	case !b.since.IsZero():
		return v.EventsBefore(b.since)
	case !b.after.given, b.after.now:
		return v.LastEvent(), nil
	}
	return b.after.seq, nil
}

// lenient reports whether the reader asked for what there is, so that there is no gap.
func (b *beginning) lenient() bool { return b.after.seq == 0 }

// getEvent returns one event.
//
//	@ID				getEvent
//	@Summary		Read an event
//	@Description	As the stream shows it.
//	@Tags			events
//	@Produce		json
//	@Param			id	path		string	true	"id of the event"
//	@Success		200	{object}	Event
//	@x-scope		"events:read"
//	@Router			/v1/events/{id} [get]
func (s *server) getEvent(w http.ResponseWriter, r *http.Request) error {
	view := viewOf(w)
	form := s.eventForm(view)
	id := pathParam(r, "id")
	number, ok := form.number(id)
	var e gateway.Event
	if ok {
		var err error
		if e, ok, err = view.Event(number); err != nil {
			return err
		}
	}
	if !ok || form.id(e.Seq, e.At) != id {
		return problem.New(problem.EventNotFound, "no event %q is kept", id)
	}
	v, err := form.event(&e, view.Key().Scopes.Allows(apikey.MessagesRead))
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, v)
}

func (s *server) eventForm(v *tenant.View) *eventForm {
	return &eventForm{source: s.cfg.Source, key: s.eventKey, whole: v.Whole}
}

// takeStream counts a caller that waits for events. The caller of takeStream calls
// release when the wait is over.
func (s *server) takeStream(w http.ResponseWriter) (release func(), err error) {
	if s.streams.Add(1) > int64(s.cfg.MaxStreams) {
		s.streams.Add(-1)
		return nil, problem.New(problem.RateLimited, "%d event streams are open, which is the most this server serves", s.cfg.MaxStreams)
	}
	who := exchangeOf(w).principal
	if most := s.perKey(w); !s.callers.Enter(who, most) {
		s.streams.Add(-1)
		return nil, problem.New(problem.RateLimited, "the API key has %d event streams open, which is the most it may", most)
	}
	return func() {
		s.callers.Exit(who)
		s.streams.Add(-1)
	}, nil
}

// perKey returns how many streams the caller may have. In an open API all callers
// share one number. A limited key may have fewer, because the gateway checks each
// event for each of its streams.
func (s *server) perKey(w http.ResponseWriter) int {
	switch x := exchangeOf(w); {
	case x.principal == "":
		return s.cfg.MaxStreams
	case !x.view.Key().Limit.None():
		return max(1, s.cfg.MaxStreamsPerKey/limitedStreams)
	}
	return s.cfg.MaxStreamsPerKey
}

// limitedStreams divides MaxStreamsPerKey for a limited key.
const limitedStreams = 8

// position is a place in a log: after the entry with that sequence; 0 is the
// beginning.
type position struct {
	seq   uint64
	now   bool // the end
	given bool
}

// position takes a sequence number, or a word for one end of the log.
func (q *query) position(name string) position {
	v := q.one(name)
	if v == "" {
		return position{}
	}
	p, ok := parsePosition(v)
	if !ok {
		q.fail(name, "must be a sequence number, earliest or now")
	}
	return p
}

// parsePosition reads a position; ok is false for any other text.
func parsePosition(text string) (p position, ok bool) {
	switch text {
	case "earliest":
		return position{given: true}, true
	case "now":
		return position{now: true, given: true}, true
	}
	n, err := strconv.ParseUint(text, 10, 64)
	return position{seq: n, given: true}, err == nil
}

// list takes a parameter with values by comma, which may be repeated.
func (q *query) list(name string) (values []string) {
	for _, list := range q.all(name) {
		for v := range strings.SplitSeq(list, ",") {
			values = append(values, strings.TrimSpace(v))
		}
	}
	return values
}

// stream is one reader of the events. It is owned by its request's goroutine.
type stream struct {
	server   *server
	view     *tenant.View
	form     *eventForm
	sub      *tenant.Subscription
	w        http.ResponseWriter
	wire     *http.ResponseController
	lines    bool   // NDJSON
	payloads bool   // the key may read messages
	gap      bool   // events behind the position are gone
	finite   bool   // the stream ends at until
	until    uint64 // position
	buf      bytes.Buffer
}

// run writes until the reader leaves, is too slow, or the server stops.
func (st *stream) run(ctx context.Context) error {
	st.begin()
	if st.gap {
		st.note(eventGap, "events after the position are gone", st.sub.Position())
	}
	if err := st.send(); err != nil {
		return nil // the reader has gone
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(st.server.drain.began, cancel)()
	events := make([]gateway.Event, 0, eventBatch)
	for !st.finite || st.sub.Position() < st.until {
		var err error
		if events, err = st.next(ctx, events[:0]); err != nil {
			break
		}
		for i := range events {
			if st.finite && events[i].Seq > st.until {
				break
			}
			st.event(&events[i])
			if st.buf.Len() >= maxPooled && st.flush() != nil {
				return nil
			}
		}
		if st.flush() != nil {
			return nil
		}
	}
	st.end()
	return nil
}

// begin writes the header.
func (st *stream) begin() {
	h := st.w.Header()
	h.Set("X-Accel-Buffering", "no")
	if st.lines {
		h.Set("Content-Type", "application/x-ndjson")
	} else {
		h.Set("Content-Type", "text/event-stream; charset=utf-8")
		st.buf.WriteString(eventsRetry)
	}
	st.w.WriteHeader(http.StatusOK)
}

// next returns events, or none after keepAlive of silence. An error ends the
// stream. Before it returns an overflow, next writes the overflow event.
func (st *stream) next(ctx context.Context, buf []gateway.Event) ([]gateway.Event, error) {
	quiet, cancel := context.WithTimeout(ctx, keepAlive)
	defer cancel()
	events, err := st.sub.Next(quiet, buf)
	switch {
	case err == nil && len(events) == 0: // it has passed over many
		st.comment("position")
		return events, nil
	case err == nil:
		return events, nil
	case ctx.Err() != nil: // the reader has gone, or the server drains
		st.comment("end of stream")
		st.flush()
		return nil, ctx.Err()
	case errors.Is(err, context.DeadlineExceeded):
		st.comment("keep-alive")
		return nil, nil
	case errors.Is(err, gateway.ErrOverflow):
		st.note(eventOverflow, "events were removed before they were read; connect again to go on with the oldest one kept", 0)
		st.flush()
	}
	return nil, err
}

// comment writes a line that is no event. It keeps proxies from closing a silent
// stream, and marks an orderly end. It carries the position, because filtered
// events may have moved it far beyond the last event that was written.
func (st *stream) comment(text string) {
	if st.lines {
		st.buf.WriteByte('\n')
		return
	}
	st.buf.WriteString("id: " + strconv.FormatUint(st.sub.Position(), 10) + "\n: " + text + "\n\n")
}

func (st *stream) event(e *gateway.Event) {
	v, err := st.form.event(e, st.payloads)
	if err != nil {
		st.server.log.Warn("an event goes out without the payload of its uplink", "uplink", e.Uplink.Seq, "cause", err)
	}
	st.write(v)
}

// note writes an event of the stream itself.
func (st *stream) note(kind, detail string, position uint64) {
	now := st.server.cfg.Now()
	v := Event{SpecVersion: "1.0", ID: eventPrefix + uuid.Must(uuid.NewV7()).String(), Type: kind, Source: st.server.cfg.Source,
		Time: stamp(now), ContentType: "application/json", Data: EventData{Detail: detail}}
	if position > 0 {
		v.Sequence = strconv.FormatUint(position, 10)
	}
	st.write(v)
}

func (st *stream) write(v Event) { st.put(v.Sequence, v.Type, v) }

// put appends v as a line, or as a server-sent event; id "" is none.
func (st *stream) put(id, kind string, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain types only
	}
	if st.lines {
		st.buf.Write(data)
		st.buf.WriteByte('\n')
		return
	}
	if id != "" {
		st.buf.WriteString("id: " + id + "\n")
	}
	st.buf.WriteString("event: " + kind + "\ndata: ")
	st.buf.Write(data)
	st.buf.WriteString("\n\n")
}

// flush sends the buffered lines, if there are any.
func (st *stream) flush() error {
	if st.buf.Len() == 0 {
		return nil
	}
	return st.send()
}

// send sends the buffered lines, and the header if it is not sent yet, within
// streamTimeout. A stream outlasts the server's deadline for an answer, so each
// send sets a new one.
func (st *stream) send() error {
	st.wire.SetWriteDeadline(time.Now().Add(streamTimeout)) // a writer in memory has none
	_, err := st.w.Write(st.buf.Bytes())
	if err == nil {
		err = st.wire.Flush()
	}
	if st.buf.Cap() > maxPooled {
		st.buf = bytes.Buffer{}
	}
	st.buf.Reset()
	return err
}

// end gives net/http time to write the last chunk: the deadline of the last send may have
// passed, and the reader would see a broken answer.
func (st *stream) end() { st.wire.SetWriteDeadline(time.Now().Add(streamTimeout)) }

// startOf returns the position that a member of a body names.
func (s *server) startOf(w http.ResponseWriter, text, pointer string) (uint64, error) {
	view := viewOf(w)
	switch text {
	case "", "now":
		return view.LastEvent(), nil
	case "earliest":
		return 0, nil
	}
	if n, err := strconv.ParseUint(text, 10, 64); err == nil {
		if n > view.LastEvent() { // the reader would wait for this number and miss all events until then
			return 0, problem.InvalidBody(pointer, "is beyond the newest event, so it is no cursor of this log")
		}
		return n, nil
	}
	t, wrong := timeBefore(text, s.cfg.Now())
	if wrong != "" {
		return 0, problem.InvalidBody(pointer, "must be now, earliest, a cursor, an RFC 3339 time or a duration such as 1h")
	}
	return view.EventsBefore(t)
}

// eventsBefore returns the position of the last event before the time that a member of
// a body gives.
func (s *server) eventsBefore(w http.ResponseWriter, text, pointer string) (uint64, error) {
	t, wrong := timeBefore(text, s.cfg.Now())
	if wrong != "" {
		return 0, problem.InvalidBody(pointer, "%s", wrong)
	}
	return viewOf(w).EventsBefore(t)
}
