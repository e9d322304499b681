package api

import (
	"context"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/apikey"
	"github.com/longwire/longwire/internal/timeline"
)

// Timeline has the last events of one client.
type Timeline struct {
	Client  string          `json:"client" validate:"required" example:"truck-17"` // its id
	Now     string          `json:"now" validate:"required" format:"date-time"`    // the gateway's clock
	Items   []TimelineEntry `json:"items" validate:"required"`                     // the oldest first
	Before  string          `json:"before,omitempty" example:"1763800000000017"`   // for the next call, which shows older entries; absent when there are none. A page that ends in the event log may have fewer entries than limit, or none
	Memory  string          `json:"memory_from,omitempty" format:"date-time"`      // the oldest entry in memory; older ones are from the event log. Absent if none is in memory
	Since   string          `json:"kept_since,omitempty" format:"date-time"`       // memory has nothing from before: the start of the gateway. Frames and transmissions are in memory alone, so older ones are gone
	Dropped bool            `json:"dropped,omitempty"`                             // older entries are gone from memory
	Traced  string          `json:"traced_until,omitempty" format:"date-time"`     // when the trace of the client ends; absent without one
} //@name Timeline

// TimelineEntry is one event of a client.
type TimelineEntry struct {
	ID         string `json:"id" validate:"required" example:"1763800000000017"`                                                               // rises within a client; that of the source log begins with log-
	At         string `json:"at" validate:"required" format:"date-time"`                                                                       // when
	Until      string `json:"until,omitempty" format:"date-time"`                                                                              // heartbeats, refused: when the last of them was
	Source     string `json:"source" validate:"required" enums:"memory,record,log"`                                                            // memory: it was seen as it happened. record: the client's present record says so. log: the event log has it
	What       string `json:"what" validate:"required" example:"frame"`                                                                        // what happened
	Connection string `json:"connection,omitempty" format:"date-time"`                                                                         // when the connection was accepted; distinguishes the connections of a client
	Count      int    `json:"count,omitempty" example:"6"`                                                                                     // heartbeats, refused: how many
	Session    string `json:"session,omitempty" example:"ses_0193f2a0-7c1e-7d3a-9b1f-2f6d1c0a9e11"`                                            // connected: the session
	RemoteAddr string `json:"remote_addr,omitempty" example:"192.0.2.7:40112"`                                                                 // connected, refused, closed: the device's address
	Transport  string `json:"transport,omitempty" enums:"tcp,tls"`                                                                             // connected, refused, closed
	Dialect    string `json:"dialect,omitempty" enums:"v1,v2,text"`                                                                            // connected, refused, closed
	Reason     string `json:"reason,omitempty" example:"heartbeat_timeout"`                                                                    // why: of a refusal, a close, a state, or malformed input
	By         string `json:"by,omitempty" example:"gateway"`                                                                                  // closed: which side ended the connection
	Direction  string `json:"direction,omitempty" enums:"in,out"`                                                                              // frame: from the device, or to it
	Frame      string `json:"frame,omitempty" example:"data"`                                                                                  // frame: its type
	Bytes      int    `json:"bytes,omitempty" example:"14"`                                                                                    // frame: its size on the wire. uplink: the size of the payload; absent above 1 KiB
	Number     string `json:"number,omitempty" example:"17"`                                                                                   // frame, uplink, delivery: of the payload, as the text dialect writes it: e7 counts within the connection
	Code       string `json:"code,omitempty" enums:"ok,reject,retry,send,not_kept,working"`                                                    // frame: of an ack
	Duplicate  bool   `json:"duplicate,omitempty"`                                                                                             // frame: a payload that was sent before
	Text       string `json:"text,omitempty"`                                                                                                  // frame that was traced: its bytes, if they are text; likewise the payload of an uplink
	Hex        string `json:"hex,omitempty" example:"0512117b7d"`                                                                              // frame that was traced: its bytes otherwise
	Cut        bool   `json:"cut,omitempty"`                                                                                                   // text and hex have the first bytes only
	Withheld   bool   `json:"withheld,omitempty"`                                                                                              // the bytes are kept, and the key may not read messages
	Uplink     uint64 `json:"uplink,omitempty" example:"4711"`                                                                                 // uplink: its sequence
	State      string `json:"state,omitempty" example:"sent"`                                                                                  // delivery: what became of it
	Message    string `json:"message,omitempty" example:"msg_0193f2a0-7c1e-7d3a-9b1f-2f6d1c0a9e11" validate:"omitempty"`                       // delivery, and frame if it is known: the message
	Attempts   int    `json:"attempts,omitempty" example:"1"`                                                                                  // delivery: transmissions so far
	Detail     string `json:"detail,omitempty" example:"entries were removed before they were read; connect again to go on with those behind"` // for people
} //@name TimelineEntry

// Kinds of entries that a stream adds, and the sources.
const (
	timelineOverflow = "overflow"
	fromMemory       = "memory"
	fromRecord       = "record"
)

// TimelineKinds returns every value of TimelineEntry.What.
func TimelineKinds() []string { return append(timeline.Kinds(), timelineUplink, timelineOverflow) }

// fineStamp shows a time in microseconds: frames are close to each other.
func fineStamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000000Z")
}

// timelineView returns an entry for a caller. payloads says whether it may read
// messages.
func timelineView(e *timeline.Entry, payloads bool) TimelineEntry {
	v := TimelineEntry{ID: strconv.FormatUint(e.Number, 10), At: fineStamp(e.At), Until: fineStamp(e.Until), Source: fromMemory, What: e.Kind.String(),
		Connection: fineStamp(e.Connection), Count: e.Count, Session: string(e.Session), RemoteAddr: e.Remote, Transport: e.Transport, Dialect: e.Dialect,
		Reason: e.Reason, Message: string(e.Message), Attempts: e.Attempts}
	if e.Seq != 0 {
		v.Number = strconv.FormatUint(e.Seq, 10)
		if e.Ephemeral {
			v.Number = "e" + v.Number
		}
	}
	switch e.Kind {
	case timeline.Closed:
		v.By = string(gateway.CloserOf(e.Reason))
	case timeline.Stepped:
		v.State = e.Step.String()
	case timeline.Framed:
		v.frame(e, payloads)
	}
	return v
}

// frame adds the members of a frame.
func (v *TimelineEntry) frame(e *timeline.Entry, payloads bool) {
	v.Frame, v.Bytes, v.Duplicate = e.Frame.String(), e.Size, e.Dup
	v.Direction = "in"
	if e.Out {
		v.Direction = "out"
	}
	if e.IsAck() {
		v.Code = e.Code.String()
	}
	switch {
	case e.Bytes == nil:
	case !payloads && e.HasPayload():
		v.Withheld = true
	case isLine(e.Bytes):
		v.Text, v.Cut = string(e.Bytes), e.Cut
	default:
		v.Hex, v.Cut = hex.EncodeToString(e.Bytes), e.Cut
	}
}

// isLine reports whether b is UTF-8 without control characters, besides an end of line.
func isLine(b []byte) bool {
	return utf8.Valid(b) && !strings.ContainsFunc(strings.TrimRight(string(b), "\r\n"), func(r rune) bool { return r < ' ' || r == 0x7f })
}

// timeline shows or streams the last events of a client.
//
//	@ID				timeline
//	@Summary		Last events of a client
//	@Description	Connections, refusals, frames with type and size, what became of deliveries, and closes: up to 200 entries in memory. A trace adds the bytes of every frame. Heartbeats that came in time are counted.
//	@Description	Frames and transmissions are in memory alone, and end with the process: `kept_since` is its start. Older entries are from the event log, also from before a restart: connections, closes, deliveries that were queued for an absent client or became final, and uplinks. `source` is `log`. A call looks at 500,000 events of all clients at most; `before` continues there, and `since` and `until` lead to a time at once.
//	@Description	A client that is only connected has no entries in memory. Its present connection, or how its last one ended, is then taken from its record: `source` is `record`.
//	@Description	With `follow=true` the answer is a stream: server-sent events, or with `Accept: application/x-ndjson` one entry per line. It begins with the last entries, or behind Last-Event-ID. An entry `overflow` means that entries were removed before the reader came to them; the stream may end with it, and go on with the next connection.
//	@Description	Without the scope `messages:read` the bytes of payloads, acks and malformed input are left out, and `withheld` says so.
//	@Tags			clients
//	@Produce		json,text/event-stream,application/x-ndjson
//	@Param			id				path		string	true	"client id"
//	@Param			message			query		string	false	"entries of the deliveries of this message"
//	@Param			before			query		string	false	"entries before this id, or before of the page before"
//	@Param			since			query		string	false	"entries from this time on, or so long ago at most, such as 1h; not with follow"
//	@Param			until			query		string	false	"entries from before this time, or from longer ago; not with follow"
//	@Param			limit			query		int		false	"so many entries, the newest ones"	minimum(1)	maximum(1000)	default(200)
//	@Param			follow			query		bool	false	"stream further entries"			default(false)
//	@Param			Last-Event-ID	header		string	false	"with follow: behind this id"
//	@Success		200				{object}	Timeline
//	@x-scope		"events:read"
//	@Router			/v1/clients/{id}/timeline [get]
func (s *server) timeline(w http.ResponseWriter, r *http.Request) error {
	id, err := clientInPath(r)
	if err != nil {
		return err
	}
	q := queryOf(r)
	a := timelineQuery{message: gateway.MessageID(q.one("message")), limit: q.integer("limit", timeline.MaxEntries, 1, gateway.MaxListLimit),
		since: q.since("since", s.cfg.Now()), until: q.since("until", s.cfg.Now())}
	a.before, a.beforeLog = q.place("before")
	follow := q.flag("follow")
	if _, ok := a.message.UUID(); !ok && a.message != "" {
		q.fail("message", "is not a message id")
	}
	if follow && (a.before != 0 || a.beforeLog != 0) {
		q.fail("before", "goes with no follow")
	}
	if follow && !(a.since.IsZero() && a.until.IsZero()) {
		q.fail("since", "goes with no follow, nor does until")
	}
	if err := q.done(); err != nil {
		return err
	}
	a.payloads = viewOf(w).Key().Scopes.Allows(apikey.MessagesRead)
	if follow {
		return s.followTimeline(w, r, id, a)
	}
	ctx, release := s.patience(w, r)
	defer release()
	t, err := s.timelineOf(ctx, w, id, a)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, t)
}

// timelineQuery selects entries.
type timelineQuery struct {
	message      gateway.MessageID
	before       uint64 // an entry in memory; 0 = no bound
	beforeLog    uint64 // an entry from the log, and none in memory; 0 = no bound
	since, until time.Time
	limit        int
	payloads     bool
	follow       bool // entries in memory alone
}

// wants reports whether a selects an entry, but for its place.
func (a *timelineQuery) wants(v *TimelineEntry, at time.Time) bool {
	return (a.message == "" || v.Message == string(a.message)) && !at.Before(a.since) && (a.until.IsZero() || at.Before(a.until))
}

// timelineOf returns the selected entries of a client that the caller may see.
func (s *server) timelineOf(ctx context.Context, w http.ResponseWriter, id gateway.ClientID, a timelineQuery) (*Timeline, error) {
	view := viewOf(w)
	t := &Timeline{Client: string(id), Now: fineStamp(s.cfg.Now()), Items: []TimelineEntry{}}
	c, page, err := view.Timeline(s.cfg.Timeline, id)
	switch {
	case err == nil && s.cfg.Timeline == nil:
		return nil, timelineOff()
	case err == nil:
	case gateway.CodeOf(err) == gateway.CodeClientNotFound && s.cfg.Timeline != nil && view.MaySee(id):
		k := s.refusal(id)
		if k == nil {
			return nil, err
		}
		if v := strangerItem(k); a.beforeLog == 0 && (a.before == 0 || uint64(k.LastAt.UnixMicro()) < a.before) && a.wants(&v, k.LastAt) {
			t.Items = append(t.Items, v)
		}
		return t, nil
	default:
		return nil, err
	}
	if page.Trace != nil {
		t.Traced = fineStamp(page.Trace.EndsAt)
	}
	t.Dropped, t.Since = page.Dropped, fineStamp(page.Since)
	if len(page.Entries) > 0 {
		t.Memory = fineStamp(page.Entries[0].At)
	}
	if a.beforeLog == 0 {
		t.Items = append(t.Items, timelineItems(&c, page.Entries, &a)...)
	}
	if n := len(t.Items) - a.limit; n > 0 {
		t.Items = t.Items[n:]
		t.Before = t.Items[0].ID
		return t, nil
	}
	if a.follow {
		return t, nil
	}
	past, err := s.past(ctx, view, &c, page.Entries, &a, a.limit-len(t.Items))
	if err != nil {
		return nil, err
	}
	t.Before = past.next
	if len(t.Items) > 0 && t.Items[0].Source == fromRecord && t.Items[0].What == timeline.Closed.String() && past.has(timeline.Closed) {
		t.Items = t.Items[1:] // the newest close in the log, which says more
	}
	t.Items = slices.Insert(t.Items, 0, past.items...)
	slices.SortStableFunc(t.Items, func(x, y TimelineEntry) int { return strings.Compare(x.At, y.At) })
	return t, nil
}

// timelineItems returns the selected entries of a client in memory, and before them what
// its record says of a connection that they do not show.
func timelineItems(c *gateway.Client, entries []timeline.Entry, a *timelineQuery) (items []TimelineEntry) {
	if v, at, ok := recordItem(c, entries); ok && a.wants(&v, at) && (a.before == 0 || uint64(at.UnixMicro()) <= a.before) {
		items = append(items, v)
	}
	for i := range entries {
		e := &entries[i]
		if v := timelineView(e, a.payloads); (a.before == 0 || e.Number < a.before) && a.wants(&v, e.At) {
			items = append(items, v)
		}
	}
	return items
}

// recordItem returns the entry that the client's record stands for; ok is false if the
// entries have it, or if there is none.
func recordItem(c *gateway.Client, entries []timeline.Entry) (v TimelineEntry, at time.Time, ok bool) {
	at = c.ConnectedAt
	if !c.Online {
		at = c.LastSeenAt
	}
	if at.IsZero() || !c.Online && c.LastClose == "" {
		return v, at, false
	}
	for i := range entries {
		e := &entries[i]
		if c.Online && e.Session == c.Session || !c.Online && e.Kind == timeline.Closed {
			return v, at, false
		}
	}
	if len(entries) > 0 && entries[0].At.Before(at) {
		return v, at, false // it would not be the first one; the line had it and has lost it
	}
	v = TimelineEntry{ID: strconv.FormatInt(max(at.UnixMicro()-1, 1), 10), At: fineStamp(at), Source: fromRecord}
	if !c.Online {
		v.What, v.Reason, v.By = timeline.Closed.String(), c.LastClose, string(gateway.CloserOf(c.LastClose))
		return v, at, true
	}
	v.What, v.Session, v.RemoteAddr = timeline.Connected.String(), string(c.Session), c.Link.RemoteAddr.String()
	v.Transport, v.Dialect = c.Link.Transport, c.Link.Dialect
	if !c.Link.RemoteAddr.IsValid() {
		v.RemoteAddr = ""
	}
	return v, at, true
}

// strangerItem returns the entry of an id that is not known and was refused.
func strangerItem(k *gateway.RefusedRegistration) TimelineEntry {
	seen := refusedView(k)
	return TimelineEntry{ID: strconv.FormatInt(max(k.LastAt.UnixMicro(), 1), 10), At: fineStamp(k.FirstAt), Until: fineStamp(k.LastAt), Source: fromRecord,
		What: timeline.Refused.String(), Count: int(k.Count), Dialect: seen.Dialect, RemoteAddr: seen.RemoteAddr, Reason: seen.Reason}
}

// entry appends an entry. The entry of an overflow has the id 0 and is no place to continue.
func (st *stream) entry(v *TimelineEntry) {
	id := v.ID
	if id == "0" {
		id = ""
	}
	st.put(id, v.What, v)
}
