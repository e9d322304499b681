package api

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
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
)

const (
	keepAlive     = 15 * time.Second // of silence, then a comment
	streamTimeout = 10 * time.Second // for one write to a reader
	eventBatch    = 128              // events in one write
	eventsRetry   = "retry: 2000\n\n"
)

// Event is a CloudEvents 1.0 event in JSON. Its members depend on the type.
type Event struct {
	SpecVersion string    `json:"specversion" validate:"required" example:"1.0"`                                                                                                                                                                                         // of CloudEvents
	ID          string    `json:"id" validate:"required" example:"evt_0193f2a0-7c1e-7d3a-9b1f-2f6d1c0a9e11"`                                                                                                                                                             // names the event
	Type        string    `json:"type" validate:"required" enums:"client.connected,client.disconnected,client.replaced,message.received,message.acked,message.rejected,message.expired,message.canceled,message.failed,message.late_ack,message.completed,gap,overflow"` // type of the event
	Source      string    `json:"source" validate:"required" example:"/longwire"`                                                                                                                                                                                        // the gateway
	Subject     string    `json:"subject,omitempty" example:"truck-17"`                                                                                                                                                                                                  // the client, or the message to many
	Time        string    `json:"time" validate:"required" format:"date-time"`                                                                                                                                                                                           // when it happened
	Sequence    string    `json:"sequence,omitempty" example:"1763800000000017"`                                                                                                                                                                                         // position in the stream, for after; absent in gap and overflow
	ContentType string    `json:"datacontenttype" validate:"required" example:"application/json"`                                                                                                                                                                        // of data
	Data        EventData `json:"data" validate:"required"`                                                                                                                                                                                                              // details, by type
} //@name Event

// EventData has the details of an event.
type EventData struct {
	Client       string  `json:"client,omitempty" example:"truck-17"`                        // that it is about
	Session      string  `json:"session,omitempty"`                                          // of its connection
	Reason       string  `json:"reason,omitempty" example:"heartbeat_timeout"`               // why
	By           string  `json:"by,omitempty" example:"gateway"`                             // which side ended the connection
	Dialect      string  `json:"dialect,omitempty"`                                          // that the client speaks
	RemoteAddr   string  `json:"remote_addr,omitempty"`                                      // the address of its end of the connection
	MessageID    string  `json:"message_id,omitempty"`                                       // that it is about
	Status       string  `json:"status,omitempty" example:"acked"`                           // the state of the delivery
	Attempts     int     `json:"attempts,omitempty"`                                         // transmissions of the delivery
	Result       *string `json:"result,omitempty"`                                           // the device's answer, as text
	ResultBase64 []byte  `json:"result_base64,omitempty" swaggertype:"string" format:"byte"` // the same if it is no text
	Counts       *Counts `json:"counts,omitempty"`                                           // of a message to many that is completed
	Uplink       *Uplink `json:"uplink,omitempty"`                                           // that the device has sent
	Detail       string  `json:"detail,omitempty"`                                           // for people
} //@name EventData

// Types of events that the stream itself makes.
const (
	eventGap      = "gap"      // events after the asked-for position are gone
	eventOverflow = "overflow" // the reader was too slow; the stream ends
)

var eventTypes = []gateway.EventType{
	gateway.EventClientConnected, gateway.EventClientDisconnected, gateway.EventClientReplaced,
	gateway.EventMessageReceived, gateway.EventMessageAcked, gateway.EventMessageRejected, gateway.EventMessageExpired,
	gateway.EventMessageCanceled, gateway.EventMessageFailed, gateway.EventMessageLateAck, gateway.EventMessageCompleted,
}

func (s *server) eventView(e *gateway.Event) Event {
	v := Event{
		SpecVersion: "1.0", ID: s.eventID(e.Seq, e.At), Type: string(e.Type), Source: s.cfg.Source, Subject: string(e.Client),
		Time: stamp(e.At), Sequence: strconv.FormatUint(e.Seq, 10), ContentType: "application/json",
		Data: EventData{
			Client: string(e.Client), Session: string(e.Session), Reason: e.Reason, By: string(gateway.CloserOf(e.Reason)), Dialect: e.Dialect, RemoteAddr: e.Remote,
			MessageID: string(e.Message), Status: e.State.String(), Attempts: e.Attempts,
		},
	}
	if v.Subject == "" {
		v.Subject = string(e.Message)
	}
	v.Data.Result, v.Data.ResultBase64 = result(e.Result)
	if e.Counts != nil {
		c := countsView(e.Counts)
		v.Data.Counts = &c
	}
	if e.Uplink != nil {
		u := uplinkView(e.Uplink)
		v.Data.Uplink = &u
	}
	return v
}

// hidePayloads removes the payloads, which only a key with messages:read may see.
func (d *EventData) hidePayloads() {
	d.Result, d.ResultBase64 = nil, nil
	if d.Uplink != nil {
		d.Uplink.Text, d.Uplink.Base64 = nil, nil
	}
}

// eventID returns a UUIDv7 of the event's time, its sequence and the process's
// random key, so that every reader of this process gets the same id.
func (s *server) eventID(seq uint64, at time.Time) string {
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:8], uint64(at.UnixMilli())<<16|0x7000|seq>>52)
	binary.BigEndian.PutUint64(id[8:], (seq^s.bootKey)&(1<<62-1)|1<<63)
	return "evt_" + id.String()
}

// bootKey is the random part of event ids.
func bootKey(boot string) uint64 {
	var b [8]byte
	hex.Decode(b[:], []byte(boot)) // boot is our own hex
	return binary.BigEndian.Uint64(b[:])
}

// events streams events.
//
//	@ID				events
//	@Summary		Stream events
//	@Description	Server-sent events, or with `Accept: application/x-ndjson` one JSON object per line. Each is a CloudEvents 1.0 event.
//	@Description	A reader that reconnects with Last-Event-ID (browsers do) or `after` continues after the last event that it got. A first event `gap` means that some events are gone, a last event `overflow` that the reader was too slow.
//	@Description	Without the scope `messages:read` the text of `uplink` and `result` are left out, and so is the text of an uplink that is no longer kept.
//	@Tags			events
//	@Produce		text/event-stream,application/x-ndjson
//	@Param			types			query		string	false	"event types by comma, with wildcards such as client.*"
//	@Param			client			query		string	false	"of this client"
//	@Param			after			query		string	false	"behind this sequence; earliest (or 0) is the oldest event kept, now is the end"	default(now)
//	@Param			Last-Event-ID	header		string	false	"as after"
//	@Success		200				{object}	Event	"a stream of events"
//	@x-scope		"events:read"
//	@Router			/v1/events [get]
func (s *server) events(w http.ResponseWriter, r *http.Request) error {
	q := queryOf(r)
	st := stream{server: s, view: viewOf(w), types: q.eventTypes(), client: q.clientID("client"), wire: http.NewResponseController(w), w: w}
	st.payloads = st.view.Key().Scopes.Allows(apikey.MessagesRead)
	after := q.position("after")
	if st.position = after.seq; !after.given {
		st.position = lastEventID(r)
	}
	st.earliest = after.given && !after.now && after.seq == 0
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
	return st.run(r.Context())
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
	switch v := q.one(name); v {
	case "":
		return position{}
	case "earliest":
		return position{given: true}
	case "now":
		return position{now: true, given: true}
	default:
		n, err := strconv.ParseUint(v, 10, 64)
		if err != nil {
			q.fail(name, "must be a sequence number, earliest or now")
		}
		return position{seq: n, given: true}
	}
}

// lastEventID returns the sequence in the Last-Event-ID header, 0 for none. For an
// id that is no sequence it returns 1, which is before every event, so that the
// reader gets a gap event.
func lastEventID(r *http.Request) uint64 {
	v := r.Header.Get("Last-Event-Id")
	if v == "" {
		return 0
	}
	n, err := strconv.ParseUint(v, 10, 64)
	if err != nil || n == 0 {
		return 1
	}
	return n
}

// eventTypes takes the filter of types; nil = all.
func (q *query) eventTypes() map[gateway.EventType]bool {
	var wanted map[gateway.EventType]bool
	for _, list := range q.all("types") {
		for pattern := range strings.SplitSeq(list, ",") {
			if wanted == nil {
				wanted = make(map[gateway.EventType]bool)
			}
			if !selectTypes(strings.TrimSpace(pattern), wanted) {
				q.fail("types", "has no event type %q", pattern)
			}
		}
	}
	return wanted
}

func selectTypes(pattern string, wanted map[gateway.EventType]bool) bool {
	prefix, wild := strings.CutSuffix(pattern, "*")
	found := false
	for _, t := range eventTypes {
		if string(t) == pattern || wild && strings.HasPrefix(string(t), prefix) {
			wanted[t] = true
			found = true
		}
	}
	return found
}

// wantsLines reports whether the caller asked for NDJSON; ok is false when it
// accepts neither form.
func wantsLines(r *http.Request) (lines, ok bool) {
	accept := strings.ToLower(strings.Join(r.Header["Accept"], ","))
	if accept == "" || strings.Contains(accept, "text/event-stream") {
		return false, true
	}
	if strings.Contains(accept, "application/x-ndjson") {
		return true, true
	}
	return false, strings.Contains(accept, "*/*") || strings.Contains(accept, "text/*")
}

// stream is one reader of the events. It is owned by its request's goroutine.
type stream struct {
	server   *server
	view     *tenant.View
	w        http.ResponseWriter
	wire     *http.ResponseController
	types    map[gateway.EventType]bool // nil = all
	client   gateway.ClientID           // "" = all
	lines    bool                       // NDJSON
	payloads bool                       // the key may read messages
	earliest bool                       // from the oldest event that is kept, whichever that is
	position uint64                     // of the last event seen, passed on or not
	buf      bytes.Buffer
}

// run writes until the reader leaves, is too slow, or the server stops.
func (st *stream) run(ctx context.Context) error {
	if st.earliest {
		st.position = 1 // below all that was ever given
	}
	sub, gap := st.view.Subscribe(st.position)
	st.begin()
	if gap && !st.earliest {
		st.note(eventGap, "events after the position are gone")
	}
	if err := st.send(); err != nil {
		return nil // the reader has gone
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(st.server.drain.began, cancel)()
	events := make([]gateway.Event, 0, eventBatch)
	for {
		var err error
		if events, err = st.next(ctx, sub, events[:0]); err != nil {
			return nil
		}
		for i := range events {
			st.event(&events[i])
		}
		if st.flush() != nil {
			return nil
		}
	}
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
func (st *stream) next(ctx context.Context, sub *tenant.Subscription, buf []gateway.Event) ([]gateway.Event, error) {
	quiet, cancel := context.WithTimeout(ctx, keepAlive)
	defer cancel()
	events, err := sub.Next(quiet, buf)
	st.position = sub.Position() // counts events that this caller may not see
	switch {
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
		st.note(eventOverflow, "the reader was too slow and events are gone; connect again to go on with the oldest one kept")
		st.flush()
	}
	return nil, err
}

// comment writes a line that is no event. It keeps proxies from closing a silent
// stream, and marks an orderly end. It carries the position, because filtered
// events may have moved it far beyond the last event that was written.
func (st *stream) comment(text string) {
	switch {
	case st.lines:
		st.buf.WriteByte('\n')
	case st.position > 0:
		st.buf.WriteString("id: " + strconv.FormatUint(st.position, 10) + "\n: " + text + "\n\n")
	default:
		st.buf.WriteString(": " + text + "\n\n")
	}
}

func (st *stream) event(e *gateway.Event) {
	if st.types != nil && !st.types[e.Type] || st.client != "" && e.Client != st.client {
		return
	}
	v := st.server.eventView(e)
	switch {
	case !st.payloads:
		v.Data.hidePayloads()
	case e.Uplink != nil && e.Uplink.Omitted:
		st.complete(&v, e.Uplink)
	}
	st.write(v)
}

// complete adds the payload of an uplink, which it reads from the store.
func (st *stream) complete(v *Event, u *gateway.Uplink) {
	whole, ok, err := st.view.Whole(u)
	if !ok {
		if err != nil {
			st.server.log.Warn("an event goes out without the payload of its uplink", "uplink", u.Seq, "cause", err)
		}
		v.Data.hidePayloads()
		return
	}
	shown := uplinkView(&whole)
	v.Data.Uplink = &shown
}

// note writes an event of the stream itself.
func (st *stream) note(kind, detail string) {
	now := st.server.cfg.Now()
	st.write(Event{SpecVersion: "1.0", ID: "evt_" + uuid.Must(uuid.NewV7()).String(), Type: kind, Source: st.server.cfg.Source,
		Time: stamp(now), ContentType: "application/json", Data: EventData{Detail: detail}})
}

func (st *stream) write(v Event) {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain types only
	}
	if st.lines {
		st.buf.Write(data)
		st.buf.WriteByte('\n')
		return
	}
	if v.Sequence != "" {
		st.buf.WriteString("id: " + v.Sequence + "\n")
	}
	st.buf.WriteString("event: " + v.Type + "\ndata: ")
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
