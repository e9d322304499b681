package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/longwire/longwire/api/internal/problem"
	"github.com/longwire/longwire/api/internal/tenant"
	"github.com/longwire/longwire/gateway"
)

// Uplink is one payload that a device sent, stored before the device's ack.
type Uplink struct {
	Seq        uint64  `json:"seq" validate:"required"`                             // position among all uplinks, for after
	Client     string  `json:"client" validate:"required" example:"truck-17"`       // that sent it
	Session    string  `json:"session,omitempty"`                                   // in which it came
	Number     uint64  `json:"number,omitempty"`                                    // that the device gave it; repeats have the same. Absent if it gives none
	ReceivedAt string  `json:"received_at" validate:"required" format:"date-time"`  // when it was stored
	Text       *string `json:"text,omitempty" example:"21.5"`                       // the payload if it is text
	Base64     []byte  `json:"base64,omitempty" swaggertype:"string" format:"byte"` // the payload if it is not
	Digest
} //@name Uplink

// UplinkPage is one page of uplinks. NextAfter is the after of the next call. The
// last page has it, too.
type UplinkPage struct {
	Items      []Uplink `json:"items" validate:"required"`                  // oldest first; with order=desc newest first
	NextAfter  uint64   `json:"next_after" validate:"required"`             // the after of the next call, also when this page is the last one for now; with order=desc it begins behind the newest uplink
	NextBefore uint64   `json:"next_before,omitempty"`                      // with order=desc: the before of the next call, if there is more
	More       bool     `json:"more" validate:"required"`                   // there is more already
	Now        string   `json:"now" validate:"required" format:"date-time"` // the server's clock
} //@name UplinkPage

// uplinkMembers are the members of Uplink, for ?fields=.
var uplinkMembers = membersOf[Uplink]()

func uplinkView(u *gateway.Uplink) Uplink {
	v := Uplink{Seq: u.Seq, Client: string(u.Client), Session: string(u.Session), Number: u.Number, ReceivedAt: stamp(u.At)}
	v.Text, v.Base64 = textOrBase64(u.Payload)
	return v
}

// listUplinks lists uplinks.
//
//	@ID				listUplinks
//	@Summary		List data from devices
//	@Description	Of all clients, or of one, oldest first. The gateway keeps the data over restarts and for some days; remember `next_after` and continue from there.
//	@Description	With `wait` an empty page is answered when there is something to show, or when the time is over: a loop of such calls takes in everything soon after it came.
//	@Description	If a filter has made a page short, the page has `"more": true`, and `next_after` continues after it.
//	@Description	With `order=desc` the newest come first, and `next_before` continues with older ones.
//	@Description	A page carries the payloads. `fields=client,received_at,payload_bytes,content,preview` leaves them out and shows how long each is, its kind and its first 64 bytes; `GET /v1/uplinks/{seq}/payload` has one of them.
//	@Tags			uplinks
//	@Produce		json
//	@Param			after	query		string	false	"above this sequence; earliest (or 0) is the beginning, now is the end; one beyond the newest uplink is refused; not with order=desc"	default(earliest)
//	@Param			order	query		string	false	"asc: oldest first; desc: newest first"	Enums(asc, desc)	default(asc)
//	@Param			before	query		int		false	"with order=desc: below this sequence"	minimum(1)
//	@Param			client	query		string	false	"from this client"
//	@Param			since	query		string	false	"received at this time or later, or so long ago at most, such as 1h"
//	@Param			until	query		string	false	"received before this time, or longer ago, such as 10m"
//	@Param			wait	query		string	false	"wait for the first uplink, at most 60s; not with order=desc"	example(5s)
//	@Param			fields	query		string	false	"members to show, by comma; seq is always shown, others are left out, required ones too. payload_bytes, content and preview are shown only when they are named"
//	@Param			Prefer	header		string	false	"wait=5 is the same as ?wait=5s"
//	@Param			limit	query		int		false	"page size"	minimum(1)	maximum(1000)	default(100)
//	@Success		200		{object}	UplinkPage
//	@x-scope		"messages:read"
//	@Router			/v1/uplinks [get]
func (s *server) listUplinks(w http.ResponseWriter, r *http.Request) error {
	q := queryOf(r)
	query := tenant.UplinkQuery{Client: q.clientID("client"), Limit: q.limit(), Newest: q.oneOf("order", "asc", "asc", "desc") == "desc",
		Since: q.since("since", s.cfg.Now()), Until: q.since("until", s.cfg.Now())}
	fields := q.fields(uplinkMembers)
	if query.Newest {
		return s.newestUplinks(w, q, query, fields)
	}
	after := q.position("after")
	query.After = after.seq
	wait := s.waitOf(q, r)
	if err := q.done(); err != nil {
		return err
	}
	if after.now || after.seq > 0 {
		last, err := viewOf(w).LastUplink()
		if err != nil {
			return err
		}
		if after.now {
			query.After = last
		}
		if after.seq > last { // the caller would miss all uplinks until this number
			return problem.BadParameter("after", "is beyond the newest uplink, so it is no position of this store")
		}
	}
	page, err := s.awaitUplinks(w, r, query, wait.d)
	if err != nil {
		return err
	}
	out := UplinkPage{NextAfter: query.After, More: page.More, Now: s.now()}
	if n := len(page.Items); n > 0 {
		out.NextAfter = page.Items[n-1].Seq
	}
	if page.More {
		out.NextAfter = max(out.NextAfter, page.Next)
	} else if query.Until.IsZero() {
		s.cfg.UplinksRead()
	}
	wait.applied(w.Header())
	return writeUplinks(w, &out, page.Items, fields)
}

// newestUplinks lists uplinks newest first.
func (s *server) newestUplinks(w http.ResponseWriter, q *query, query tenant.UplinkQuery, fields []member) error {
	query.Before = q.sequence("before")
	if err := q.done(); err != nil {
		return err
	}
	out := UplinkPage{Now: s.now()}
	var err error
	if out.NextAfter, err = viewOf(w).LastUplink(); err != nil { // before the page, so that none is missed behind it
		return err
	}
	if query.Before > 0 {
		out.NextAfter = min(out.NextAfter, query.Before-1)
	}
	page, err := viewOf(w).Uplinks(query)
	if err != nil {
		return err
	}
	if out.More = page.More; out.More {
		out.NextBefore = page.Next
	}
	if len(page.Items) > 0 {
		out.NextAfter = max(out.NextAfter, page.Items[0].Seq) // it may have come since
	}
	return writeUplinks(w, &out, page.Items, fields)
}

// sequence takes the sequence of an uplink; 0 when absent.
func (q *query) sequence(name string) uint64 {
	v := q.one(name)
	if v == "" {
		return 0
	}
	n, err := strconv.ParseUint(v, 10, 63)
	if err != nil || n == 0 {
		q.fail(name, "must be the sequence of an uplink")
	}
	return n
}

// writeUplinks answers with a page of uplinks.
func writeUplinks(w http.ResponseWriter, page *UplinkPage, items []gateway.Uplink, fields []member) error {
	page.Items = make([]Uplink, len(items))
	for i := range items {
		page.Items[i] = uplinkView(&items[i])
		if fields != nil {
			page.Items[i].Digest = digestOf(items[i].Payload, contentOfUplink(items[i].Payload))
		}
	}
	if fields == nil {
		return writeJSON(w, http.StatusOK, page)
	}
	return writeJSON(w, http.StatusOK, struct {
		Items []narrowed[Uplink] `json:"items"` // hides that of the page
		*UplinkPage
	}{narrowAll(page.Items, fields), page})
}

// awaitUplinks returns the first page with an uplink, or an empty page when the
// wait is over. A call that waits counts as an event stream.
func (s *server) awaitUplinks(w http.ResponseWriter, r *http.Request, q tenant.UplinkQuery, wait time.Duration) (gateway.Page[gateway.Uplink, uint64], error) {
	sub := viewOf(w).SubscribeNow() // before the first read, so that no uplink is missed between them
	page, err := viewOf(w).Uplinks(q)
	if err != nil || wait == 0 || len(page.Items) > 0 || page.More {
		return page, err
	}
	release, err := s.takeStream(w)
	if err != nil {
		return page, err
	}
	defer release()
	ctx, leave := s.patience(w, r)
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	defer context.AfterFunc(s.drain.began, cancel)()
	for len(page.Items) == 0 && !page.More {
		events, err := sub.Next(ctx, nil)
		if err != nil && ctx.Err() == nil && !errors.Is(err, gateway.ErrOverflow) {
			return page, err // the key has ended
		}
		if ctx.Err() != nil {
			return page, nil
		}
		came := err != nil // some were missed
		for i := range events {
			came = came || events[i].Type == gateway.EventMessageReceived && (q.Client == "" || q.Client == events[i].Client)
		}
		if err != nil {
			sub = viewOf(w).SubscribeNow()
		}
		if came {
			if page, err = viewOf(w).Uplinks(q); err != nil {
				return page, err
			}
		}
	}
	return page, nil
}
