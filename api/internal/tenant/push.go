package tenant

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/audit"
)

// Receipt is the result of an accepted push.
type Receipt struct {
	gateway.Receipt
	// Unknown are the named clients beyond the caller's limit, if other named clients
	// were within it. Nothing was stored for them.
	Unknown []gateway.ClientID
}

// Push stores a message for the clients of its audience that are within the limit. It
// changes r.
func (v *View) Push(r *gateway.PushRequest) (out Receipt, err error) {
	target := v.target(&r.To)
	if out.Unknown, err = v.narrow(r); err == nil {
		out.Receipt, err = v.shared.gateway.Push(context.Background(), *r)
		err = v.hide(err, r.To.Client, "")
	}
	v.pushed(target, out.Message.ID, out.Replayed, r.IdempotencyKey, err)
	return out, err
}

// Recipients returns the audience that Push would fix now. It changes r.
func (v *View) Recipients(r *gateway.PushRequest) (out gateway.Recipients, unknown []gateway.ClientID, err error) {
	if unknown, err = v.narrow(r); err == nil {
		out, err = v.shared.gateway.Recipients(*r)
		err = v.hide(err, r.To.Client, "")
	}
	return out, unknown, err
}

// StartPush is Push for a caller that does not block: it calls done with the result.
// If c is not nil it is PushAndAwait, and the caller ends the wait with c. See
// gateway.Gateway.StartPush and StartPushAndAwait.
func (v *View) StartPush(c *gateway.PushCall, r *gateway.PushRequest, done func(Receipt, error)) {
	target, key := v.target(&r.To), r.IdempotencyKey
	unknown, err := v.narrow(r)
	answer := func(rec gateway.Receipt, err error) {
		v.pushed(target, rec.Message.ID, rec.Replayed, key, err)
		done(Receipt{Receipt: rec, Unknown: unknown}, err)
	}
	if err != nil {
		answer(gateway.Receipt{}, err)
		return
	}
	client := r.To.Client
	hidden := func(rec gateway.Receipt, err error) { answer(rec, v.hide(err, client, "")) }
	if c == nil {
		v.shared.gateway.StartPush(*r, hidden)
		return
	}
	v.shared.gateway.StartPushAndAwait(c, *r, hidden)
}

// PushAndAwait is Push, and waits for the final states for up to wait. The
// wait ends at the latest r.Linger after ctx has ended; that does not undo the push.
func (v *View) PushAndAwait(ctx context.Context, r *gateway.PushRequest, wait time.Duration) (out Receipt, err error) {
	target := v.target(&r.To)
	if out.Unknown, err = v.narrow(r); err == nil {
		out.Receipt, err = v.shared.gateway.PushAndAwait(ctx, *r, wait)
		err = v.hide(err, r.To.Client, "")
	}
	v.pushed(target, out.Message.ID, out.Replayed, r.IdempotencyKey, err)
	return out, err
}

// PushOnline delivers at once or not at all. The wait ends with ctx.
func (v *View) PushOnline(ctx context.Context, r gateway.OnlineRequest) (out gateway.OnlineResult, err error) {
	r.Owner = v.key.Limit.Owner()
	if err = v.reach(r.Client); err == nil {
		out, err = v.shared.gateway.PushOnline(ctx, r)
		err = v.hide(err, r.Client, "")
	}
	v.pushed(string(r.Client), out.Message, out.Replayed, r.IdempotencyKey, err)
	return out, err
}

// narrow sets r's owner and reduces its audience to the clients within the limit. It
// returns the named clients that it has removed.
func (v *View) narrow(r *gateway.PushRequest) (unknown []gateway.ClientID, err error) {
	r.Account = v.key.Account()
	if !v.limited() {
		return nil, nil
	}
	l := &v.key.Limit
	r.Owner = l.Owner()
	switch {
	case r.To.Client != "":
		return nil, v.reach(r.To.Client)
	case len(r.To.Clients) > 0:
		r.To.Clients, unknown, err = v.split(r.To.Clients)
		if err == nil && len(r.To.Clients) == 0 {
			err = unknownClient(unknown[0])
		}
		return unknown, err
	case l.Prefix != "":
		r.Only = v.MaySee
	case r.To.All:
		r.To = gateway.Audience{Group: l.Group}
	case r.To.Group != l.Group:
		r.Only = func(id gateway.ClientID) bool { in, err := v.Inside(id); return err == nil && in }
	}
	return nil, nil
}

// split separates named clients into those within the limit and the others.
func (v *View) split(ids []gateway.ClientID) (within, beyond []gateway.ClientID, err error) {
	for _, id := range ids {
		in, err := v.Inside(id)
		if err != nil {
			return nil, nil, err
		}
		if in {
			within = append(within, id)
		} else if !slices.Contains(beyond, id) {
			beyond = append(beyond, id)
		}
	}
	return within, beyond, nil
}

// target names an audience for the audit log. It returns "" if the log does not record
// pushes.
func (v *View) target(to *gateway.Audience) string {
	switch {
	case !v.shared.log.Wants(audit.Push):
		return ""
	case to.Client != "":
		return string(to.Client)
	case len(to.Clients) > 0:
		return fmt.Sprintf("%d clients, %s first", len(to.Clients), to.Clients[0])
	case to.Group != "":
		return "group " + to.Group
	case to.All:
		return "all"
	}
	labels := make([]string, 0, len(to.Labels))
	for k, val := range to.Labels {
		labels = append(labels, k+"="+val)
	}
	slices.Sort(labels)
	return "labels " + strings.Join(labels, ",")
}

// pushed records a push.
func (v *View) pushed(target string, id gateway.MessageID, replayed bool, key string, err error) {
	if !v.shared.log.Wants(audit.Push) {
		return
	}
	e := v.entry(audit.Push, target, err)
	e.Message = cmp.Or(string(id), e.Message)
	if replayed {
		e.Result = "replayed"
	}
	if key != "" {
		sum := sha256.Sum256([]byte(key))
		e.Idempotency = hex.EncodeToString(sum[:8])
	}
	v.shared.log.Record(e)
}

// Record adds a write and its result to the audit log.
func (v *View) Record(what, target string, err error) {
	if v.shared.log.Wants(what) {
		v.shared.log.Record(v.entry(what, target, err))
	}
}

// problem is an error of the API's own.
type problem interface {
	error
	Code() string
}

func (v *View) entry(what, target string, err error) audit.Entry {
	e := audit.Entry{At: v.shared.now(), Who: v.key.ID, Name: v.key.Name, What: what, Target: target, From: v.request.From,
		Request: v.request.ID, Caller: v.request.CallerID, Via: v.request.Via, Result: audit.OK}
	if err != nil {
		e.Result = "error"
		if refusal, ok := errors.AsType[*gateway.Error](err); ok {
			e.Result, e.Message = string(refusal.Code), string(refusal.MessageID)
		} else if refusal, ok := errors.AsType[problem](err); ok {
			e.Result = refusal.Code()
		}
	}
	return e
}
