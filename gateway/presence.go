package gateway

// presence finds the session of a client and passes online calls to sessions. The
// hub implements it for the sessions of this process. An implementation for
// several processes asks the hub for its own sessions and forwards the other
// calls: an online call names its session, so it can end in another process.
type presence interface {
	// holder returns the live session of a client; ok is false if it is offline.
	holder(ClientID) (ref sessionRef, ok bool)
	// begin puts a call into its session and sends it, or leaves that to b. Errors:
	// CodeClientOffline (also when the client has another session now),
	// CodePayloadTooLarge, CodeQueueFull.
	begin(c *OnlineCall, b *OnlineBatch) error
	// withdraw takes a call out of its session. It returns false if the call has
	// been answered or is being answered.
	withdraw(c *OnlineCall) bool
}

// sessionRef names a live session.
type sessionRef struct {
	client ClientID
	id     uid
}

// named returns the live session that r names, nil if it has ended.
func (h *hub) named(r *sessionRef) *Session {
	if s := h.session(r.client); s != nil && s.id == r.id {
		return s
	}
	return nil
}

func (h *hub) holder(id ClientID) (sessionRef, bool) {
	s := h.session(id)
	if s == nil {
		return sessionRef{}, false
	}
	return sessionRef{client: s.client, id: s.id}, true
}

func (h *hub) begin(c *OnlineCall, b *OnlineBatch) error {
	s := h.named(&c.session)
	if s == nil {
		return errOffline
	}
	if len(c.payload) > int(s.maxPayload) {
		return tooLargeFor(s)
	}
	return s.call(c, b)
}

// withdraw finds no call in a session that is no longer live: the goroutine that
// ended the session answers its calls.
func (h *hub) withdraw(c *OnlineCall) bool {
	s := h.named(&c.session)
	return s != nil && s.withdraw(c)
}
