package why

import (
	"fmt"
	"time"

	"github.com/longwire/longwire/gateway"
)

// OfDelivery judges one delivery.
func OfDelivery(q *Delivery) Verdict {
	d := &q.Delivery
	f := Facts{State: d.State, Reason: d.Reason, CreatedAt: d.CreatedAt, ExpiresAt: d.ExpiresAt, FinalAt: d.FinalAt,
		Attempts: d.Attempts, SentAt: d.SentAt, Result: d.Result, Progress: d.Progress, LateAckAt: d.LateAckAt,
		LateReject: !d.LateAckAt.IsZero() && d.LateCode == gateway.AckReject}
	var code Code
	var text string
	switch {
	case d.State.Final():
		code, text = q.final(&f)
	case d.Online:
		code = OnlineWaits
		text = fmt.Sprintf("%s is asked now: the push with mode=online waits for its answer until %s", d.Client, clock(d.ExpiresAt))
	case q.Standing.Live:
		if q.Client != nil {
			f.OnlineSince = q.Client.ConnectedAt
		}
		code, text = q.live(&f)
		if q.Client != nil && q.Client.Suspect {
			if code == SentNotAcked || code == ResentNotAcked {
				code = ClientSuspect
			}
			text += fmt.Sprintf("; %s is connected, but %s", d.Client, suspect(q.Client, q.Now, &f))
		}
		text += unstable(q.Unstable, &f) + q.expires()
	default:
		code, text = q.away(&f)
		if code == ClientOffline || code == SentThenOffline {
			text += unstable(q.Unstable, &f)
		}
		text += q.expires()
	}
	return Verdict{Code: code, Sentence: sentence(text, d.Client), Facts: f}
}

// expires is the end of a sentence about a delivery that waits.
func (q *Delivery) expires() string {
	left := q.Delivery.ExpiresAt.Sub(q.Now)
	if left <= 0 {
		return "; its time to live is over, and it expires now"
	}
	return "; it expires in " + span(left)
}

// away judges a delivery whose client is not connected.
func (q *Delivery) away(f *Facts) (Code, string) {
	id := q.Delivery.Client
	c := q.Client
	if c == nil {
		return ClientNeverConnected, fmt.Sprintf("%s has never connected", id)
	}
	since := offline(c, q.Now, f)
	switch {
	case c.BlockedUntil.After(q.Now):
		f.BlockedUntil = c.BlockedUntil
		return ClientBlocked, fmt.Sprintf("an operator has blocked %s until %s", id, clock(c.BlockedUntil))
	case q.Refused != nil && q.Refused.LastAt.After(c.LastSeenAt):
		f.Refused = q.Refused
		return ClientRefused, fmt.Sprintf("%s is not connected: it was %s", id, refusedText(q.Refused))
	case c.LastSeenAt.IsZero():
		return ClientNeverConnected, fmt.Sprintf("%s has never connected", id)
	case q.Delivery.Attempts > 0:
		return SentThenOffline, fmt.Sprintf("it was sent to %s %s, and not acked before the connection ended; %s %s; it is sent again when %s is back",
			id, timesAt(q.Delivery.Attempts, q.Delivery.SentAt), id, since, id)
	}
	if q.Standing.MayHaveLeft {
		since += "; the last output of its connection may have carried the message, which is sent again when it is back"
	}
	return ClientOffline, fmt.Sprintf("%s %s", id, since)
}

// offline notes how the client left, and says it.
func offline(c *gateway.Client, now time.Time, f *Facts) string {
	f.OfflineSince, f.CloseReason, f.ClosedBy = c.LastSeenAt, c.LastClose, gateway.CloserOf(c.LastClose)
	// The connection may have ended later: "since" would be wrong.
	text := fmt.Sprintf("is offline, last seen at %s (%s ago)", clock(c.LastSeenAt), span(now.Sub(c.LastSeenAt)))
	if c.LastClose != "" {
		text += ": " + closeText(f.ClosedBy, c.LastClose)
	}
	return text
}

// suspect says that a connected client does not answer, and notes since when.
func suspect(c *gateway.Client, now time.Time, f *Facts) string {
	f.LastSeenAt = c.LastSeenAt
	return fmt.Sprintf("it does not answer a heartbeat: it was last heard of at %s (%s ago)", clock(c.LastSeenAt), span(now.Sub(c.LastSeenAt)))
}

// unstable says that the connections of a client do not last, "" if they do.
func unstable(u *gateway.Unstable, f *Facts) string {
	if u == nil {
		return ""
	}
	f.Disconnects, f.DisconnectsSince = u.Count, u.Since
	return fmt.Sprintf("; its connections do not last: %s have ended in quick succession since %s, the last one with %s", number(u.Count), clock(u.Since), u.Reason)
}

// becauseClosed has words for reasons of the gateway that a reader may not know.
var becauseClosed = map[string]string{
	gateway.ReasonHeartbeatTimeout:   "because the device sent nothing in time",
	gateway.ReasonCredentialsExpired: "because its credential has ended or was taken back",
}

// closeText names the side that ended a connection, and the reason.
func closeText(by gateway.ClosedBy, reason string) string {
	switch by {
	case gateway.ClosedByNetwork:
		return fmt.Sprintf("the connection broke (%s)", reason)
	case gateway.ClosedByOperator:
		return fmt.Sprintf("an operator closed the connection (%s)", reason)
	case gateway.ClosedByDevice:
		if reason == gateway.ReasonHungUp {
			return fmt.Sprintf("the device closed the connection without a goodbye (%s)", reason)
		}
		return fmt.Sprintf("the device closed the connection (%s)", reason)
	}
	if words := becauseClosed[reason]; words != "" {
		return fmt.Sprintf("the gateway closed the connection %s (%s)", words, reason)
	}
	return fmt.Sprintf("the gateway closed the connection (%s)", reason)
}

// live judges a delivery whose client is connected.
func (q *Delivery) live(f *Facts) (Code, string) {
	id, st := q.Delivery.Client, &q.Standing
	f.Window, f.InFlight = st.Window, st.InFlight
	if st.InWindow {
		return q.inWindow(f)
	}
	switch {
	case st.Asking && st.First != nil:
		q.behind(f)
		return BehindAsk, fmt.Sprintf("%s was asked what became of %s, has not answered, and gets no payload before that", id, st.First.Message)
	case st.InFlight >= st.Window && st.First != nil:
		q.behind(f)
		return WindowFull, fmt.Sprintf("the window of %s is full: %s of %d unacked, the first is %s, %s", id, number(st.InFlight), st.Window, st.First.Message, sentText(st.First))
	case st.Link.Paced:
		return Paced, fmt.Sprintf("%s gets deliveries no faster than tcp.delivery_rate and tcp.delivery_byte_rate allow", id)
	case st.Waking:
		return Rollout, fmt.Sprintf("the message goes out at the rate that its push set, and it is not yet the turn of %s", id)
	case st.Link.Unwritten > 0:
		f.Unwritten = st.Link.Unwritten
		return NotReading, notReading(id, st.Link.Unwritten)
	}
	return AboutToSend, fmt.Sprintf("%s is online and nothing holds it back: it is about to be sent", id)
}

func notReading(id gateway.ClientID, n int) string {
	return fmt.Sprintf("%s does not read: %d bytes wait for its socket", id, n)
}

// behind notes the message in front.
func (q *Delivery) behind(f *Facts) {
	first := q.Standing.First
	f.Behind, f.BehindAttempts, f.BehindSentAt = first.Message, first.Attempts, first.SentAt
}

func sentText(d *gateway.Delivery) string {
	switch {
	case d.Reason == gateway.ReasonRetryLater:
		return "which the device wants later"
	case d.Attempts == 0:
		return "not sent yet"
	}
	return "sent " + timesAt(d.Attempts, d.SentAt)
}

// retries says how often the device wanted the delivery later.
func (q *Delivery) retries(f *Facts, n int) string {
	st := &q.Standing
	f.RetryLater, f.RetrySince = n, st.RetrySince
	often := times(n)
	if n >= gateway.ManyRetries {
		often = "at least " + often
	}
	text := fmt.Sprintf("%s wants it later: it said retry later %s", q.Delivery.Client, often)
	if !st.RetrySince.IsZero() {
		text += " since " + clock(st.RetrySince)
	}
	return text
}

// inWindow judges a delivery that the connection has.
func (q *Delivery) inWindow(f *Facts) (Code, string) {
	d, st := &q.Delivery, &q.Standing
	id := d.Client
	switch {
	case st.Asked:
		f.AskedAt = st.AskedAt
		return AskedNotAnswered, fmt.Sprintf("%s was asked%s whether it had handled the message before it reconnected, and has not answered", id, whenKnown(st.AskedAt))
	case st.RetryLater > 0:
		f.NextAt = st.NextAt
		text := q.retries(f, st.RetryLater)
		if !st.NextAt.IsZero() {
			text += ", and it is sent again at " + clock(st.NextAt)
		}
		return RetryLater, text
	case !st.MisackedAt.IsZero():
		f.MisackedAt = st.MisackedAt
		return WrongNumberSpace, fmt.Sprintf("%s acked it at %s in the number space of online deliveries (EPHEMERAL flag, in text the e), so the ack does not count", id, clock(st.MisackedAt))
	case !st.WorkingAt.IsZero():
		f.WorkingAt = st.WorkingAt
		return Working, fmt.Sprintf("%s works on it: it said so last at %s", id, clock(st.WorkingAt))
	case !st.Flushed && st.Link.Unwritten > 0:
		f.Unwritten = st.Link.Unwritten
		return NotReading, notReading(id, st.Link.Unwritten)
	case !st.Flushed:
		return AboutToSend, fmt.Sprintf("%s is online and nothing holds it back: it is about to be sent", id)
	case st.Retried > 0:
		return RetryLater, fmt.Sprintf("%s; it was sent again%s and is not acked yet", q.retries(f, st.Retried), whenKnown(d.SentAt))
	case d.Attempts > 1:
		return ResentNotAcked, fmt.Sprintf("it was sent to %s %s, and never acked", id, timesAt(d.Attempts, d.SentAt))
	}
	return SentNotAcked, fmt.Sprintf("it was sent to %s%s and is not acked yet", id, whenKnown(d.SentAt))
}
