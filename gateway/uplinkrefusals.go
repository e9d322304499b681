package gateway

import "time"

// Reasons for which the uplinks of a client are refused, other than a store that does not
// work.
const (
	UplinksOfClientFull = "uplinks_full"    // the uplinks of the client or its tenant have used up their share of the disk
	UplinksEventsFull   = RefusedEventsFull // it has used up its share of the event log
)

// UplinkRefusalReasons lists the reasons of UplinksRefused.
func UplinkRefusalReasons() []string { return []string{UplinksOfClientFull, UplinksEventsFull} }

// uplinksRefusedFor is how long a client is listed after its last refused uplink. Devices
// try again within a minute.
const uplinksRefusedFor = 10 * time.Minute

// UplinksRefused has the refused uplinks of a client.
type UplinksRefused struct {
	Client  ClientID
	Count   uint64    // since FirstAt, repeats of one uplink included
	FirstAt time.Time // of a row without a pause of ten minutes
	LastAt  time.Time
	Reason  string // of the last one
}

// noteUplinkRefusal notes the refusal of an uplink for a share.
func (s *Session) noteUplinkRefusal(err error) {
	reason := ""
	switch CodeOf(err) {
	case CodeQueueFull:
		s.g.counts.uplinksRefused.Add(1)
		reason = UplinksOfClientFull
	case CodeEventsFull:
		s.g.counts.eventsRefused[refusedUplink].Add(1)
		reason = UplinksEventsFull
	default:
		return
	}
	now, list := s.g.now(), &s.g.noUplinks
	if last, ok := list.Of(s.client); ok && now.Sub(last.LastAt) > uplinksRefusedFor {
		list.Forget(s.client)
	}
	list.Add(&Hello{Client: s.client, Remote: s.link.Stats().RemoteAddr}, reason, now)
}

// UplinksRefused returns the clients whose uplinks were refused in the last ten minutes
// because a share is used up, the latest first. It is bounded as Refused is.
func (g *Gateway) UplinksRefused() (all []UplinksRefused) {
	for _, r := range g.noUplinks.latest(g.now().Add(-uplinksRefusedFor)) {
		all = append(all, uplinksRefused(&r))
	}
	return all
}

// UplinksRefusedOf returns the entry of UplinksRefused for one client; ok is false if there
// is none.
func (g *Gateway) UplinksRefusedOf(id ClientID) (u UplinksRefused, ok bool) {
	r, ok := g.noUplinks.Of(id)
	if !ok || g.now().Sub(r.LastAt) > uplinksRefusedFor {
		return UplinksRefused{}, false
	}
	return uplinksRefused(&r), true
}

func uplinksRefused(r *RefusedRegistration) UplinksRefused {
	return UplinksRefused{Client: r.Client, Count: r.Count, FirstAt: r.FirstAt, LastAt: r.LastAt, Reason: r.Reason}
}
