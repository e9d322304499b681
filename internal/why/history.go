package why

import (
	"fmt"
	"time"

	"github.com/longwire/longwire/gateway"
)

// Line is one line of a delivery's history.
type Line struct {
	At   time.Time
	Code string
	What string // English
}

// Codes of lines; a final state has its own name.
const (
	LineAccepted   = "accepted"
	LineSent       = "sent"
	LineSentBefore = "sent_on_earlier_connection"
	LineAsked      = "asked"
	LineRetryLater = "retry_later"
	LineWorking    = "working"
	LineMisacked   = "wrong_number_space"
	LineLateAck    = "late_ack"
	LineUnknown    = "sends_unknown"
)

// LineCodes returns every code of a line.
func LineCodes() []string {
	list := []string{LineAccepted, LineSent, LineSentBefore, LineAsked, LineRetryLater, LineWorking, LineMisacked}
	for st := gateway.Acked; st <= gateway.Unknown; st++ {
		list = append(list, st.String())
	}
	return append(list, LineLateAck, LineUnknown)
}

var happenings = map[gateway.Happening]Line{
	gateway.HappenedSent:        {Code: LineSent, What: "sent to the device"},
	gateway.HappenedSentEarlier: {Code: LineSentBefore, What: "sent on an earlier connection, not acked there"},
	gateway.HappenedAsked:       {Code: LineAsked, What: "the device was asked whether it has handled it"},
	gateway.HappenedRetryLater:  {Code: LineRetryLater, What: "the device wants it later"},
	gateway.HappenedWorking:     {Code: LineWorking, What: "the device works on it"},
	gateway.HappenedMisacked:    {Code: LineMisacked, What: "an ack in the wrong number space, which does not count"},
}

// History returns the lines of a delivery that are still known, the oldest first. v is its
// verdict.
func History(q *Delivery, v *Verdict) []Line {
	d := &q.Delivery
	var lines []Line
	if !d.CreatedAt.IsZero() {
		lines = append(lines, Line{d.CreatedAt, LineAccepted, "accepted"})
	}
	for _, h := range q.Standing.History {
		line := happenings[h.What]
		line.At = h.At
		lines = append(lines, line)
	}
	if f := &v.Facts; len(q.Standing.History) == 0 && !f.SentAt.IsZero() {
		line := happenings[gateway.HappenedSent]
		line.At = f.SentAt
		if f.Attempts > 1 {
			line.What = fmt.Sprintf("sent to the device, the last of %s", times(f.Attempts))
		}
		lines = append(lines, line)
	}
	if q.sendsUnknown() || q.Standing.MayHaveLeft {
		lines = append(lines, Line{Code: LineUnknown, What: "whether it was sent before is not known any more"})
	}
	if d.State.Final() {
		what := d.State.String()
		if d.Reason != "" {
			what += ": " + d.Reason
		}
		lines = append(lines, Line{d.FinalAt, d.State.String(), what})
	}
	if !d.LateAckAt.IsZero() {
		lines = append(lines, Line{d.LateAckAt, LineLateAck, "the device answered after the final state"})
	}
	return lines
}
