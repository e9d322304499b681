package why

import (
	"fmt"
	"strings"

	"github.com/longwire/longwire/gateway"
)

// OfClient judges a client. ok is false if nothing is known of it.
func OfClient(q *Client) (v Verdict, ok bool) {
	var text string
	f := &v.Facts
	c := q.Client
	switch {
	case c == nil && !q.ForgottenAt.IsZero() && (q.Refused == nil || !q.Refused.LastAt.After(q.ForgottenAt)):
		f.ForgottenAt = q.ForgottenAt
		v.Code, text = Forgotten, fmt.Sprintf("%s was forgotten at %s and has not registered since", q.ID, clock(q.ForgottenAt))
	case c == nil && q.Refused != nil:
		f.Refused, f.ForgottenAt = q.Refused, q.ForgottenAt
		v.Code, text = Refused, fmt.Sprintf("%s is not known; it was %s", q.ID, refusedText(q.Refused))
	case c == nil:
		return v, false
	case c.Online:
		v.Code, text = q.online(f)
	default:
		v.Code, text = q.away(f)
	}
	v.Sentence = sentence(text, q.ID)
	return v, true
}

func (q *Client) online(f *Facts) (Code, string) {
	c := q.Client
	f.OnlineSince, f.InFlight, f.Takeovers = c.ConnectedAt, c.InFlight, q.Flaps
	text := fmt.Sprintf("%s is online since %s (%s)", c.ID, clock(c.ConnectedAt), span(q.Now.Sub(c.ConnectedAt)))
	switch {
	case q.Refused != nil && q.Refused.Reason == gateway.RefusedIDInUse:
		f.Refused = q.Refused
		return OnlineTwin, text + "; another device with its id was " + refusedText(q.Refused) + q.claims(f)
	case q.Flaps > 1:
		return OnlineFlapping, fmt.Sprintf("%s; it has replaced its connection %s in quick succession, as if two devices had this id", text, times(q.Flaps)) + q.claims(f)
	}
	if c.Suspect {
		return OnlineSuspect, fmt.Sprintf("%s is connected since %s, but %s", c.ID, clock(c.ConnectedAt), suspect(c, q.Now, f))
	}
	if q.Unstable != nil {
		return OnlineUnstable, text + unstable(q.Unstable, f)
	}
	if u := q.NoUplinks; u != nil {
		f.UplinksRefused = u
		return OnlineNoUplinks, fmt.Sprintf("%s; its uplinks were refused for now %s because %s, first at %s and last at %s",
			text, times(int(u.Count)), noUplinksBecause[u.Reason], clock(u.FirstAt), clock(u.LastAt))
	}
	return Online, text
}

// noUplinksBecause has the words for the reasons of refused uplinks.
var noUplinksBecause = map[string]string{
	gateway.UplinksOfClientFull: "the uplinks of the device or its tenant have used up their share of the disk",
	gateway.UplinksEventsFull:   "the device or its tenant has used up its share of the event log in this hour",
}

// claims notes the addresses that claim the id, and names them; "" if none is known.
func (q *Client) claims(f *Facts) string {
	f.Claims = q.Claims
	var from []string
	for _, c := range q.Claims {
		from = append(from, c.Remote.String())
	}
	switch last := len(from) - 1; last {
	case -1:
		return ""
	case 0:
		return fmt.Sprintf("; all its connections came from the address %s", q.Claims[0].Remote.Addr())
	default:
		return "; the id was claimed from " + strings.Join(from[:last], ", ") + " and " + from[last]
	}
}

var closedBy = map[gateway.ClosedBy]Code{gateway.ClosedByDevice: ClosedByDevice, gateway.ClosedByGateway: ClosedByGateway,
	gateway.ClosedByNetwork: ClosedByNetwork, gateway.ClosedByOperator: ClosedByOperator}

func (q *Client) away(f *Facts) (Code, string) {
	c := q.Client
	never := c.LastSeenAt.IsZero()
	text := "has never connected"
	if !never {
		text = offline(c, q.Now, f) + unstable(q.Unstable, f)
	}
	switch {
	case c.BlockedUntil.After(q.Now):
		f.BlockedUntil, f.Refused = c.BlockedUntil, q.Refused
		text = fmt.Sprintf("%s is blocked until %s and %s", c.ID, clock(c.BlockedUntil), text)
		if q.Refused != nil {
			text += "; it was " + refusedText(q.Refused)
		}
		return Blocked, text
	case q.Refused != nil && q.Refused.LastAt.After(c.LastSeenAt):
		f.Refused = q.Refused
		return Refused, fmt.Sprintf("%s %s; it was %s", c.ID, text, refusedText(q.Refused))
	case never:
		return NeverConnected, fmt.Sprintf("%s %s", c.ID, text)
	}
	code := closedBy[f.ClosedBy]
	if code == "" { // the store knows no reason: an older version closed it
		code = ClosedByGateway
	}
	return code, fmt.Sprintf("%s %s", c.ID, text)
}
