package tenant

import (
	"context"
	"slices"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/audit"
)

// Standing has the facts about one delivery.
type Standing struct {
	Message  gateway.Message
	Delivery gateway.Delivery
	Sent     gateway.Transmissions // of a delivery that has expired or was canceled
	Client   *gateway.Client       // nil when it is not known any more; of a final delivery only if it has expired and the client is within the limit
	At       gateway.Standing      // of a delivery that is not final
}

// Standing returns the facts about a message's delivery to one client. For client "" and a
// message to many they are the message alone. A delivery that is not final needs a client
// within the limit, because the answer is about the client.
func (v *View) Standing(id gateway.MessageID, client gateway.ClientID) (s Standing, err error) {
	if s.Message, err = v.Message(id); err != nil {
		return Standing{}, err
	}
	if client == "" {
		client = s.Message.Client
	}
	if client == "" {
		return s, nil
	}
	if late := s.Message.Delivery; late != nil && late.Client == client {
		s.Delivery = *late
	} else if s.Delivery, err = v.shared.gateway.Delivery(id, client); err != nil {
		return Standing{}, v.hide(err, client, id)
	}
	return s, v.stand(&s)
}

// stand adds the facts about the client.
func (v *View) stand(s *Standing) error {
	g, d := v.shared.gateway, &s.Delivery
	if d.State.Final() {
		s.Sent = g.TransmissionsOf(d)
		if d.State != gateway.Expired {
			return nil
		}
		if in, err := v.Inside(d.Client); err == nil && in {
			if c, err := g.Client(d.Client); err == nil {
				s.Client = &c
			}
		}
		return nil
	}
	if in, err := v.Inside(d.Client); err != nil || !in {
		if err == nil {
			err = unknownMessage(d.Message)
		}
		return err
	}
	for range 2 { // again if the client has connected in between
		s.At = g.Standing(d)
		c, err := g.Client(d.Client)
		switch gateway.CodeOf(err) {
		case "":
			s.Client = &c
		case gateway.CodeClientNotFound:
			s.Client = nil
		default:
			return err
		}
		if s.Client == nil || c.Online == s.At.Live {
			break
		}
	}
	return nil
}

// NotFinal returns the facts about the first n deliveries of a message that are not final
// and whose clients are within the limit. The caller got m from this view.
func (v *View) NotFinal(m *gateway.Message, n int) (list []Standing, err error) {
	page, err := v.shared.gateway.Deliveries(gateway.DeliveryQuery{Message: m.ID, State: gateway.Queued, Limit: n})
	if err != nil {
		return nil, v.hide(err, "", m.ID)
	}
	var sent gateway.Page[gateway.Delivery, gateway.ClientID]
	if len(page.Items) < n {
		if sent, err = v.shared.gateway.Deliveries(gateway.DeliveryQuery{Message: m.ID, State: gateway.Sent, Limit: n}); err != nil {
			return nil, v.hide(err, "", m.ID)
		}
	}
	items := page.Items
	for _, d := range sent.Items { // one may have been sent between the two reads
		if !slices.ContainsFunc(items, func(have gateway.Delivery) bool { return have.Client == d.Client }) {
			items = append(items, d)
		}
	}
	for i := range items[:min(n, len(items))] {
		s := Standing{Message: *m, Delivery: items[i]}
		if err := v.stand(&s); err == nil {
			list = append(list, s)
		} else if code := gateway.CodeOf(err); code != gateway.CodeMessageNotFound {
			return nil, err
		}
	}
	return list, nil
}

// Unstable returns the row of closes of a client whose connections do not last, nil for
// any other one.
func (v *View) Unstable(id gateway.ClientID) *gateway.Unstable {
	if u, ok := v.shared.gateway.FlappingOf(id); ok {
		return &u
	}
	return nil
}

// Presence has the facts about a client's presence.
type Presence struct {
	Client      *gateway.Client // nil when it is not known
	Flaps       int
	Claims      []gateway.Claim
	Unstable    *gateway.Unstable       // nil when its connections last
	NoUplinks   *gateway.UplinksRefused // nil when none were refused lately
	ForgottenAt time.Time               // zero = not known to be forgotten
}

// Presence returns the facts about a client. If the client is not known, the error says
// so, and p has the facts for a caller that may see unknown ids (MaySee).
func (v *View) Presence(id gateway.ClientID) (p Presence, err error) {
	c, err := v.Client(id)
	if err == nil {
		p.Client, p.Flaps, p.Claims, p.Unstable = &c, v.shared.gateway.Flaps(id), v.shared.gateway.Claims(id), v.Unstable(id)
		if u, ok := v.shared.gateway.UplinksRefusedOf(id); ok {
			p.NoUplinks = &u
		}
		return p, nil
	}
	if gateway.CodeOf(err) == gateway.CodeClientNotFound && v.MaySee(id) {
		p.ForgottenAt = v.shared.gateway.ForgottenAt(id)
	}
	return p, err
}

// CancelQueue cancels the queue of a client up to and including a message; "" is
// everything. A limit to a group has the deliveries since the client came into the group.
func (v *View) CancelQueue(id gateway.ClientID, through gateway.MessageID) (done gateway.CanceledQueue, err error) {
	j, err := v.reachSince(id)
	if err == nil {
		done, err = v.shared.gateway.CancelQueue(context.Background(), id, j.Seq, through)
		err = v.hide(err, id, through)
	}
	target := string(id) + " queue"
	if through != "" {
		target += " through=" + string(through)
	}
	v.Record(audit.Cancel, target, err)
	return done, err
}
