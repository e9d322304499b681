package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ClientInfo is a device or program that has registered, online or not.
type ClientInfo struct {
	ID     string `json:"id"`
	Online bool   `json:"online"` // connected, also while it is suspect
	// Presence is PresenceOnline, PresenceSuspect or PresenceOffline.
	Presence Presence `json:"presence"`
	// Confirmed says whether silence would have shown by now that the client is
	// gone; nil while offline. It is false for a text client that has answered no
	// PING in time: it may have been gone for a minute and the grace.
	Confirmed    *bool             `json:"confirmed,omitempty"`
	ConnectedAt  time.Time         `json:"connected_at,omitzero"`
	CreatedAt    time.Time         `json:"created_at,omitzero"`
	LastSeenAt   time.Time         `json:"last_seen_at,omitzero"`
	RemoteAddr   string            `json:"remote_addr,omitempty"`
	Dialect      string            `json:"dialect,omitempty"`
	Transport    string            `json:"transport,omitempty"`
	RTTMS        float64           `json:"rtt_ms,omitempty"`
	Session      string            `json:"session,omitempty"`
	Groups       []string          `json:"groups,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`
	Reported     map[string]string `json:"reported,omitempty"` // labels of its last registration; audiences ignore them
	Queued       int               `json:"queued"`
	QueuedBytes  int64             `json:"queued_bytes,omitempty"`
	InFlight     int               `json:"in_flight"`
	MessagesIn   uint64            `json:"messages_in,omitempty"`
	MessagesOut  uint64            `json:"messages_out,omitempty"`
	BytesIn      uint64            `json:"bytes_in,omitempty"`
	BytesOut     uint64            `json:"bytes_out,omitempty"`
	LastClose    *LastClose        `json:"last_close,omitempty"`
	BlockedUntil time.Time         `json:"blocked_until,omitzero"`
}

// Presence selects clients by whether they are connected.
type Presence string

const (
	PresenceOnline  Presence = "online"
	PresenceOffline Presence = "offline"
	PresenceSuspect Presence = "suspect" // connected, but it has not answered a heartbeat for a second
	PresenceAll     Presence = "all"
	PresenceBlocked Presence = "blocked" // refused until its block ends, see DisconnectOptions
)

// ClientQuery selects clients. Zero fields select all online clients.
type ClientQuery struct {
	Presence Presence // "" = online, or all when IDs are named
	Prefix   string   // of the id
	IDs      []string // only these, at most 100; combines with Presence only
	Group    string
	Labels   map[string]string // all of them
	QueuedGT *int              // more queued than this
	Limit    int               // in all; 0 = no bound

	QueuedOlderThan time.Duration // with a message queued for longer; 0 = any
	IP              string        // connected from this address or network, such as 203.0.113.0/24
	Dialect         string        // connected with v1, v2 or text
	// Since selects online clients that connected, and offline ones that were last seen,
	// at this time or later.
	Since      time.Time
	From       string // begin with this id, known or not
	Descending bool   // the highest id first
}

func (q ClientQuery) values() url.Values {
	v := url.Values{}
	setIf(v, "status", string(q.Presence))
	setIf(v, "prefix", q.Prefix)
	setIf(v, "group", q.Group)
	if len(q.IDs) > 0 {
		v["id"] = q.IDs
	}
	for k, val := range q.Labels {
		v.Add("label", k+"="+val)
	}
	slices.Sort(v["label"])
	if q.QueuedGT != nil {
		v.Set("queued_gt", strconv.Itoa(*q.QueuedGT))
	}
	if q.QueuedOlderThan > 0 {
		v.Set("queued_older_than", q.QueuedOlderThan.String())
	}
	setIf(v, "ip", q.IP)
	setIf(v, "dialect", q.Dialect)
	setTime(v, "since", q.Since)
	setIf(v, "from", q.From)
	if q.Descending {
		v.Set("order", "desc")
	}
	return v
}

// Clients lists clients in the order of their ids.
func (c *Client) Clients(ctx context.Context, q ClientQuery) iter.Seq2[ClientInfo, error] {
	return pages[ClientInfo](ctx, c, "/v1/clients", q.values(), q.Limit)
}

// Client returns one client.
func (c *Client) Client(ctx context.Context, id string) (*ClientInfo, error) {
	return ask[ClientInfo](ctx, c, get(clientPath(id), nil))
}

// ClientChange changes a client's record; nil fields leave theirs unchanged.
type ClientChange struct {
	Labels map[string]*string `json:"labels,omitempty"` // merged; a nil value removes the label
	Groups *[]string          `json:"groups,omitempty"` // replaced
}

// NewClient asks for a client before its first contact.
type NewClient struct {
	ID     string            `json:"id"`
	Labels map[string]string `json:"labels,omitempty"`
	Groups []string          `json:"groups,omitempty"`
}

// CreateClient adds a client that has never registered, so that it is a member of its
// groups and messages are queued for its first connection. If the id is known, it
// returns the problem CodeClientExists.
func (c *Client) CreateClient(ctx context.Context, n NewClient) (*ClientInfo, error) {
	// Not repeated after a lost answer: the repeat would find the client.
	return ask[ClientInfo](ctx, c, request{method: http.MethodPost, path: "/v1/clients", in: n})
}

// UpdateClient changes labels and groups and returns the changed client.
func (c *Client) UpdateClient(ctx context.Context, id string, change ClientChange) (*ClientInfo, error) {
	return ask[ClientInfo](ctx, c, request{method: http.MethodPatch, path: clientPath(id), in: change, idempotent: true,
		header: http.Header{"Content-Type": {"application/merge-patch+json"}}})
}

// DisconnectOptions are the options of Client.Disconnect.
type DisconnectOptions struct {
	Purge bool          // cancel its queued deliveries
	Block time.Duration // how long to refuse its registrations; 0 = not at all
}

// Disconnect ends a client's session now. Its queue is kept unless purged.
func (c *Client) Disconnect(ctx context.Context, id string, o DisconnectOptions) error {
	q := url.Values{}
	if o.Purge {
		q.Set("purge", "true")
	}
	if o.Block > 0 {
		q.Set("block", o.Block.String())
	}
	// Not repeated after a lost answer: the client may have reconnected by then.
	return c.do(ctx, request{method: http.MethodDelete, path: clientPath(id), query: q})
}

// Forget removes a client: its session ends, its queued messages are canceled, and
// its record is removed. When it registers again it is a new client.
func (c *Client) Forget(ctx context.Context, id string) error {
	// Not repeated after a lost answer: the client may have come back by then.
	return c.do(ctx, request{method: http.MethodDelete, path: clientPath(id), query: url.Values{"forget": {"true"}}})
}

// ForgetResult is the result of Client.ForgetAll.
type ForgetResult struct {
	Forgotten int  `json:"forgotten"` // clients
	Canceled  int  `json:"canceled"`  // messages that were queued for them
	More      bool `json:"more"`      // the query selects more clients than one call forgets
}

// ForgetAll removes the clients that q selects, at most 1,000. It needs a filter, and
// confirm has to be their number: otherwise no client is removed, and the error says
// the number. IDs and Limit of q are not used; Presence "" is all.
func (c *Client) ForgetAll(ctx context.Context, q ClientQuery, confirm int) (*ForgetResult, error) {
	q.IDs = nil
	v := q.values()
	v.Set("forget", "true")
	if confirm >= 0 {
		v.Set("confirm", strconv.Itoa(confirm))
	}
	return ask[ForgetResult](ctx, c, request{method: http.MethodDelete, path: "/v1/clients", query: v})
}

// Unblock lets a blocked client come back at once. It does not disconnect a
// connected client.
func (c *Client) Unblock(ctx context.Context, id string) error {
	return c.do(ctx, request{method: http.MethodDelete, path: clientPath(id), query: url.Values{"block": {"0"}}, idempotent: true})
}

// Uplink is one payload from a device, stored before the gateway acked it.
type Uplink struct {
	Seq        uint64    `json:"seq"`
	Client     string    `json:"client"`
	Session    string    `json:"session,omitempty"`
	Number     uint64    `json:"number,omitempty"` // the device's number, in any order; 0 = none
	ReceivedAt time.Time `json:"received_at,omitzero"`
	Data
	Digest // if UplinkQuery.Fields names its members
}

// UplinkQuery selects uplinks.
type UplinkQuery struct {
	Client string // "" = of all clients
	After  uint64 // sequence of the last one seen; 0 = from the oldest kept
	Limit  int    // in all; 0 = no bound
	Since  time.Time
	Until  time.Time
	// Follow waits for newer ones, until ctx ends. A failed call is repeated after growing
	// pauses.
	Follow bool
	// Reconnecting is that of EventQuery, for Follow.
	Reconnecting func(err error, pause time.Duration)
	// NewestFirst lists the newest first, below the sequence Before (0 = all). It does not
	// combine with After and Follow.
	NewestFirst bool
	Before      uint64
	// Fields are the members to read, such as client, payload_bytes and preview; nil = all
	// but those of Digest. The others stay zero.
	Fields []string
}

// followWait is how long one request of a following query waits.
const followWait = 30 * time.Second

// uplinkPage is one answer of the list of uplinks, whose cursor is a sequence.
type uplinkPage struct {
	Items      []Uplink `json:"items"`
	NextAfter  uint64   `json:"next_after"`
	NextBefore uint64   `json:"next_before"`
	More       bool     `json:"more"`
}

// next counts on from the query's after, or with the order desc down from its before.
func (p *uplinkPage) next(q url.Values) ([]Uplink, bool, error) {
	if q.Get("order") == "desc" {
		before, _ := strconv.ParseUint(q.Get("before"), 10, 64) // 0 for none
		q.Set("before", strconv.FormatUint(p.NextBefore, 10))
		return p.Items, p.More && p.NextBefore != 0 && (before == 0 || p.NextBefore < before), nil
	}
	after, _ := strconv.ParseUint(q.Get("after"), 10, 64) // as it was set
	q.Set("after", strconv.FormatUint(max(after, p.NextAfter), 10))
	return p.Items, q.Has("wait") || p.More && p.NextAfter > after, nil
}

// Uplinks lists stored uplinks, oldest first unless q says otherwise.
func (c *Client) Uplinks(ctx context.Context, q UplinkQuery) iter.Seq2[Uplink, error] {
	v := url.Values{}
	setIf(v, "client", q.Client)
	setTime(v, "since", q.Since)
	setTime(v, "until", q.Until)
	setIf(v, "fields", strings.Join(q.Fields, ","))
	r := get("/v1/uplinks", v)
	if q.NewestFirst {
		v.Set("order", "desc")
		if q.Before > 0 {
			v.Set("before", strconv.FormatUint(q.Before, 10))
		}
	} else {
		v.Set("after", strconv.FormatUint(q.After, 10))
		if q.Follow {
			r.wait, r.follow, r.reconnecting = followWait, true, q.Reconnecting
			v.Set("wait", followWait.String())
		}
	}
	return walk[Uplink, uplinkPage](ctx, c, r, q.Limit)
}

func clientPath(id string) string { return "/v1/clients/" + url.PathEscape(id) }
