package api

import (
	"context"
	"encoding/hex"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/longwire/longwire/api/internal/tenant"
	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/timeline"
)

// Bounds of one read of the event log for a timeline. The log has no index by client.
const (
	maxLogReads = 5       // reads of the store
	maxLogScan  = 100_000 // events that a read looks at: 2 ms if they are in memory
)

// Bounds of the times by which an event and the entry of the same happening differ: the
// log has an event when it is stored, and the book an entry when it is seen.
const (
	logLag  = 5 * time.Second      // an event is in the log so long after its time, at most
	logLead = time.Second          // and its entry has a time so long after that, at most
	logSkew = 2 * time.Millisecond // the clocks of an event and its entry are read so far apart, at most; a queued entry has whole milliseconds
)

// fromLog is the Source of an entry that stands for an event of the log, and timelineUplink
// the kind of one for an uplink.
const (
	fromLog        = "log"
	timelineUplink = "uplink"
)

// logPlace is how the id of an entry from the log begins. The number of its event follows.
const logPlace = "log-"

// logPast has entries of a client from the event log, which are older than those in memory.
type logPast struct {
	items []TimelineEntry // the oldest first
	next  string          // before of the next call; "" = there is no more
}

// has reports whether there is an entry of a kind.
func (p *logPast) has(k timeline.Kind) bool {
	return slices.ContainsFunc(p.items, func(v TimelineEntry) bool { return v.What == k.String() })
}

// past reads the event log: the newest room entries that a selects and that are older than
// those in memory.
func (s *server) past(ctx context.Context, view *tenant.View, c *gateway.Client, memory []timeline.Entry, a *timelineQuery, room int) (p logPast, err error) {
	from, ambiguous, err := logRange(view, memory, a)
	if err != nil {
		return p, err
	}
	q := gateway.ClientEventQuery{Client: c.ID, Before: from, Scan: maxLogScan}
	if !a.since.IsZero() {
		if q.After, err = view.EventsBefore(a.since); err != nil {
			return p, err
		}
	}
	filter, err := view.Filter(tenant.Everything)
	if err != nil {
		return p, err
	}
	more := true
	for range maxLogReads {
		q.Limit = room - len(p.items)
		if !more || q.Limit == 0 {
			break
		}
		page, err := view.ClientEvents(ctx, q)
		if err != nil {
			return p, err
		}
		for i := range page.Items {
			e := &page.Items[i]
			if e.Type == gateway.EventClientForgotten { // older events are of another client with this id
				page.More = false
				break
			}
			v, ok := eventItem(e, a.payloads)
			if !ok || !a.wants(&v, e.At) || inRecord(c, e, a.beforeLog == 0) || e.Seq > ambiguous && inMemory(memory, e) {
				continue
			}
			if may, err := filter.Wants(e); err != nil {
				return p, err
			} else if may {
				p.items = append(p.items, v)
			}
		}
		q.Before, more = page.Next, page.More
	}
	if more {
		p.next = logPlace + strconv.FormatUint(q.Before, 10)
	}
	slices.Reverse(p.items)
	return p, nil
}

// logRange returns the number below which the log is read, and the one above which an
// event may have an entry in memory.
func logRange(view *tenant.View, memory []timeline.Entry, a *timelineQuery) (from, ambiguous uint64, err error) {
	from, ambiguous = a.beforeLog, ^uint64(0)
	if from == 0 && !a.until.IsZero() {
		if from, err = view.EventsBefore(a.until.Add(logLag)); err != nil {
			return 0, 0, err
		}
		from++
	}
	if from == 0 {
		from = math.MaxUint64 // the end
	}
	if len(memory) == 0 {
		return from, ambiguous, nil
	}
	begin := memory[0].At
	if ambiguous, err = view.EventsBefore(begin.Add(-logLead)); err != nil {
		return 0, 0, err
	}
	end, err := view.EventsBefore(begin.Add(logLag))
	return min(from, end+1), ambiguous, err
}

// inRecord reports whether the entry of the client's record, which the newest page has,
// stands for an event.
func inRecord(c *gateway.Client, e *gateway.Event, newest bool) bool {
	switch e.Type {
	case gateway.EventClientConnected, gateway.EventClientReplaced:
		return c.Online && e.Session == c.Session
	case gateway.EventClientDisconnected:
		return !newest && !c.Online && e.Epoch == c.Epoch // the newest page has the event itself, if it can
	}
	return false
}

// inMemory reports whether the entries of memory have an event from around their beginning.
func inMemory(memory []timeline.Entry, e *gateway.Event) bool {
	if !e.At.Before(memory[0].At.Add(logSkew)) {
		return true
	}
	return slices.ContainsFunc(memory, func(m timeline.Entry) bool {
		switch e.Type {
		case gateway.EventClientConnected, gateway.EventClientReplaced:
			return m.Kind == timeline.Connected && m.Session == e.Session
		case gateway.EventClientDisconnected:
			return m.Kind == timeline.Closed && m.Reason == e.Reason && m.At.Sub(e.At).Abs() < logSkew
		case gateway.EventMessageReceived:
			return m.Kind == timeline.Framed && !m.Out && m.Seq == e.Uplink.Number && m.At.Sub(e.At).Abs() < logSkew
		}
		return m.Kind == timeline.Stepped && m.Message == e.Message && m.Step.String() == eventState(e)
	})
}

// eventState returns the state of a delivery that an event stands for.
func eventState(e *gateway.Event) string {
	switch e.Type {
	case gateway.EventMessageQueued:
		return gateway.StepQueued.String()
	case gateway.EventMessageLateAck:
		return gateway.StepLateAck.String()
	}
	return e.State.String()
}

// eventItem returns the entry that stands for an event; ok is false for an event that is
// none of a timeline.
func eventItem(e *gateway.Event, payloads bool) (v TimelineEntry, ok bool) {
	v = TimelineEntry{ID: logPlace + strconv.FormatUint(e.Seq, 10), At: fineStamp(e.At), Source: fromLog, Message: string(e.Message), Reason: e.Reason, Session: string(e.Session)}
	switch e.Type {
	case gateway.EventClientConnected, gateway.EventClientReplaced:
		v.What, v.RemoteAddr, v.Dialect = timeline.Connected.String(), e.Remote, e.Dialect
	case gateway.EventClientDisconnected:
		v.What, v.By = timeline.Closed.String(), string(gateway.CloserOf(e.Reason))
	case gateway.EventMessageReceived:
		v.What = timelineUplink
		v.uplink(e.Uplink, payloads)
	case gateway.EventMessageQueued, gateway.EventMessageAcked, gateway.EventMessageRejected, gateway.EventMessageExpired,
		gateway.EventMessageCanceled, gateway.EventMessageFailed, gateway.EventMessageLateAck:
		v.What, v.State, v.Attempts = timeline.Stepped.String(), eventState(e), e.Attempts
	default:
		return v, false
	}
	return v, true
}

// uplink adds the members of an uplink.
func (v *TimelineEntry) uplink(u *gateway.Uplink, payloads bool) {
	v.Uplink, v.Bytes = u.Seq, len(u.Payload)
	if u.Number != 0 {
		v.Number = strconv.FormatUint(u.Number, 10)
	}
	switch {
	case len(u.Payload) == 0:
	case !payloads:
		v.Withheld = true
	case isLine(u.Payload):
		v.Text = string(u.Payload)
	default:
		v.Hex = hex.EncodeToString(u.Payload)
	}
}

// place takes the id of an entry: of one in memory, or of one from the log.
func (q *query) place(name string) (memory, log uint64) {
	v := q.one(name)
	if v == "" {
		return 0, 0
	}
	digits, ofLog := strings.CutPrefix(v, logPlace)
	n, err := strconv.ParseUint(digits, 10, 64)
	switch {
	case err != nil || n == 0:
		q.fail(name, "must be the id of an entry")
	case ofLog:
		return 0, n
	}
	return n, 0
}
