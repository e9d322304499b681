package why

import (
	"fmt"
	"time"

	"github.com/longwire/longwire/gateway"
)

// final judges a delivery that is final.
func (q *Delivery) final(f *Facts) (Code, string) {
	d := &q.Delivery
	at := whenKnown(d.FinalAt)
	if !d.LateAckAt.IsZero() {
		verdict := "acked"
		if f.LateReject {
			verdict = "rejected"
		}
		return LateAck, fmt.Sprintf("%s %s it at %s, after it was %s%s", d.Client, verdict, clock(d.LateAckAt), d.State, at)
	}
	switch d.State {
	case gateway.Acked:
		if d.Reason == gateway.ReasonVerdictNotKept {
			return VerdictNotKept, fmt.Sprintf("%s has handled it and no longer knows its verdict", d.Client)
		}
		return Acked, fmt.Sprintf("%s acked it%s", d.Client, at)
	case gateway.Rejected:
		if d.Reason == gateway.ReasonTooLargeForProtocol {
			return TooLarge, tooLarge(d)
		}
		return Rejected, fmt.Sprintf("%s rejected it%s", d.Client, at)
	case gateway.Expired:
		return q.expired(f)
	case gateway.Canceled:
		return q.canceled(f)
	}
	return q.failed(f)
}

func tooLarge(d *gateway.Delivery) string {
	return fmt.Sprintf("the payload is larger than the dialect of %s can carry", d.Client)
}

// whenKnown is the time of a sentence, "" if it is not kept.
func whenKnown(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return " at " + clock(at)
}

func (q *Delivery) expired(f *Facts) (Code, string) {
	d, sent := &q.Delivery, &q.Sent
	at := whenKnown(d.FinalAt)
	f.Attempts, f.SentAt = sent.Attempts, sent.SentAt
	switch {
	case sent.Attempts > 0:
		return ExpiredSent, fmt.Sprintf("it expired%s after it was sent to %s %s, without an ack", at, d.Client, timesAt(sent.Attempts, sent.SentAt))
	case !sent.SentAt.IsZero():
		return ExpiredRetryLater, fmt.Sprintf("it expired%s while %s wanted it later; it was last sent at %s", at, d.Client, clock(sent.SentAt))
	case sent.Known:
		return ExpiredUnsent, fmt.Sprintf("it expired%s before it could be sent to %s%s", at, d.Client, q.whereabouts(f))
	}
	return Expired, fmt.Sprintf("it expired%s; whether it was sent to %s is not known any more", at, d.Client)
}

// whereabouts says that the client was not connected when the delivery expired, "" if that
// is not certain.
func (q *Delivery) whereabouts(f *Facts) string {
	d, c := &q.Delivery, q.Client
	switch {
	case c == nil || d.FinalAt.IsZero():
	case c.Online && c.ConnectedAt.After(d.FinalAt):
		f.OnlineSince = c.ConnectedAt
		return ", which has connected only at " + clock(c.ConnectedAt)
	case c.Online:
	case c.LastSeenAt.IsZero():
		return ", which has never connected"
	case c.LastSeenAt.Before(d.CreatedAt):
		return ", which " + offline(c, q.Now, f)
	}
	return ""
}

func (q *Delivery) canceled(f *Facts) (Code, string) {
	d, sent := &q.Delivery, &q.Sent
	f.Attempts, f.SentAt = sent.Attempts, sent.SentAt
	code, by := Canceled, " by a caller"
	switch d.Reason {
	case gateway.ReasonPurged:
		code, by = QueueCanceled, fmt.Sprintf(" with the queue of %s", d.Client)
	case gateway.ReasonClientForgotten:
		code, by = CanceledForgotten, fmt.Sprintf(" because an operator had %s forgotten", d.Client)
	}
	text := "it was canceled" + whenKnown(d.FinalAt) + by
	switch {
	case sent.Attempts > 0:
		text += fmt.Sprintf(", after it was sent %s", timesAt(sent.Attempts, sent.SentAt))
	case sent.Known && sent.SentAt.IsZero():
		text += ", before it was sent"
	case q.sendsUnknown():
		text += "; whether it was sent is not known any more"
	}
	return code, text
}

// sendsUnknown reports whether the delivery has expired or was canceled, and the gateway no
// longer knows whether it was sent.
func (q *Delivery) sendsUnknown() bool {
	d := &q.Delivery
	return (d.State == gateway.Expired || d.State == gateway.Canceled) && !d.Online && !q.Sent.Known && d.LateAckAt.IsZero()
}

// failed judges a delivery that has failed or is unknown.
func (q *Delivery) failed(f *Facts) (Code, string) {
	d := &q.Delivery
	unsent := ""
	if d.State == gateway.Unknown {
		unsent = "; it may have been handled"
	}
	switch d.Reason {
	case gateway.ReasonTooLargeForProtocol:
		return TooLarge, tooLarge(d)
	case gateway.ReasonUnknownClient:
		return UnknownClient, fmt.Sprintf("no client %s was known when the message was accepted", d.Client)
	case gateway.ReasonTooManyClients:
		return TooManyClients, fmt.Sprintf("%s was not known, and there was no room for another client (clients.max)", d.Client)
	case gateway.ReasonQueueFull:
		return QueueFull, fmt.Sprintf("the queue of %s was full when the message was accepted", d.Client)
	case gateway.ReasonAckTimeout:
		return OnlineNoAck, fmt.Sprintf("%s did not answer in time%s", d.Client, unsent)
	case gateway.ReasonEphemeralFlagMissing:
		return OnlineWrongNumber, fmt.Sprintf("%s acked it without the EPHEMERAL flag (in text: the e before the number), so the ack did not count%s", d.Client, unsent)
	case gateway.ReasonConnectionLost:
		return OnlineDisconnected, fmt.Sprintf("the connection of %s ended before it answered%s", d.Client, unsent)
	case gateway.ReasonNotSent:
		return OnlineNotSent, fmt.Sprintf("it could not be sent to %s in time", d.Client)
	case gateway.ReasonGatewayRestart:
		return OnlineRestart, fmt.Sprintf("the gateway ended while the push to %s was under way%s", d.Client, unsent)
	case gateway.ReasonDraining:
		return OnlineDraining, fmt.Sprintf("the gateway shut down while %s was asked%s", d.Client, unsent)
	}
	return AttemptsUsedUp, fmt.Sprintf("it was sent to %s %s, and never acked: its attempts are used up%s", d.Client, timesAt(d.Attempts, d.SentAt), q.causes(f))
}

// causes notes what became of the attempts of a delivery, and names it; "" if this process
// does not know all of them.
func (q *Delivery) causes(f *Facts) string {
	sent := &q.Sent
	if sent.Attempts == 0 || sent.Attempts != q.Delivery.Attempts {
		return ""
	}
	f.Broken, f.Unanswered, f.RetryLater = sent.Broken, sent.Attempts-sent.Broken, sent.RetryLater
	text := ""
	if f.Unanswered > 0 {
		text += fmt.Sprintf("; no answer came in time to %s", transmissions(f.Unanswered))
	}
	if f.Broken > 0 {
		text += fmt.Sprintf("; the connection ended before an answer to %s", transmissions(f.Broken))
	}
	if f.RetryLater > 0 {
		text += fmt.Sprintf("; besides these, the device said retry later %s", times(f.RetryLater))
	}
	return text
}

func transmissions(n int) string {
	if n == 1 {
		return "1 transmission"
	}
	return number(n) + " transmissions"
}
