package api

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/longwire/longwire/gateway"
)

// Event is a CloudEvents 1.0 event in JSON. Its members depend on the type.
type Event struct {
	SpecVersion string    `json:"specversion" validate:"required" example:"1.0"`                                                                                                                                                                                                                                                                                  // of CloudEvents
	ID          string    `json:"id" validate:"required" example:"evt_0193f2a0-7c1e-7d3a-9b1f-2f6d1c0a9e11"`                                                                                                                                                                                                                                                      // names the event
	Type        string    `json:"type" validate:"required" enums:"client.connected,client.disconnected,client.replaced,client.forgotten,message.queued_for_absent,message.received,message.acked,message.rejected,message.expired,message.canceled,message.failed,message.late_ack,message.completed,group.changed,webhook.disabled,store.repaired,gap,overflow"` // type of the event
	Source      string    `json:"source" validate:"required" example:"/longwire"`                                                                                                                                                                                                                                                                                 // the gateway
	Subject     string    `json:"subject,omitempty" example:"truck-17"`                                                                                                                                                                                                                                                                                           // the client, or the message to many
	Time        string    `json:"time" validate:"required" format:"date-time"`                                                                                                                                                                                                                                                                                    // when it happened
	Sequence    string    `json:"sequence,omitempty" example:"1763800000000017"`                                                                                                                                                                                                                                                                                  // cursor behind the event, for after: do not calculate with it; absent in overflow
	ContentType string    `json:"datacontenttype" validate:"required" example:"application/json"`                                                                                                                                                                                                                                                                 // of data
	Data        EventData `json:"data" validate:"required"`                                                                                                                                                                                                                                                                                                       // details, by type
} //@name Event

// EventData has the details of an event.
type EventData struct {
	Client       string   `json:"client,omitempty" example:"truck-17"`                        // that it is about
	Session      string   `json:"session,omitempty"`                                          // of its connection
	Epoch        uint64   `json:"epoch,omitempty" example:"12"`                               // registrations of the client so far: it rises with each
	Reason       string   `json:"reason,omitempty" example:"heartbeat_timeout"`               // why
	By           string   `json:"by,omitempty" example:"gateway"`                             // which side ended the connection
	Dialect      string   `json:"dialect,omitempty"`                                          // that the client speaks
	RemoteAddr   string   `json:"remote_addr,omitempty"`                                      // the address of its end of the connection
	MessageID    string   `json:"message_id,omitempty"`                                       // that it is about
	Status       string   `json:"status,omitempty" example:"acked"`                           // the state of the delivery
	Attempts     int      `json:"attempts,omitempty"`                                         // transmissions of the delivery; absent if it has expired or was canceled
	Result       *string  `json:"result,omitempty"`                                           // the device's answer, as text
	ResultBase64 []byte   `json:"result_base64,omitempty" swaggertype:"string" format:"byte"` // the same if it is no text
	Counts       *Counts  `json:"counts,omitempty"`                                           // of a message to many that is completed
	Uplink       *Uplink  `json:"uplink,omitempty"`                                           // that the device has sent
	Groups       []string `json:"groups,omitempty"`                                           // of the client from here on
	PayloadGone  bool     `json:"payload_gone,omitempty"`                                     // the uplink, result or counts are no longer kept, or the caller may not read them
	Detail       string   `json:"detail,omitempty"`                                           // for people
	LostAfter    string   `json:"lost_after,omitempty" example:"1763800000000017"`            // cursor behind the last event that is kept: later ones up to this event may be missing
	LostSince    string   `json:"lost_since,omitempty" format:"date-time"`                    // the lost records were written after this time
} //@name EventData

// Types of events that the stream itself makes.
const (
	eventGap      = "gap"      // events after the asked-for position are gone
	eventOverflow = "overflow" // the reader was too slow; the stream ends
)

// eventForm writes events of one log.
type eventForm struct {
	source string                                              // Config.Source
	key    uint64                                              // of ids
	whole  func(*gateway.Uplink) (gateway.Uplink, bool, error) // as tenant.Whole
}

// event returns an event as the API shows it. Without payloads the results and the text
// of uplinks are left out.
func (f *eventForm) event(e *gateway.Event, payloads bool) (Event, error) {
	v := Event{
		SpecVersion: "1.0", ID: f.id(e.Seq, e.At), Type: string(e.Type), Source: f.source, Subject: string(e.Client),
		Time: stamp(e.At), Sequence: strconv.FormatUint(e.Seq, 10), ContentType: "application/json",
		Data: EventData{
			Client: string(e.Client), Session: string(e.Session), Epoch: e.Epoch, Reason: e.Reason, By: string(gateway.CloserOf(e.Reason)), Dialect: e.Dialect, RemoteAddr: e.Remote,
			MessageID: string(e.Message), Status: e.State.String(), Attempts: e.Attempts, Groups: e.Groups, PayloadGone: e.Gone, Detail: e.Detail,
		},
	}
	if v.Subject == "" {
		v.Subject = string(e.Message)
	}
	v.Data.Result, v.Data.ResultBase64 = result(e.Result)
	if e.Counts != nil {
		v.Data.Counts = new(countsView(e.Counts))
	}
	if r := e.Repair; r != nil {
		v.Data.LostAfter, v.Data.LostSince = strconv.FormatUint(r.After, 10), stamp(r.Since)
	}
	if e.Type == gateway.EventGroupChanged && v.Data.Groups == nil {
		v.Data.Groups = []string{}
	}
	if e.Uplink == nil {
		if !payloads {
			v.Data.hidePayloads()
		}
		return v, nil
	}
	u, err := *e.Uplink, error(nil)
	if payloads && u.Omitted {
		var ok bool
		u, ok, err = f.whole(e.Uplink)
		v.Data.PayloadGone = !ok
	}
	shown := uplinkView(&u)
	if v.Data.Uplink = &shown; !payloads || v.Data.PayloadGone {
		v.Data.hidePayloads()
	}
	return v, err
}

// size is the number of bytes of the payload or the result.
func (d *EventData) size() (n int) {
	if d.Result != nil {
		n += len(*d.Result)
	}
	if u := d.Uplink; u != nil {
		n += len(u.Base64)
		if u.Text != nil {
			n += len(*u.Text)
		}
	}
	return n + len(d.ResultBase64)
}

// hidePayloads removes the payloads, which only a key with messages:read may see.
func (d *EventData) hidePayloads() {
	if d.Result != nil || d.ResultBase64 != nil || d.Uplink != nil {
		d.PayloadGone = true
	}
	d.Result, d.ResultBase64 = nil, nil
	if d.Uplink != nil {
		d.Uplink.Text, d.Uplink.Base64 = nil, nil
	}
}

// id returns a UUIDv7 of the event's time, its number and a key of the log, so that
// every reader of the log gets the same id, also after a restart.
func (f *eventForm) id(seq uint64, at time.Time) string {
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:8], uint64(at.UnixMilli())<<16|0x7000|seq>>52)
	binary.BigEndian.PutUint64(id[8:], (seq^f.key)&(1<<62-1)|1<<63)
	return eventPrefix + id.String()
}

const eventPrefix = "evt_"

// number returns the number in an id that this log has made; ok is false for another
// text. The caller compares the id with that of the event found.
func (f *eventForm) number(text string) (seq uint64, ok bool) {
	rest, ok := strings.CutPrefix(text, eventPrefix)
	if !ok {
		return 0, false
	}
	id, err := uuid.Parse(rest)
	if err != nil {
		return 0, false
	}
	return (binary.BigEndian.Uint64(id[8:]) ^ f.key) & (1<<62 - 1), true
}

// keyOfLog is the part of event ids that names the log.
func keyOfLog(log gateway.LogID) uint64 {
	sum := sha256.Sum256([]byte("longwire events of " + log))
	return binary.BigEndian.Uint64(sum[:8])
}
