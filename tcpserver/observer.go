package tcpserver

import (
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/protocol"
)

// Observer is notified of the connections of clients. It must not wait, except in
// Refused, and must not keep the Hello, which has the device's credential.
type Observer interface {
	// Connected reports a registration, before the device reads of it. began is
	// when the connection was accepted; it distinguishes the connections of a
	// client.
	Connected(began time.Time, h gateway.Hello, session gateway.SessionID)
	// Refused reports a refused registration and its reason.
	Refused(began time.Time, h gateway.Hello, reason string)
	// Closed reports the end of a registered connection and its reason. The Hello
	// has the client, the dialect, the transport and the address.
	Closed(began time.Time, h gateway.Hello, reason string)
}

func (c *conn) observeConnected(h gateway.Hello, session gateway.SessionID) {
	if o := c.srv.cfg.Observer; o != nil {
		o.Connected(c.proto.Began(), h, session)
	}
}

func (c *conn) observeRefused(r *protocol.Register, reason string) {
	if o := c.srv.cfg.Observer; o != nil {
		o.Refused(c.proto.Began(), c.hello(r), reason)
	}
}

func (c *conn) observeClosed(reason string) {
	if o := c.srv.cfg.Observer; o != nil {
		c.mu.Lock()
		h := gateway.Hello{Client: gateway.ClientID(c.proto.ClientID()), Dialect: c.dialect.String(), Remote: c.remote.AddrPort(), Transport: "tcp"}
		if isTLS(c.tr.netConn()) {
			h.Transport = "tls"
		}
		c.mu.Unlock()
		o.Closed(c.proto.Began(), h, reason)
	}
}
