package tcpserver

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/protocol"
)

// register asks the gateway and answers the device. It runs inside a turn, so
// nothing else happens to the session meanwhile but output and its end.
func (c *conn) register(r *protocol.Register) {
	ctx, cancel := context.WithTimeout(c.srv.ctx, c.srv.cfg.StoreTimeout)
	defer cancel()
	gw, welcome, err := c.srv.connect(ctx, c.hello(r), c)
	if err != nil {
		c.refuse(r, err)
		return
	}
	c.accept(gw, welcome)
	gw.Start()
}

func (c *conn) hello(r *protocol.Register) gateway.Hello {
	c.mu.Lock()
	defer c.mu.Unlock()
	return gateway.Hello{
		Client:  gateway.ClientID(r.ID),
		Token:   r.Token,
		Labels:  r.Labels,
		Groups:  r.Groups,
		Log:     gateway.LogID(r.Log),
		LastSeq: gateway.Seq(r.LastSeq),
		Dialect: c.proto.Dialect().String(),
		Remote:  c.remote,
	}
}

// accept puts the REGISTER_ACK into the output. The connection may have ended
// meanwhile; then the turn goes on with that event and tells gw.
func (c *conn) accept(gw session, w gateway.Welcome) {
	c.mu.Lock()
	c.gw = gw
	c.flags |= flagRegistered
	c.dialect = c.proto.Dialect()
	c.srv.stats.online[c.dialect].Add(1)
	if c.cause != causePanic {
		c.proto.Accept(time.Now(), protocol.Registered{
			Session: string(w.Session), Log: string(w.Log), Resumed: w.Resumed,
		})
	}
	c.mu.Unlock()
	c.srv.registered(c)
}

func (c *conn) refuse(r *protocol.Register, err error) {
	why := refusal(err)
	c.srv.stats.refused.add(why.Reason)
	c.srv.log.Info("registration refused", "client", r.ID, "remote", c.remote, "reason", why.Reason, "error", err)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != causePanic {
		c.proto.Refuse(time.Now(), why)
	}
}

// overloadedRetry is the longest a device is told to wait when the store
// cannot answer; each is told its own time.
const overloadedRetry = 5 * time.Second

// refusal is the close that a Connect error stands for. A store that cannot
// answer is an overload, not a no: the device comes back.
func refusal(err error) protocol.Close {
	why := protocol.Close{Code: protocol.CloseOverloaded, Reason: protocol.ReasonOverloaded}
	switch gateway.CodeOf(err) {
	case gateway.CodeUnauthorized:
		why = protocol.Close{Code: protocol.CloseUnauthorized, Reason: protocol.ReasonUnauthorized}
	case gateway.CodeBlocked:
		why = protocol.Close{Code: protocol.CloseBlocked, Reason: protocol.ReasonBlocked}
	case gateway.CodeIDInUse:
		why = protocol.Close{Code: protocol.CloseIDInUse, Reason: protocol.ReasonIDInUse}
	case gateway.CodeValidation:
		why = protocol.Close{Code: protocol.CloseProtocol, Reason: protocol.ReasonBadRegister}
	case gateway.CodeDraining:
		why = protocol.Close{Code: protocol.CloseShutdown, Reason: protocol.ReasonShutdown}
	}
	why.RetryAfter = retryAfter(err)
	if why.Code.Reconnect() {
		why.RetryAfter = max(why.RetryAfter, time.Second) + rand.N(overloadedRetry)
	}
	return why
}

// retryAfter is the time to wait that err names, 0 for none.
func retryAfter(err error) time.Duration {
	if e, ok := errors.AsType[*gateway.Error](err); ok {
		return e.RetryAfter
	}
	return 0
}
