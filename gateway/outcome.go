package gateway

import (
	"time"
)

// Outcome is a proposal for a final state.
type Outcome struct {
	Message  MessageID
	Client   ClientID
	Ref      uint32 // ClientRecord.Ref, or 0
	Seq      Seq
	State    State // Acked, Rejected, Failed or, of an online delivery, Unknown; see also Reports
	Reason   string
	Attempts int
	SentAt   time.Time
	At       time.Time
	Result   []byte
}

// Reports is true for an outcome that proposes no state. It brings the transmissions of a
// delivery that has expired or was canceled: the store did not know of them.
func (o *Outcome) Reports() bool { return o.State == Expired || o.State == Canceled }

// ReportedFor is true if d lacks the transmissions that the outcome brings.
func (o *Outcome) ReportedFor(d *Delivery) bool {
	return o.Reports() && (d.State == Expired || d.State == Canceled) && !d.Online && d.SentAt.IsZero()
}

// Verdict returns the code of the device's answer that led to the outcome; ok is
// false if the gateway decided it.
func (o *Outcome) Verdict() (code AckCode, ok bool) { return verdict(o.State, o.Reason) }

// Verdict returns the code of the device's answer that led to the final state; ok
// is false if no device has given it.
func (d *Delivery) Verdict() (code AckCode, ok bool) { return verdict(d.State, d.Reason) }

func verdict(s State, reason string) (code AckCode, ok bool) {
	switch {
	case s == Acked && reason == ReasonVerdictNotKept:
		return AckNotKept, true
	case s == Acked:
		return AckOK, true
	case s == Rejected && reason == ReasonDeviceRejected:
		return AckReject, true
	}
	return 0, false
}

// Resolves reports whether the outcome takes the place of d's state, which is Unknown:
// the first outcome of the call does, and a later answer of the device. If the client was
// forgotten since, only the first does; see Delivery.Restarted.
func (o *Outcome) Resolves(d *Delivery) bool {
	_, answer := o.Verdict()
	return d.State == Unknown && (answer || d.Restarted())
}

// LateFor reports whether the outcome is kept as a late ack with d: it is a
// device's answer, and d's final state is not.
func (o *Outcome) LateFor(d *Delivery) bool {
	code, ok := o.Verdict()
	_, answered := d.Verdict()
	return ok && code != AckNotKept && d.State.Final() && !answered && d.LateAckAt.IsZero()
}
