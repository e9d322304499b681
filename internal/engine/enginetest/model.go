package enginetest

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/longwire/longwire/gateway"
)

// RunModel compares two engines: random operations must give the same answers,
// notifications and stored data on both. A store with Reopen is closed and opened
// again from time to time.
func RunModel(t *testing.T, openA, openB func(t *testing.T, o Options) gateway.Store) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newModel(t, rt, openA, openB)
		defer m.close()
		rt.Repeat(map[string]func(*rapid.T){
			"register":   m.register,
			"update":     m.update,
			"disconnect": m.disconnect,
			"accept":     m.accept,
			"accept one": m.acceptOne, // twice as often as each other operation
			"repeat":     m.repeat,
			"settle":     m.settle,
			"settle any": m.settle,
			"cancel":     m.cancel,
			"purge":      m.purge,
			"forget":     m.forget,
			"queue":      m.queue,
			"uplink":     m.uplink,
			"pages":      m.pages,
			"tick":       m.tick,
			"age":        m.age,
			"reopen":     m.reopen,
		})
		m.compare(rt)
		m.compareNotifications(rt)
	})
}

// side is one of the two stores.
type side struct {
	store gateway.Store
	recs  []*recorder // one for each time it was opened
	seqs  map[gateway.MessageID]gateway.Seq
	given gateway.Seq // the highest sequence given
}

func (s *side) attach(store gateway.Store) {
	s.store = store
	rec := newRecorder(store)
	s.recs = append(s.recs, rec)
	store.Observe(rec)
}

// model drives two stores with one clock.
type model struct {
	clock    *clock
	a, b     side
	ids      int
	accepted []gateway.Acceptance // in log order
	forgot   map[gateway.ClientID]bool
}

func newModel(t *testing.T, rt *rapid.T, openA, openB Open) *model {
	m := &model{clock: newClock(), forgot: map[gateway.ClientID]bool{}}
	o := Options{
		Now:             m.clock.Now,
		StatusRetention: 72 * time.Hour,
		ForgetAfter:     100 * 365 * 24 * time.Hour,
		QueueLen:        rapid.IntRange(2, 12).Draw(rt, "queue length"),
		QueueBytes:      int64(rapid.IntRange(20, 200).Draw(rt, "queue bytes")),
		MaxClients:      int64(rapid.IntRange(0, 7).Draw(rt, "clients")),
	}
	for _, s := range []struct {
		*side
		open Open
	}{{&m.a, openA}, {&m.b, openB}} {
		s.seqs = map[gateway.MessageID]gateway.Seq{}
		s.attach(s.open(t, o))
	}
	return m
}

func (m *model) close() {
	m.a.store.Close()
	m.b.store.Close()
}

func (m *model) sides() []*side { return []*side{&m.a, &m.b} }

// The names that the operations draw from: few, so that operations concern the
// same ones.
var (
	clientIDs = rapid.SampledFrom([]gateway.ClientID{"a", "b", "c", "d", "e.1", "e.2"})
	groupSets = rapid.SampledFrom([][]string{nil, {}, {"g"}, {"h"}, {"g", "h"}})
	accounts  = rapid.SampledFrom([]string{"", "", "t1", "t2", "group:g"})
	labelSets = rapid.SampledFrom([]map[string]string{nil, {}, {"k": "1"}, {"k": "2"}, {"k": "1", "l": ""}})
	reasons   = rapid.SampledFrom([]string{"", gateway.ReasonDeviceRejected, gateway.ReasonDeviceRejected, gateway.ReasonTooLargeForProtocol})
	results   = rapid.SampledFrom([][]byte{nil, nil, []byte("42")})
)

func (m *model) register(rt *rapid.T) {
	r := gateway.Registration{Client: clientIDs.Draw(rt, "client"), Reported: labelSets.Draw(rt, "reported"),
		Groups: groupSets.Draw(rt, "groups"), Account: accounts.Draw(rt, "account"), At: m.clock.Now()}
	if rapid.IntRange(0, 3).Draw(rt, "guard") == 0 {
		r.Guarded = map[string]bool{"g": true}
	}
	if rapid.IntRange(0, 9).Draw(rt, "bad") == 0 {
		r.Groups = []string{"not a group"}
	}
	m.both(rt, "register", func(s *side) (any, error) {
		c, given, err := s.store.Register(ctx, r)
		if err == nil && given != s.given {
			rt.Fatalf("registered at the sequence %d, want %d", given, s.given)
		}
		return record(c, err)
	})
}

func (m *model) update(rt *rapid.T) {
	id, ch := clientIDs.Draw(rt, "client"), gateway.ClientChange{}
	for k, v := range labelSets.Draw(rt, "labels") {
		if ch.Labels == nil {
			ch.Labels = map[string]*string{}
		}
		ch.Labels[k] = &v
		if rapid.Bool().Draw(rt, "remove") {
			ch.Labels[k] = nil
		}
	}
	if g := groupSets.Draw(rt, "groups"); g != nil {
		ch.Groups, ch.Account = &g, accounts.Draw(rt, "account")
	}
	if rapid.Bool().Draw(rt, "block") {
		ch.BlockedUntil = new(m.clock.Now().Add(time.Minute))
	}
	if rapid.IntRange(0, 9).Draw(rt, "bad") == 0 {
		ch.Groups = &[]string{"not a group"}
	}
	m.both(rt, "update", func(s *side) (any, error) { return record(s.store.UpdateClient(ctx, id, ch)) })
	if rapid.IntRange(0, 3).Draw(rt, "create") == 0 {
		at, account := m.clock.Now(), accounts.Draw(rt, "account")
		m.both(rt, "create", func(s *side) (any, error) { return record(s.store.CreateClient(ctx, id, at, account, ch)) })
	}
}

func (m *model) disconnect(rt *rapid.T) {
	id, late := clientIDs.Draw(rt, "client"), rapid.IntRange(0, 3).Draw(rt, "late") == 0
	for _, s := range m.sides() {
		rec, _ := s.store.Client(id) // not all are known
		if late {
			rec.Epoch--
		}
		s.store.Disconnected(gateway.Disconnection{Client: id, Epoch: rec.Epoch, At: m.clock.Now(), Reason: gateway.ReasonConnectionLost})
	}
}

func (m *model) acceptOne(rt *rapid.T) {
	m.acceptTo(rt, gateway.Audience{Client: clientIDs.Draw(rt, "client")})
}

func (m *model) accept(rt *rapid.T) {
	var to gateway.Audience
	switch rapid.IntRange(0, 3).Draw(rt, "audience") {
	case 0:
		to.Clients = rapid.SliceOfN(clientIDs, 2, 5).Draw(rt, "clients")
	case 1:
		to.Group = rapid.SampledFrom([]string{"g", "h", "none"}).Draw(rt, "group")
	case 2:
		to.Labels = rapid.SampledFrom([]map[string]string{{"k": "1"}, {"k": "1", "l": ""}, {"none": ""}}).Draw(rt, "labels")
	case 3:
		to.All = true
	}
	m.acceptTo(rt, to)
}

func (m *model) acceptTo(rt *rapid.T, to gateway.Audience) {
	m.ids++
	now := m.clock.Now()
	a := gateway.Acceptance{
		ID: messageID(now, m.ids), To: to, Encoding: gateway.EncodingText,
		Payload:      fmt.Appendf(nil, "%0*d", rapid.IntRange(1, 30).Draw(rt, "size"), m.ids),
		CreatedAt:    now,
		ExpiresAt:    now.Add(time.Duration(rapid.IntRange(1, 100).Draw(rt, "ttl")) * time.Second),
		QueueUnknown: rapid.IntRange(0, 3).Draw(rt, "queue unknown") == 0,
		Account:      accounts.Draw(rt, "account"),
	}
	a.Online = to.Client != "" && rapid.IntRange(0, 4).Draw(rt, "online") == 0
	if rapid.Bool().Draw(rt, "metadata") {
		a.Metadata = map[string]string{"n": fmt.Sprint(m.ids)}
	}
	if rapid.IntRange(0, 2).Draw(rt, "with key") == 0 {
		a = keyed(a, rapid.SampledFrom([]string{"k1", "k2"}).Draw(rt, "key"), rapid.SampledFrom([]string{"s1", "s2"}).Draw(rt, "scope"),
			byte(rapid.IntRange(0, 2).Draw(rt, "fingerprint")))
	}
	if rapid.IntRange(0, 4).Draw(rt, "narrow") == 0 {
		a.Only = func(id gateway.ClientID) bool { return id != "a" && id != "e.1" }
	}
	if rapid.IntRange(0, 4).Draw(rt, "choose") == 0 {
		a.Among = maps.All(map[gateway.ClientID]uint32{"a": 0, "b": 0, "e.1": 0})
	}
	if to.Client == "" && rapid.IntRange(0, 4).Draw(rt, "bound") == 0 {
		a.MaxRecipients = rapid.IntRange(1, 3).Draw(rt, "max recipients")
	}
	if !a.Online {
		m.recipients(rt, a)
	}
	m.doAccept(rt, a)
}

// repeat accepts a message once more.
func (m *model) repeat(rt *rapid.T) {
	if len(m.accepted) == 0 {
		rt.Skip("nothing accepted")
	}
	a := rapid.SampledFrom(m.accepted).Draw(rt, "message")
	if _, err := m.a.store.Message(a.ID); err != nil {
		rt.Skip("no longer kept: it would be a new one, with an old time")
	}
	m.doAccept(rt, a)
}

func (m *model) doAccept(rt *rapid.T, a gateway.Acceptance) {
	fresh := false
	m.both(rt, "accept", func(s *side) (any, error) {
		r, err := s.store.Accept(ctx, a)
		if err == nil && !r.Replayed {
			fresh = true
			s.seqs[a.ID] = r.Message.Seq
			s.given = r.Message.Seq
		}
		return []any{comparableMessage(r.Message), r.Replayed}, err
	})
	if fresh {
		m.accepted = append(m.accepted, a)
	}
}

// settle proposes any outcome for any delivery, final or not, or for one that
// does not exist.
func (m *model) settle(rt *rapid.T) {
	if len(m.accepted) == 0 {
		rt.Skip("nothing accepted")
	}
	a := rapid.SampledFrom(m.accepted).Draw(rt, "message")
	o := gateway.Outcome{
		Message: a.ID, Client: clientIDs.Draw(rt, "client"), Attempts: rapid.IntRange(1, 10).Draw(rt, "attempts"),
		State:  rapid.SampledFrom([]gateway.State{gateway.Acked, gateway.Acked, gateway.Rejected, gateway.Failed}).Draw(rt, "state"),
		SentAt: m.clock.Now(), At: m.clock.Now(), Result: results.Draw(rt, "result"),
	}
	switch {
	case o.State != gateway.Acked:
		o.Reason = reasons.Draw(rt, "reason")
	case rapid.IntRange(0, 3).Draw(rt, "not kept") == 0:
		o.Reason = gateway.ReasonVerdictNotKept
	}
	if a.Online && rapid.IntRange(0, 2).Draw(rt, "unanswered") == 0 {
		o.State, o.Reason, o.Result = gateway.Unknown, gateway.ReasonAckTimeout, nil
	}
	urgent := rapid.Bool().Draw(rt, "urgent")
	for _, s := range m.sides() {
		o.Seq = s.seqs[a.ID]
		if err := s.store.Settle(o, urgent); err != nil {
			rt.Fatal(err)
		}
	}
	m.await(rt, "the delivery reads the same", func(s *side) any {
		d, err := s.store.Delivery(o.Message, o.Client)
		comparableDelivery(&d, a.To.Client == "")
		return answer{d, gateway.CodeOf(err)}
	})
}

func (m *model) queue(rt *rapid.T) {
	id := clientIDs.Draw(rt, "client")
	m.both(rt, "next", func(s *side) (any, error) {
		p, _, err := s.store.Next(gateway.TransmissionQuery{Client: id, Max: 100, MaxBytes: 1 << 20}, nil)
		for i := range p {
			if p[i].Seq != s.seqs[p[i].Message] {
				rt.Fatalf("%s has the sequence %d, accepted as %d", p[i].Message, p[i].Seq, s.seqs[p[i].Message])
			}
			p[i].Seq = 0
		}
		return p, err
	})
}

func (m *model) cancel(rt *rapid.T) {
	id := messageID(m.clock.Now(), 1<<30)
	if len(m.accepted) > 0 && rapid.IntRange(0, 9).Draw(rt, "known") > 0 {
		id = rapid.SampledFrom(m.accepted).Draw(rt, "message").ID
	}
	m.both(rt, "cancel", func(s *side) (any, error) {
		msg, err := s.store.Cancel(ctx, id, m.clock.Now())
		msg.Payload = nil
		return comparableMessage(msg), err
	})
}

func (m *model) purge(rt *rapid.T) {
	id := clientIDs.Draw(rt, "client")
	var bounds [2]gateway.MessageID
	for i, name := range []string{"after", "through"} {
		if len(m.accepted) > 0 && rapid.Bool().Draw(rt, name) {
			bounds[i] = rapid.SampledFrom(m.accepted).Draw(rt, "message").ID
		}
	}
	m.both(rt, "purge", func(s *side) (any, error) {
		return s.store.Purge(ctx, id, gateway.Span{After: s.seqs[bounds[0]], Through: s.seqs[bounds[1]]}, m.clock.Now())
	})
}

func (m *model) forget(rt *rapid.T) {
	id := clientIDs.Draw(rt, "client")
	m.forgot[id] = true
	m.both(rt, "forget", func(s *side) (any, error) { return s.store.ForgetClient(ctx, id, m.clock.Now()) })
}

func (m *model) uplink(rt *rapid.T) {
	m.ids++
	u := gateway.Uplink{Client: clientIDs.Draw(rt, "client"), Session: "ses_x", Number: uint64(m.ids), At: m.clock.Now(),
		Payload: fmt.Append(nil, m.ids)}
	m.both(rt, "uplink", func(s *side) (any, error) {
		_, err := s.store.AppendUplink(ctx, u)
		return nil, err
	})
}

// pages reads the filtered lists with small pages.
func (m *model) pages(rt *rapid.T) {
	limit := rapid.IntRange(1, 4).Draw(rt, "limit")
	of := rapid.SampledFrom([]gateway.State{0, gateway.Queued, gateway.Acked, gateway.Rejected, gateway.Expired,
		gateway.Canceled, gateway.Failed, gateway.Unknown}).Draw(rt, "state")
	q := gateway.ClientQuery{QueuedGT: rapid.IntRange(-1, 3).Draw(rt, "queued"), Limit: limit,
		Group:  rapid.SampledFrom([]string{"", "", "g"}).Draw(rt, "group"),
		Labels: labelSets.Draw(rt, "labels"), Prefix: rapid.SampledFrom([]string{"", "", "e"}).Draw(rt, "prefix")}
	client := clientIDs.Draw(rt, "client")
	m.await(rt, fmt.Sprintf("lists for %v by %d", of, limit), func(s *side) any {
		d := state{ByClient: map[gateway.ClientID][]gateway.Delivery{}}
		d.Clients = allClients(rt, s.store, q)
		for i := range d.Clients {
			d.Clients[i].LastClose = ""
		}
		var ids []gateway.MessageID
		for _, x := range allMessages(rt, s.store, gateway.MessageQuery{State: of, Limit: limit}) {
			ids = append(ids, x.ID)
		}
		var byClient []gateway.MessageID
		for _, x := range allClientDeliveries(rt, s.store, gateway.ClientDeliveryQuery{Client: client, State: of, Limit: limit}) {
			byClient = append(byClient, x.Message)
		}
		return []any{d, ids, byClient}
	})
}

// tick moves the clock by less than a time to live.
func (m *model) tick(rt *rapid.T) {
	m.clock.advance(time.Duration(rapid.IntRange(1, 40).Draw(rt, "seconds")) * time.Second)
	m.expire(rt)
	m.compare(rt)
}

// age lets everything expire and then the retention end.
func (m *model) age(rt *rapid.T) {
	if rapid.IntRange(0, 3).Draw(rt, "really") > 0 {
		rt.Skip("seldom")
	}
	m.clock.advance(time.Hour)
	m.expire(rt)
	m.compare(rt)
	m.clock.advance(73 * time.Hour)
	m.expire(rt)
	m.compare(rt)
	m.accepted = nil
}

func (m *model) expire(rt *rapid.T) {
	rt.Helper()
	for _, s := range m.sides() {
		if err := expire(s.store, m.clock.Now()); err != nil {
			rt.Fatal(err)
		}
	}
}

func (m *model) reopen(rt *rapid.T) {
	some := false
	for _, s := range m.sides() {
		if r, ok := s.store.(Reopener); ok {
			store, err := r.Reopen()
			if err != nil {
				rt.Fatalf("reopen: %v", err)
			}
			s.attach(store)
			some = true
			continue
		}
		for _, c := range allClients(rt, s.store, gateway.ClientQuery{QueuedGT: -1, Limit: 1000}) {
			s.store.Disconnected(gateway.Disconnection{Client: c.ID, Epoch: c.Epoch, At: c.LastSeenAt, Reason: gateway.ReasonServerStopped})
		}
	}
	if !some {
		rt.Skip("neither can be reopened")
	}
	m.compare(rt)
}
