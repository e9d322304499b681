package gateway

import (
	"context"
	"fmt"
	"time"
)

// PushRequest is a request to store a message for one client or many.
type PushRequest struct {
	// ID names the message; "" gives it a new one. A repeat of a known id returns the
	// receipt of its message.
	ID         MessageID
	To         Audience
	Payload    []byte
	Encoding   Encoding
	TTL        time.Duration // 0 = Config.DefaultTTL; 1 s to 30 d
	Metadata   map[string]string
	OnlineOnly bool // narrows a group, label or all audience to the online clients
	// Only, if set, narrows a group, label or all audience further. It is called
	// once for each member; see Acceptance.Only.
	Only         func(ClientID) bool
	QueueUnknown bool

	// MaxRecipients refuses the message with CodeTooManyRecipients if its audience is
	// larger when it is accepted; 0 = no bound.
	MaxRecipients int

	// Rate is how many online recipients of a message to many get their first
	// transmission each second, 1 to MaxRate; 0 = no limit. It is not stored. A
	// recipient that connects or gets another message gets this one at once,
	// because messages to one client keep their order. After a restart, and with
	// more than a thousand unfinished messages to many, there is no limit.
	Rate int

	// Linger is how long PushAndAwait still waits after its context has ended.
	Linger time.Duration

	Owner          string // Message.Owner; at most MaxOwner bytes
	Account        string // Acceptance.Account
	IdempotencyKey string
	Scope          string // the principal that the key belongs to
	Fingerprint    [32]byte
}

// Push stores a message and returns when it is on stable storage. Recipients that
// are online get it at once.
//
// Errors: CodeValidation, CodePayloadTooLarge (also when the single recipient
// is connected with a dialect that cannot carry it), CodeClientNotFound,
// CodeQueueFull, CodeIdempotencyMismatch, CodeDraining, CodeUnavailable.
func (g *Gateway) Push(ctx context.Context, r PushRequest) (Receipt, error) {
	id := r.ID
	if id == "" {
		id = g.newMessageID()
	}
	a, s, err := g.acceptance(&r, id)
	if err != nil {
		return Receipt{}, err
	}
	if s != nil {
		return g.repeated(a, s)
	}
	rec, err := g.store.Accept(ctx, a)
	return g.accepted(rec, id, err)
}

// StartPush is Push for a caller that does not wait. It calls done once, maybe
// before it returns; done must not block. The messages of one caller keep their
// order.
func (g *Gateway) StartPush(r PushRequest, done func(Receipt, error)) {
	g.start(&r, g.newMessageID(), done)
}

func (g *Gateway) start(r *PushRequest, id MessageID, done func(Receipt, error)) {
	a, s, err := g.acceptance(r, id)
	switch {
	case err != nil:
		done(Receipt{}, err)
	case s != nil:
		done(g.repeated(a, s))
	default:
		g.store.StartAccept(a, func(rec Receipt, err error) { done(g.accepted(rec, id, err)) })
	}
}

// PushAndAwait is Push followed by Await for up to wait. Unlike the two calls it
// announces the waiting caller beforehand, so the store writes the outcome at
// once. The receipt's message is as it stands at the end. An error is about the
// push alone. The end of ctx, and r.Linger after it, end the wait but not the
// push.
func (g *Gateway) PushAndAwait(ctx context.Context, r PushRequest, wait time.Duration) (Receipt, error) {
	var c PushCall
	var rec Receipt
	var err error
	done := make(chan struct{})
	g.StartPushAndAwait(&c, r, func(got Receipt, failure error) {
		rec, err = got, failure
		close(done)
	})
	lingering(ctx, done, wait, r.Linger)
	c.TimeOut()
	<-done
	return rec, err
}

// lingering returns when done is closed, after wait, or linger after the end of
// ctx.
func lingering(ctx context.Context, done <-chan struct{}, wait, linger time.Duration) {
	begun := time.Now()
	over := time.NewTimer(wait)
	defer over.Stop()
	select {
	case <-done:
		return
	case <-over.C:
		return
	case <-ctx.Done():
	}
	over.Reset(min(linger, wait-time.Since(begun)))
	select {
	case <-done:
	case <-over.C:
	}
}

// acceptance returns the message for the store. A session is returned if its link
// cannot carry the payload; the caller may then only repeat an earlier message.
func (g *Gateway) acceptance(r *PushRequest, id MessageID) (Acceptance, *Session, error) {
	if g.draining.Load() {
		return Acceptance{}, nil, errDraining
	}
	if err := g.checkPush(r); err != nil {
		return Acceptance{}, nil, err
	}
	now := g.now()
	a := Acceptance{
		ID: id, To: r.To, Payload: r.Payload, Encoding: r.Encoding, Metadata: r.Metadata,
		CreatedAt: now, ExpiresAt: now.Add(r.TTL), QueueUnknown: r.QueueUnknown, MaxRecipients: r.MaxRecipients, Rate: r.Rate,
		Owner: r.Owner, Account: r.Account, IdempotencyKey: r.IdempotencyKey, Scope: r.Scope, Fingerprint: r.Fingerprint,
	}
	a.Only = r.Only
	if r.OnlineOnly {
		a.Among = g.hub.clients
	}
	return a, g.cannotCarry(r), nil
}

// repeated returns the message that a repeats. If there is none, the error says
// that s cannot carry the payload.
func (g *Gateway) repeated(a Acceptance, s *Session) (Receipt, error) {
	rec, ok, err := g.store.Repeated(a)
	if err == nil && !ok {
		err = tooLargeFor(s)
	}
	return rec, err
}

// accepted counts an accepted message and completes the error of one that was
// not.
func (g *Gateway) accepted(rec Receipt, id MessageID, err error) (Receipt, error) {
	if err != nil {
		return Receipt{}, named(g.counts.eventsFull(refusedPush, err), id)
	}
	if !rec.Replayed {
		g.counts.accepted.Add(1)
	}
	return rec, nil
}

// named adds the message to an error of the store, whose outcome is unknown, so that
// the caller can look it up.
func named(err error, id MessageID) error {
	if e, ok := err.(*Error); ok && e.Code == CodeUnavailable && e.MessageID == "" {
		e := *e
		e.MessageID = id
		return &e
	}
	return err
}

// checkPush applies the defaults and checks the bounds.
func (g *Gateway) checkPush(r *PushRequest) error {
	if len(r.Payload) > MaxPayload {
		return &Error{Code: CodePayloadTooLarge, Message: fmt.Sprintf("a payload is at most %d bytes", MaxPayload), Limit: MaxPayload}
	}
	if r.TTL == 0 {
		r.TTL = g.cfg.DefaultTTL
	}
	if r.TTL < MinTTL || r.TTL > MaxTTL {
		return invalid("ttl is 1s to 720h")
	}
	if r.Rate < 0 || r.Rate > MaxRate || r.Rate > 0 && r.To.Client != "" {
		return invalid("rate is 1 to %d deliveries a second, for a message to many", MaxRate)
	}
	if r.MaxRecipients < 0 {
		return invalid("max_recipients is at least 1")
	}
	if len(r.Owner) > MaxOwner {
		return invalid("an owner is at most %d bytes", MaxOwner)
	}
	if len(r.Metadata) > MaxMetadata {
		return invalid("at most %d metadata entries", MaxMetadata)
	}
	for k, v := range r.Metadata {
		if k == "" || len(k) > MaxMetadataKey || len(v) > MaxMetadataVal {
			return invalid("a metadata key is 1 to %d bytes, a value at most %d", MaxMetadataKey, MaxMetadataVal)
		}
	}
	if len(r.IdempotencyKey) > MaxIdempotency {
		return invalid("an idempotency key is at most %d bytes", MaxIdempotency)
	}
	return r.To.check()
}

// cannotCarry returns the session of the single recipient if its link cannot
// carry the payload, else nil.
func (g *Gateway) cannotCarry(r *PushRequest) *Session {
	if r.To.Client == "" {
		return nil
	}
	if s := g.hub.session(r.To.Client); s != nil && len(r.Payload) > int(s.maxPayload) {
		return s
	}
	return nil
}

// check reports an audience that is not exactly one of the five kinds or exceeds
// a bound.
func (a *Audience) check() error {
	kinds := 0
	for _, set := range []bool{a.Client != "", len(a.Clients) > 0, a.Group != "", len(a.Labels) > 0, a.All} {
		if set {
			kinds++
		}
	}
	if kinds != 1 {
		return invalid("to names exactly one of client, clients, group, labels, all")
	}
	if a.Client != "" && !a.Client.Valid() {
		return errNotClientID
	}
	if len(a.Clients) > MaxClientsInTo {
		return invalid("at most %d clients in one message", MaxClientsInTo)
	}
	for _, id := range a.Clients {
		if !id.Valid() {
			return errNotClientID
		}
	}
	return nil
}

func invalid(format string, args ...any) *Error {
	return &Error{Code: CodeValidation, Message: fmt.Sprintf(format, args...)}
}

func tooLargeFor(s *Session) *Error {
	limit := s.maxPayload
	return &Error{Code: CodePayloadTooLarge, Limit: int64(limit),
		Message: fmt.Sprintf("the client is connected with the %s protocol, which carries at most %d bytes", s.link.Stats().Dialect, limit)}
}
