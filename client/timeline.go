package client

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Timeline has the last events of one client.
type Timeline struct {
	Client      string          `json:"client"`
	Now         time.Time       `json:"now"`
	Items       []TimelineEntry `json:"items"`                // the oldest first
	Before      string          `json:"before,omitempty"`     // TimelineQuery.Before for older entries; "" when there are none
	MemoryFrom  time.Time       `json:"memory_from,omitzero"` // the oldest entry in memory; older ones are from the event log
	KeptSince   time.Time       `json:"kept_since,omitzero"`  // the start of the gateway: frames and transmissions from before are gone
	Dropped     bool            `json:"dropped,omitempty"`
	TracedUntil time.Time       `json:"traced_until,omitzero"` // zero without a trace
}

// TimelineEntry is one event of a client. What decides which fields are set.
type TimelineEntry struct {
	ID         string    `json:"id"`
	At         time.Time `json:"at"`
	Until      time.Time `json:"until,omitzero"` // heartbeats, refused: of the last one
	Source     string    `json:"source"`         // memory; record: taken from the client's record; log: from the event log
	What       string    `json:"what"`           // connected, refused, closed, frame, heartbeats, heartbeat_missed, delivery, overflow; uplink: from the log
	Connection time.Time `json:"connection,omitzero"`
	Count      int       `json:"count,omitempty"` // heartbeats, refused

	Session    string `json:"session,omitempty"`
	RemoteAddr string `json:"remote_addr,omitempty"`
	Transport  string `json:"transport,omitempty"`
	Dialect    string `json:"dialect,omitempty"`
	Reason     string `json:"reason,omitempty"`
	By         string `json:"by,omitempty"` // closed: device, gateway, network or operator

	Direction string `json:"direction,omitempty"` // frame: in is from the device, out to it
	Frame     string `json:"frame,omitempty"`     // its type
	Bytes     int    `json:"bytes,omitempty"`     // its size on the wire; uplink: the size of the payload
	Number    string `json:"number,omitempty"`    // of the payload; e7 counts within the connection
	Code      string `json:"code,omitempty"`      // of an ack
	Duplicate bool   `json:"duplicate,omitempty"`
	Text      string `json:"text,omitempty"` // of a traced frame; see Raw
	Hex       string `json:"hex,omitempty"`
	Cut       bool   `json:"cut,omitempty"`      // Text and Hex have the first bytes only
	Withheld  bool   `json:"withheld,omitempty"` // the key may not read messages

	Uplink   uint64 `json:"uplink,omitempty"`  // uplink: its sequence
	State    string `json:"state,omitempty"`   // delivery
	Message  string `json:"message,omitempty"` // delivery, and frame if it is known
	Attempts int    `json:"attempts,omitempty"`
	Detail   string `json:"detail,omitempty"`
}

// Raw returns the bytes of a traced frame, nil if the entry has none.
func (e *TimelineEntry) Raw() []byte {
	if e.Text != "" {
		return []byte(e.Text)
	}
	b, err := hex.DecodeString(e.Hex)
	if err != nil || len(b) == 0 {
		return nil
	}
	return b
}

// TimelineQuery selects entries of a timeline.
type TimelineQuery struct {
	Message string // entries of the deliveries of this message; "" = all
	Before  string // entries before this id, or Timeline.Before; "" = the newest
	Limit   int    // 1 to 1,000; 0 = 200

	Since, Until time.Time // entries from Since on and before Until; zero = no bound

	// Reconnecting is that of EventQuery, for FollowTimeline.
	Reconnecting func(err error, pause time.Duration)
}

func (q TimelineQuery) values() url.Values {
	v := url.Values{}
	setIf(v, "message", q.Message)
	setIf(v, "before", q.Before)
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	setTime(v, "since", q.Since)
	setTime(v, "until", q.Until)
	return v
}

// Timeline returns the last events of a client. A page with Timeline.Before may have no
// entry, because the event log has other clients' events.
func (c *Client) Timeline(ctx context.Context, id string, q TimelineQuery) (*Timeline, error) {
	return ask[Timeline](ctx, c, get(clientPath(id)+"/timeline", q.values()))
}

// FollowTimeline yields the last events of a client, and further ones as they happen,
// until ctx ends or the caller stops. It opens a lost stream again behind the last entry,
// with growing pauses. An entry overflow stands for entries that the gateway removed before
// they were read. It yields an error only if another attempt cannot help (a *Problem, or
// ctx's own), as its last value.
func (c *Client) FollowTimeline(ctx context.Context, id string, q TimelineQuery) iter.Seq2[TimelineEntry, error] {
	v := q.values()
	v.Set("follow", "true")
	return follow(ctx, subscription{client: c, path: clientPath(id) + "/timeline", query: v}, q.Reconnecting, func(f frame, _ string) (e TimelineEntry, err error) {
		err = json.Unmarshal(f.data, &e)
		return e, err
	})
}

// Trace records every frame of one client with its bytes, for the timeline.
type Trace struct {
	Client    string    `json:"client"`
	Key       string    `json:"key,omitempty"` // the API key that has it on
	Name      string    `json:"name,omitempty"`
	StartedAt time.Time `json:"started_at"`
	EndsAt    time.Time `json:"ends_at"`
	Frames    int       `json:"frames"`
	Bytes     int       `json:"bytes"`
}

// StartTrace traces a client for a time of 1 s to 1 h, 0 for 10 min. A trace that is on
// gets the new end.
func (c *Client) StartTrace(ctx context.Context, id string, d time.Duration) (*Trace, error) {
	in := map[string]any{}
	if d > 0 {
		in["for"] = d.String()
	}
	return ask[Trace](ctx, c, request{method: http.MethodPost, path: clientPath(id) + "/trace", in: in, idempotent: true})
}

// EndTrace ends the trace of a client and removes the bytes that it has recorded.
func (c *Client) EndTrace(ctx context.Context, id string) error {
	return c.do(ctx, request{method: http.MethodDelete, path: clientPath(id) + "/trace", idempotent: true})
}

// Traces lists the traces that are on.
func (c *Client) Traces(ctx context.Context) ([]Trace, error) {
	return askList[Trace](ctx, c, get("/v1/traces", nil))
}
