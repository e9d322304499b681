package tcpserver

import (
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/protocol"
)

// register asks the gateway and answers the device. It runs inside a turn, so only
// output and the end of the connection can happen concurrently.
func (c *conn) register(r *protocol.Register) {
	if reason := c.srv.limits.registrations.take(sourceOf(c.remote.AddrPort())); reason != "" {
		c.observeRefused(r, protocol.ReasonOverloaded)
		c.refuseAs(reason, *overloaded())
		return
	}
	hello := c.hello(r)
	gw, welcome, err := c.srv.connect(c.srv.callContext(), hello, c)
	if errors.Is(err, gateway.ErrConnectionLost) {
		c.mu.Lock()
		c.lostLocked()
		c.mu.Unlock()
		return
	}
	if err != nil {
		c.refuse(r, err)
		return
	}
	c.observeConnected(hello, welcome.Session)
	c.accept(gw, welcome)
	gw.Start()
}

func (c *conn) hello(r *protocol.Register) gateway.Hello {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := gateway.Hello{
		Client: gateway.ClientID(r.ID),
		Token:  r.Token,
		Labels: r.Labels,
		Groups: r.Groups,
		Log:    gateway.LogID(r.Log),

		Asks:       r.Asks,
		AskThrough: gateway.Seq(r.AskThrough),

		Dialect: c.proto.Dialect().String(),
		Remote:  c.remote.AddrPort(),

		Transport: "tcp",

		Lost: c.lost,
	}
	if t, ok := c.tr.netConn().(*tls.Conn); ok {
		h.Transport = "tls"
		if chains := t.ConnectionState().VerifiedChains; len(chains) > 0 { // a certificate without one counts as none
			chain, last := chains[0], len(chains[0])-1
			h.Certificate, h.Authority = chain[0], chain[last]
			if last > 1 {
				h.Between = chain[1:last]
			}
		}
	}
	return h
}

// lost reports whether the connection is known to be lost.
func (c *conn) lost() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.life != open || c.tr.reset()
}

// accept puts the REGISTER_ACK into the output. If the connection has already
// ended, the turn continues with that event and reports it to gw.
func (c *conn) accept(gw session, w gateway.Welcome) {
	c.mu.Lock()
	c.gw = gw
	c.flags |= flagRegistered
	c.dialect = c.proto.Dialect()
	c.expires = c.srv.expiry(w.ExpiresAt)
	c.srv.stats.online[c.dialect].Add(1)
	if c.cause != causePanic {
		c.proto.Accept(time.Now(), protocol.Registered{
			Session: string(w.Session), Log: string(w.Log), Resumed: w.Resumed, Ask: w.Ask, Time: w.Time,
			TokenUnchecked: w.TokenUnchecked,
		})
		c.countInputLocked() // the input behind the REGISTER is read now
	}
	if c.is(flagThrottled) { // the pause counts from the acceptance, like the silence
		c.quietUntil = c.readsAgainAtLocked() + int64(lateness)
	}
	c.mu.Unlock()
	c.srv.registered(c)
}

// tenths is an instant in tenths of a second since the server's epoch.
type tenths uint32

const tenth = 100 * time.Millisecond

func (t tenths) nanos() int64 { return int64(t) * int64(tenth) }

// farAway is longer than a process runs, and fits into tenths: credentials that
// expire later never expire for this process.
const farAway = 10 * 365 * 24 * time.Hour

// expiry returns when a connection must end whose credentials expire at t; 0 for
// never. It rounds up, because before t the device would be accepted again. It
// measures the remaining time with the present clock, because the wall clock may
// have been set since epoch.
func (s *Server) expiry(t time.Time) tenths {
	now := s.cfg.Now()
	left := t.Sub(now)
	if t.IsZero() || left > farAway {
		return 0
	}
	at := s.nanos(now) + int64(left)
	return tenths(max((at+int64(tenth)-1)/int64(tenth), 1)) // a time in the past ends the connection now
}

// expiredRetry spreads the return of a fleet whose credentials expire together.
const expiredRetry = 5 * time.Second

func credentialsExpired() protocol.Close {
	return protocol.Close{Code: protocol.CloseCredentialsExpired, Reason: protocol.ReasonCredentialsExpired,
		RetryAfter: randomUpTo(expiredRetry)}
}

func (c *conn) refuse(r *protocol.Register, err error) {
	why := refusal(err)
	if c.srv.refusals.Take(sourceName(c.remote.AddrPort()), time.Now()) {
		c.srv.log.Info("registration refused", "client", r.ID, "remote", c.remote, "reason", why.Reason, "error", err)
	}
	c.observeRefused(r, why.Reason)
	c.refuseAs(why.Reason, why)
}

// logStranger logs a connection that speaks no dialect on this port: mostly that of a
// program with the address of another service, or with another transport. The bounds
// of its lines are those of refused registrations.
func (s *Server) logStranger(remote netip.AddrPort, reason, text string) {
	if s.refusals.Take(sourceName(remote), time.Now()) {
		s.log.Info("connection refused: it speaks no device protocol that this port takes", "remote", remote, "reason", reason, "text", text)
	}
}

// noteUnnamed notes the refusal of a REGISTER that the gateway has not seen.
func (c *conn) noteUnnamed(e *protocol.Event) {
	note, reason := c.srv.cfg.Unnamed, e.Close.Reason
	if note == nil || c.gw != nil || e.Close.Remote || reason != protocol.ReasonBadClientID && reason != protocol.ReasonBadRegister {
		return
	}
	note(c.hello(&protocol.Register{}), reason, e.Payload)
}

// refuseAs refuses the device with why, and counts the reason counted.
func (c *conn) refuseAs(counted string, why protocol.Close) {
	c.srv.stats.refused.add(counted)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != causePanic {
		c.proto.Refuse(time.Now(), why)
		c.countInputLocked()
	}
}

// overloadedRetry is the range of the retry delays of an overloaded server; the
// delay is random for each device.
const overloadedRetry = 5 * time.Second

// overloaded asks a device to come back, after its own random delay.
func overloaded() *protocol.Close {
	return &protocol.Close{Code: protocol.CloseOverloaded, Reason: protocol.ReasonOverloaded,
		RetryAfter: time.Second + rand.N(overloadedRetry)}
}

// longestRetry bounds the delay that a refused device is asked for: what refuses it may
// end sooner than expected.
const longestRetry = time.Minute

// refusal returns the close for an error of Connect. A store that cannot answer is
// an overload and no refusal: the device comes back.
func refusal(err error) protocol.Close {
	why := protocol.Close{Code: protocol.CloseOverloaded, Reason: protocol.ReasonOverloaded}
	if errors.Is(err, gateway.ErrOvertaken) {
		why = protocol.Close{Code: protocol.CloseReplaced, Reason: protocol.ReasonReplaced}
	}
	switch gateway.CodeOf(err) {
	case gateway.CodeUnauthorized:
		why = protocol.Close{Code: protocol.CloseUnauthorized, Reason: protocol.ReasonUnauthorized}
	case gateway.CodeBlocked:
		why = protocol.Close{Code: protocol.CloseBlocked, Reason: protocol.ReasonBlocked}
	case gateway.CodeIDInUse:
		why = protocol.Close{Code: protocol.CloseIDInUse, Reason: protocol.ReasonIDInUse}
	case gateway.CodeTooManyClients:
		why.Reason = protocol.ReasonTooManyClients
	case gateway.CodeValidation:
		why = protocol.Close{Code: protocol.CloseProtocol, Reason: protocol.ReasonBadRegister}
	case gateway.CodeDraining:
		why = protocol.Close{Code: protocol.CloseShutdown, Reason: protocol.ReasonShutdown}
	}
	why.RetryAfter = min(retryAfter(err), longestRetry)
	if why.Code.Reconnect() {
		why.RetryAfter = max(why.RetryAfter, time.Second) + rand.N(overloadedRetry)
	}
	return why
}

// retryAfter returns the delay in err, 0 for none.
func retryAfter(err error) time.Duration {
	if e, ok := errors.AsType[*gateway.Error](err); ok {
		return e.RetryAfter
	}
	return 0
}
