package api

import (
	"net/http"

	"github.com/longwire/longwire/gateway"
)

// Uplink is one payload that a device sent, stored before the device's ack.
type Uplink struct {
	Seq        uint64  `json:"seq" validate:"required"`
	Client     string  `json:"client" validate:"required" example:"truck-17"`
	Session    string  `json:"session,omitempty"`
	Number     uint64  `json:"number,omitempty"`
	ReceivedAt string  `json:"received_at" validate:"required" format:"date-time"`
	Text       *string `json:"text,omitempty" example:"21.5"`
	Base64     []byte  `json:"base64,omitempty" swaggertype:"string" format:"byte"`
} //@name Uplink

// UplinkPage is one page of uplinks. NextAfter is the after to go on with, also
// when the page is the last one for now.
type UplinkPage struct {
	Items     []Uplink `json:"items" validate:"required"`
	NextAfter uint64   `json:"next_after" validate:"required"`
	More      bool     `json:"more" validate:"required"`
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

// listUplinks lists what devices have sent.
//
//	@ID				listUplinks
//	@Summary		List data from devices
//	@Description	Oldest first. The data survives restarts and is kept for some days; remember `next_after` and go on from there.
//	@Tags			uplinks
//	@Produce		json
//	@Param			after	query		integer	false	"above this sequence"	minimum(0)
//	@Param			client	query		string	false	"from this client"
//	@Param			limit	query		int		false	"page size"	minimum(1)	maximum(1000)	default(100)
//	@Success		200		{object}	UplinkPage
//	@Failure		400,401	{object}	Problem
//	@Failure		503		{object}	Problem
//	@x-scope		"messages:read"
//	@Router			/v1/uplinks [get]
func (s *server) listUplinks(w http.ResponseWriter, r *http.Request) error {
	q := queryOf(r)
	after := q.position("after")
	client := q.clientID("client")
	limit := q.limit()
	if err := q.done(); err != nil {
		return err
	}
	page, err := s.view(w).Uplinks(client, after, limit)
	if err != nil {
		return err
	}
	out := UplinkPage{Items: make([]Uplink, len(page.Items)), NextAfter: after, More: page.More}
	for i := range page.Items {
		out.Items[i] = uplinkView(&page.Items[i])
		out.NextAfter = page.Items[i].Seq
	}
	if page.More {
		out.NextAfter = max(out.NextAfter, page.Next)
	}
	return writeJSON(w, http.StatusOK, out)
}
