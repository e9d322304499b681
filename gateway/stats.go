package gateway

import (
	"sync/atomic"
	"time"
)

// Stats is a snapshot for metrics and for people.
type Stats struct {
	Online    int
	Suspect   int // of the online ones: see Session.Suspect
	InFlight  int
	Draining  bool
	StartedAt time.Time
	Store     StoreStats

	Accepted       uint64             // durable messages
	OnlineTimeouts uint64             // online deliveries without an answer in time
	OnlineAcked    uint64             // online deliveries answered
	Delivered      uint64             // transmissions flushed to a socket
	Redelivered    uint64             // repeats among the delivered
	RetryLater     uint64             // answers of devices that want a delivery later
	Asks           uint64             // ASKs sent
	AskAnswers     map[string]uint64  // answers to ASKs, by the names in askAnswers
	NotHandled     uint64             // answers AckSend to a payload; AckSend is for ASKs
	NotKept        uint64             // answers AckNotKept
	OtherLog       uint64             // registrations with an AskThrough of another log
	BeyondLog      uint64             // registrations with an AskThrough above all sequences of this log
	Settled        [Failed + 1]uint64 // deliveries by final State
	LateAcks       uint64
	Uplinks        uint64
	UplinksRefused uint64 // for the share of their client or its tenant
	// EventsRefused counts the refusals for a share of the event log, by kind of call.
	EventsRefused map[string]uint64

	Connects            uint64            // registrations
	Takeovers           uint64            // registrations among these that replaced a connection
	Disconnects         uint64            // sessions that ended
	DisconnectsByReason map[string]uint64 // by close reason, others as "other"
	Probes              map[string]uint64 // answers to probes by presence, and "refused"
	EventsDropped       uint64            // events that left the ring before a subscriber read them
}

type counters struct {
	accepted, onlineTimeouts, onlineAcked atomic.Uint64
	_                                     cacheLine // sends and answers are counted on different processors
	delivered, redelivered                atomic.Uint64
	_                                     cacheLine
	retriesLater, notHandled, notKept     atomic.Uint64
	otherLog, beyondLog                   atomic.Uint64
	asks, asksUnanswered                  atomic.Uint64
	askAnswers                            [len(askAnswers)]atomic.Uint64
	settled                               [Failed + 1]atomic.Uint64
	uplinksRefused                        atomic.Uint64
	eventsRefused                         [len(eventsRefused)]atomic.Uint64
	lateAcks, uplinks                     atomic.Uint64
	connects, takeovers, disconnects      atomic.Uint64
	closedBy                              [len(closes) + 1]atomic.Uint64
}

// The kinds of calls that the event log refuses for a share of it; a fixed list.
const (
	refusedUplink = iota
	refusedRegistration
	refusedPush
	refusedChange // of a client
)

var eventsRefused = [...]string{refusedUplink: "uplink", refusedRegistration: "registration", refusedPush: "push", refusedChange: "change"}

// eventsFull counts err if it is the refusal of a share of the event log, and returns it.
func (c *counters) eventsFull(kind int, err error) error {
	if err != nil && CodeOf(err) == CodeEventsFull {
		c.eventsRefused[kind].Add(1)
	}
	return err
}

// cacheLine keeps the fields before and after it in different cache lines.
type cacheLine [64]byte

func (c *counters) closed(reason string) {
	c.disconnects.Add(1)
	for i := range closes {
		if closes[i].reason == reason {
			c.closedBy[i].Add(1)
			return
		}
	}
	c.closedBy[len(closes)].Add(1)
}

// askAnswers is the fixed list of label values for the answers to ASKs, by code.
var askAnswers = [...]string{AckOK: "ok", AckReject: "reject", AckRetry: "retry_later", AckSend: "not_handled",
	AckNotKept: "not_kept", AckWorking: "working"}

// answered counts a device's answer to an ASK, or to a payload.
func (c *counters) answered(asked bool, code AckCode) {
	switch {
	case asked && int(code) < len(askAnswers):
		c.askAnswers[code].Add(1)
	case !asked && code == AckSend:
		c.notHandled.Add(1)
	}
	if code == AckNotKept {
		c.notKept.Add(1)
	}
}

// claimed counts a registration's AskThrough by its result.
func (c *counters) claimed(h Hello, w Welcome) {
	switch {
	case !h.Asks || h.AskThrough == 0 || w.Resumed:
	case h.Log == w.Log:
		c.beyondLog.Add(1)
	default:
		c.otherLog.Add(1)
	}
}

// OnlineClients is Stats().Online at no cost.
func (g *Gateway) OnlineClients() int { return g.hub.online.len() }

// AckLatencies returns the times from the last transmission of a delivery to its ack, of
// stored and of online deliveries since the start.
func (g *Gateway) AckLatencies() LatencyCounts { return g.acks.Snapshot() }

// UplinkCount is Stats().Uplinks at no cost.
func (g *Gateway) UplinkCount() uint64 { return g.counts.uplinks.Load() }

// Turnover is how often a client has connected or disconnected so far, at no
// cost.
func (g *Gateway) Turnover() uint64 {
	c := &g.counts
	return c.connects.Load() + c.disconnects.Load()
}

// Stats returns a snapshot. Its cost is a walk over the windows of busy sessions.
func (g *Gateway) Stats() Stats {
	c := &g.counts
	s := Stats{
		Online:         g.hub.online.len(),
		Suspect:        g.hub.suspects.len(),
		InFlight:       int(g.hub.inFlight.Load()),
		Draining:       g.draining.Load(),
		StartedAt:      g.startedAt,
		Store:          g.store.Stats(),
		Accepted:       c.accepted.Load(),
		OnlineTimeouts: c.onlineTimeouts.Load(),
		OnlineAcked:    c.onlineAcked.Load(),
		Delivered:      c.delivered.Load(),
		Redelivered:    c.redelivered.Load(),
		RetryLater:     c.retriesLater.Load(),
		Asks:           c.asks.Load(),
		NotHandled:     c.notHandled.Load(),
		NotKept:        c.notKept.Load(),
		OtherLog:       c.otherLog.Load(),
		BeyondLog:      c.beyondLog.Load(),
		LateAcks:       c.lateAcks.Load(),
		Uplinks:        c.uplinks.Load(),
		UplinksRefused: c.uplinksRefused.Load(),
		Connects:       c.connects.Load(),
		Takeovers:      c.takeovers.Load(),
		Disconnects:    c.disconnects.Load(),
		Probes:         g.probes.counted(),
		EventsDropped:  g.events.dropped.Load(),
	}
	for i := range s.Settled {
		s.Settled[i] = c.settled[i].Load()
	}
	s.EventsRefused = make(map[string]uint64, len(eventsRefused))
	for i, name := range eventsRefused {
		s.EventsRefused[name] = c.eventsRefused[i].Load()
	}
	s.AskAnswers = map[string]uint64{"none": c.asksUnanswered.Load()}
	for code, name := range askAnswers {
		s.AskAnswers[name] = c.askAnswers[code].Load()
	}
	s.DisconnectsByReason = make(map[string]uint64, len(closes)+1)
	for i, r := range closes {
		s.DisconnectsByReason[r.reason] = c.closedBy[i].Load()
	}
	s.DisconnectsByReason["other"] = c.closedBy[len(closes)].Load()
	return s
}
