package client

import (
	"encoding/json"
	"slices"
	"time"
)

// EventData is the data of an event. Its members depend on the type of the event:
//
//	client.*            Client, Session, Reason and By at the end of a connection,
//	                    Dialect and RemoteAddr at its begin
//	message.received    Client, Session, Uplink
//	message.completed   MessageID, Counts
//	other message.*     MessageID, Client, Status, Attempts, Reason, the result; without
//	                    Client it is about all deliveries of the message, see Counts
//	store.repaired      Reason, Detail, LostAfter, LostSince
//	gap                 Detail
type EventData struct {
	Client       string   `json:"client,omitempty"`
	Session      string   `json:"session,omitempty"`
	Epoch        uint64   `json:"epoch,omitempty"`  // registrations of the client so far
	Reason       string   `json:"reason,omitempty"` // a CloseReason of client.*, a DeliveryReason of message.*
	By           ClosedBy `json:"by,omitempty"`
	Dialect      string   `json:"dialect,omitempty"`
	RemoteAddr   string   `json:"remote_addr,omitempty"`
	MessageID    string   `json:"message_id,omitempty"`
	Status       Status   `json:"status,omitempty"`
	Attempts     int      `json:"attempts,omitempty"`
	Result       *string  `json:"result,omitempty"` // the device's answer, if it is text
	ResultBase64 []byte   `json:"result_base64,omitempty"`
	Counts       *Counts  `json:"counts,omitempty"`
	Uplink       *Uplink  `json:"uplink,omitempty"`
	Groups       []string `json:"groups,omitempty"`       // of the client from here on
	PayloadGone  bool     `json:"payload_gone,omitempty"` // the uplink, result or counts are not kept any more, or the key may not read them
	Detail       string   `json:"detail,omitempty"`       // for people

	// The event store.repaired: events behind the cursor LostAfter, up to this event, may
	// be missing, as may messages and uplinks that were stored after LostSince.
	LostAfter string    `json:"lost_after,omitempty"`
	LostSince time.Time `json:"lost_since,omitzero"`

	raw json.RawMessage // with the members that this version does not know
}

// UnmarshalJSON reads the data and keeps it as it came.
func (d *EventData) UnmarshalJSON(b []byte) error {
	type members EventData
	if err := json.Unmarshal(b, (*members)(d)); err != nil {
		return err
	}
	d.raw = slices.Clone(b)
	return nil
}

// MarshalJSON returns the data as it came.
func (d EventData) MarshalJSON() ([]byte, error) {
	if d.raw != nil {
		return d.raw, nil
	}
	type members EventData
	return json.Marshal(members(d))
}

// Answer returns the bytes of the device's answer, nil if there are none.
func (d *EventData) Answer() []byte {
	return (&Outcome{Result: d.Result, ResultBase64: d.ResultBase64}).Answer()
}
