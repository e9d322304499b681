package api

import (
	"context"
	"errors"
	"net/http"
	"time"

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
} //@name Uplink

// UplinkPage is one page of uplinks. NextAfter is the after of the next call. The
// last page has it, too.
type UplinkPage struct {
	Items     []Uplink `json:"items" validate:"required"`      // oldest first
	NextAfter uint64   `json:"next_after" validate:"required"` // the after of the next call, also when this page is the last one for now
	More      bool     `json:"more" validate:"required"`       // there is more already
} //@name UplinkPage

func uplinkView(u *gateway.Uplink) Uplink {
	v := Uplink{Seq: u.Seq, Client: string(u.Client), Session: string(u.Session), Number: u.Number, ReceivedAt: stamp(u.At)}
	payload := u.Payload
	if payload == nil {
		payload = []byte{}
	}
	v.Text, v.Base64 = textOrBase64(payload)
	return v
}

// listUplinks lists uplinks.
//
//	@ID				listUplinks
//	@Summary		List data from devices
//	@Description	Of all clients, or of one, oldest first. The gateway keeps the data over restarts and for some days; remember `next_after` and continue from there.
//	@Description	With `wait` an empty page is answered when there is something to show, or when the time is over: a loop of such calls takes in everything soon after it came.
//	@Description	If a filter has made a page short, the page has `"more": true`, and `next_after` continues after it.
//	@Tags			uplinks
//	@Produce		json
//	@Param			after	query		string	false	"above this sequence; earliest (or 0) is the beginning, now is the end"	default(earliest)
//	@Param			client	query		string	false	"from this client"
//	@Param			since	query		string	false	"received at this time or later, or so long ago at most, such as 1h"
//	@Param			until	query		string	false	"received before this time, or longer ago, such as 10m"
//	@Param			wait	query		string	false	"wait for the first uplink, at most 60s"	example(30s)
//	@Param			Prefer	header		string	false	"wait=5 is the same as ?wait=5s"
//	@Param			limit	query		int		false	"page size"	minimum(1)	maximum(1000)	default(100)
//	@Success		200		{object}	UplinkPage
//	@x-scope		"messages:read"
//	@Router			/v1/uplinks [get]
func (s *server) listUplinks(w http.ResponseWriter, r *http.Request) error {
	q := queryOf(r)
	after := q.position("after")
	query := tenant.UplinkQuery{Client: q.clientID("client"), Limit: q.limit(), After: after.seq,
		Since: q.since("since", s.cfg.Now()), Until: q.since("until", s.cfg.Now())}
	wait := s.waitOf(q, r)
	if err := q.done(); err != nil {
		return err
	}
	if after.now {
		var err error
		if query.After, err = viewOf(w).LastUplink(); err != nil {
			return err
		}
	}
	page, err := s.awaitUplinks(w, r, query, wait.d)
	if err != nil {
		return err
	}
	out := UplinkPage{Items: make([]Uplink, len(page.Items)), NextAfter: query.After, More: page.More}
	for i := range page.Items {
		out.Items[i] = uplinkView(&page.Items[i])
		out.NextAfter = page.Items[i].Seq
	}
	if !page.More {
		s.cfg.UplinksRead()
	}
	if page.More {
		out.NextAfter = max(out.NextAfter, page.Next)
	}
	wait.applied(w.Header())
	return writeJSON(w, http.StatusOK, out)
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
