package tcpserver

import (
	"slices"
	"sync/atomic"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/protocol"
)

// reasonInternal closes a connection after a panic.
const reasonInternal = gateway.ReasonInternalError

// Stats is a snapshot for metrics.
type Stats struct {
	Open         int            // open connections, registered or not
	Unregistered int            // open connections that have not registered
	Online       map[string]int // registered connections, by dialect

	Accepted     uint64
	AcceptErrors uint64            // mostly because the process has no more files
	Refused      map[string]uint64 // before or at registration, by a fixed list of reasons
	Closed       map[string]uint64 // ended connections, by a fixed list of reasons

	BytesIn       uint64
	BytesOut      uint64
	Malformed     uint64            // refused input that did not end its connection
	StaleAcks     map[string]uint64 // acks without effect, by a fixed list of kinds
	TLSHandshakes uint64            // successful handshakes
	Throttled     uint64            // pauses of reading because a device sent too fast
	Paced         uint64            // pauses of deliveries for the rates of deliveries
	SlowConsumers uint64            // devices closed because they read too slowly
	Unfinished    int64             // bytes of incomplete frames in memory
	Untaken       int64             // bytes of output that sockets have not taken
	LinesHeld     uint64            // log lines about refused registrations and other protocols that were counted but not written
	Panics        uint64            // bugs; each closed one connection
}

// closedTLSHandshake is the end of a connection whose TLS handshake failed.
const closedTLSHandshake = "tls_handshake"

// closeReasons are the label values of Stats.Closed; others count as "other".
var closeReasons = []string{
	protocol.ReasonShutdown, protocol.ReasonReplaced, protocol.ReasonKicked, protocol.ReasonHeartbeatTimeout,
	protocol.ReasonRegisterTimeout, protocol.ReasonSlowConsumer, protocol.ReasonOverloaded, protocol.ReasonRateExceeded,
	protocol.ReasonCredentialsExpired, protocol.ReasonUnauthorized, protocol.ReasonBlocked, protocol.ReasonIDInUse, protocol.ReasonTooManyClients,
	protocol.ReasonProtocolError, protocol.ReasonFrameTooLarge, protocol.ReasonBadClientID,
	protocol.ReasonBadRegister, protocol.ReasonNotRegistered, protocol.ReasonAlreadyRegistered,
	protocol.ReasonInvalidUTF8, protocol.ReasonUnknownCommand, protocol.ReasonTooManyErrors,
	protocol.ReasonInputOverflow, protocol.ReasonFrameTimeout, protocol.ReasonHTTPRequest, protocol.ReasonTLSUnsupported,
	protocol.ReasonProxyUnexpected, protocol.ReasonTLSRequired, protocol.ReasonProxyRequired,
	closedTLSHandshake, protocol.ReasonClientClosed, protocol.ReasonHungUp, protocol.ReasonConnectionLost,
	reasonInternal,
}

// refusedReasons are the label values of Stats.Refused.
var refusedReasons = []string{
	refusedDraining, refusedMaxConns, refusedUnregistered, refusedUnregisteredPerIP, refusedMemory,
	refusedAcceptRate, refusedAcceptRatePerIP, refusedHandshakeRate, refusedHandshakeRatePerIP,
	refusedRegisterRate, refusedRegisterRatePerIP, protocol.ReasonTLSRequired, protocol.ReasonProxyRequired,
	protocol.ReasonShutdown, protocol.ReasonOverloaded, protocol.ReasonUnauthorized,
	protocol.ReasonBlocked, protocol.ReasonIDInUse, protocol.ReasonBadRegister,
	protocol.ReasonTooManyClients, protocol.ReasonReplaced,
}

// Kinds of acks without effect, the label values of Stats.StaleAcks.
const (
	staleFlagMissing = "ephemeral_flag_missing" // an ephemeral delivery has the number
	staleFlagExtra   = "ephemeral_flag_extra"   // a stored delivery has the number
	staleTooSoon     = "working_too_soon"       // code working, less than a second after the one before
	staleOther       = "other"                  // no delivery has the number: the ack is late or invented
)

// labelCounts counts by a label from a fixed list.
type labelCounts struct {
	labels []string
	counts []atomic.Uint64 // one more than labels, for "other"
}

func newLabelCounts(labels []string) labelCounts {
	return labelCounts{labels, make([]atomic.Uint64, len(labels)+1)}
}

func (t *labelCounts) add(label string) { t.addSome(label, 1) }

func (t *labelCounts) addSome(label string, n int) {
	i := slices.Index(t.labels, label)
	if i < 0 {
		i = len(t.labels)
	}
	t.counts[i].Add(uint64(n))
}

func (t *labelCounts) snapshot() map[string]uint64 {
	m := make(map[string]uint64, len(t.counts))
	for i, l := range t.labels {
		m[l] = t.counts[i].Load()
	}
	m["other"] = t.counts[len(t.labels)].Load()
	return m
}

type counters struct {
	accepted, acceptErrors     atomic.Uint64
	bytesIn                    atomic.Uint64
	_                          cacheLine // different processors read and write below and above it
	bytesOut                   atomic.Uint64
	_                          cacheLine
	malformed, slowConsumers   atomic.Uint64
	panics, handshakes         atomic.Uint64
	throttled, paced           atomic.Uint64
	online                     []atomic.Int64 // by protocol.Dialect
	refused, closed, staleAcks labelCounts
}

// cacheLine separates its neighbours: each processor owns memory in units of a
// line.
type cacheLine [64]byte

func (c *counters) init() {
	c.online = make([]atomic.Int64, 1+len(protocol.Dialects()))
	c.refused, c.closed = newLabelCounts(refusedReasons), newLabelCounts(closeReasons)
	c.staleAcks = newLabelCounts([]string{staleFlagMissing, staleFlagExtra, staleTooSoon})
}

// Stats returns a snapshot. Its cost does not depend on the number of connections.
func (s *Server) Stats() Stats {
	c := &s.stats
	st := Stats{
		Online:        make(map[string]int, len(c.online)),
		Accepted:      c.accepted.Load(),
		AcceptErrors:  c.acceptErrors.Load(),
		Refused:       c.refused.snapshot(),
		Closed:        c.closed.snapshot(),
		BytesIn:       c.bytesIn.Load(),
		BytesOut:      c.bytesOut.Load(),
		Malformed:     c.malformed.Load(),
		StaleAcks:     c.staleAcks.snapshot(),
		TLSHandshakes: c.handshakes.Load(),
		Throttled:     c.throttled.Load(),
		Paced:         c.paced.Load(),
		SlowConsumers: c.slowConsumers.Load(),
		Unfinished:    s.unfinished.used(),
		Untaken:       s.untaken.used(),
		LinesHeld:     s.refusals.Held(),
		Panics:        c.panics.Load(),
	}
	for _, d := range protocol.Dialects() {
		st.Online[d.String()] = int(c.online[d].Load())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Open, st.Unregistered = s.open, s.unregistered.Len()
	return st
}

// MaxConnections returns the bound of open connections.
func (s *Server) MaxConnections() int { return s.cfg.MaxConns }
