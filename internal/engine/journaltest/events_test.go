package journaltest

import (
	"fmt"
	"slices"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
	"github.com/longwire/longwire/internal/engine/state"
)

const (
	epoch = 1_700_000_000_000_000_000 // of the clocks, ns since 1970
	step  = 100 * time.Millisecond    // between two readings
)

// Names are few, so that the events of all nodes meet.
var (
	clientNames = []gateway.ClientID{"c1", "c2", "c3", "c4", "c5", "c6"}
	groupNames  = []string{"g1", "g2"}
	keyNames    = []string{"k1", "k2", "k3"}
	accounts    = []string{"", "", "t1", "t2", "group:g1"}
)

// keyAge is the bound that no schedule reaches: a key is given once. The short one is
// reached.
const (
	keyAge      = 24 * time.Hour
	shortKeyAge = 5 * time.Second
)

// bounds are narrow enough for queues to be full and for selections to be bitmaps.
func (w *world) drawBounds() record.Bounds {
	b := record.DefaultBounds()
	b.MaxQueued = 2 + w.rng.IntN(4)
	b.SmallAudience = w.rng.IntN(3)
	b.MaxBitmaps = 1 + w.rng.Int64N(3)
	b.MaxClients = w.rng.Int64N(int64(len(clientNames)) + 2)
	b.MaxUplinkBytes = pick(w, []int64{0, 150, 400, 1000})
	b.MaxGroups = 1 + w.rng.IntN(2)
	b.RejectTwins = w.rng.IntN(2) == 0
	b.KeyAge = keyAge
	if w.shortKeys {
		b.KeyAge = shortKeyAge
	}
	return b
}

// weighted draws one of choices, each as often as its weight says.
func (w *world) weighted(weights ...int) int {
	total := 0
	for _, n := range weights {
		total += n
	}
	at := w.rng.IntN(total)
	for i, n := range weights {
		if at -= n; at < 0 {
			return i
		}
	}
	return 0
}

func pick[T any](w *world, list []T) T { return list[w.rng.IntN(len(list))] }

// event draws one event for a node.
func (n *node) event() record.Event {
	w := n.w
	at := n.now()
	switch w.weighted(30, 24, 4, 3, 12, 10, 5, 8, 1, 1, 2) {
	case 0:
		return n.accept(at)
	case 1:
		if e := n.settle(at); e != nil {
			return e
		}
	case 2:
		if len(w.messages) > 0 {
			return &record.Cancel{ID: pick(w, w.messages), At: record.TimeOf(at)}
		}
	case 3:
		return &record.Purge{Client: pick(w, clientNames), At: record.TimeOf(at), Span: gateway.Span{Through: gateway.Seq(w.rng.Uint64N(uint64(n.view().State.Seq) + 1))}}
	case 4:
		return n.register(at)
	case 5:
		return &record.Disconnected{Disconnection: gateway.Disconnection{Client: pick(w, clientNames), At: record.TimeOf(at), Reason: "closed",
			Epoch: 1 + w.rng.Uint64N(6)}}
	case 6:
		return n.update(at)
	case 8:
		return &record.Bounded{Bounds: w.drawBounds()}
	case 10:
		return &record.RemoveClient{Client: pick(w, clientNames), At: record.TimeOf(at)}
	case 9:
		return &record.ForgetEvents{Through: w.rng.Uint64N(n.view().State.Event + 1), Max: 1 + w.rng.IntN(20)}
	}
	u := &record.Uplink{}
	u.Client, u.Session, u.Number, u.At = pick(w, clientNames), "s", uint64(w.tick), record.TimeOf(at)
	u.Payload = fmt.Appendf(nil, "%s-%d", n.name, w.tick)
	return u
}

func (n *node) accept(at int64) record.Event {
	w := n.w
	e := &record.Accept{}
	e.ID = gateway.MessageID(fmt.Sprintf("msg_%08x-%04x-7000-8000-%012x", at>>24&0xffffffff, at>>8&0xffff, w.rng.Uint64()>>16))
	switch w.rng.IntN(20) {
	case 0:
		e.ID = gateway.MessageID(fmt.Sprintf("text-%d", w.tick))
	case 1: // the same id again
		if len(w.messages) > 0 {
			e.ID = pick(w, w.messages)
		}
	}
	w.messages = append(w.messages, e.ID)
	e.CreatedAt = record.TimeOf(at)
	e.ExpiresAt = e.CreatedAt.Add(pick(w, []time.Duration{2 * time.Second, 20 * time.Second, time.Hour}))
	e.Payload, e.Owner = fmt.Appendf(nil, "payload %d", w.tick), n.name
	e.QueueUnknown, e.Rate, e.Account = w.rng.IntN(2) == 0, w.rng.IntN(3), pick(w, accounts)
	switch w.weighted(10, 4, 3, 3, 3) {
	case 0:
		e.To.Client = pick(w, clientNames)
		e.Online = w.rng.IntN(6) == 0
	case 1:
		for range 1 + w.rng.IntN(4) {
			e.To.Clients = append(e.To.Clients, pick(w, clientNames))
		}
	case 2:
		e.To.Group = pick(w, groupNames)
	case 3:
		e.To.Labels = map[string]string{"kind": pick(w, []string{"a", "b"})}
	case 4:
		e.To.All = true
	}
	if e.To.Client == "" && len(e.To.Clients) == 0 && w.rng.IntN(4) == 0 {
		e.Mask = record.Bitmap{0: new(record.Bitset)}
		for o := range record.Ordinal(len(clientNames)) {
			if w.rng.IntN(3) > 0 {
				e.Mask[0].Set(o)
			}
		}
	}
	if w.rng.IntN(2) == 0 {
		e.Scope, e.IdempotencyKey = "tenant", pick(w, keyNames)
		if w.rng.IntN(5) == 0 {
			e.Fingerprint[0] = 1
		}
	}
	return e
}

// settle proposes the end of a delivery as the node knows it, or knew it.
func (n *node) settle(at int64) record.Event {
	w := n.w
	if len(w.messages) == 0 {
		return nil
	}
	v := n.view()
	e := &record.Settle{}
	e.Message, e.Client = w.messages[len(w.messages)-1-w.rng.IntN(min(8, len(w.messages)))], pick(w, clientNames)
	msg, err := v.Message(e.Message)
	if err == nil {
		e.Seq = msg.Seq
		if msg.Client != "" {
			e.Client = msg.Client
		}
	}
	if e.Seq != 0 && w.rng.IntN(2) == 0 {
		e.Ref = n.ref(v, e.Client)
	}
	if e.Seq != 0 && w.rng.IntN(4) == 0 {
		e.Message = ""
	}
	e.Attempts, e.SentAt, e.At = 1, record.TimeOf(at), record.TimeOf(at)
	switch w.weighted(6, 2, 1) {
	case 0:
		e.State = gateway.Acked
		if w.rng.IntN(2) == 0 {
			e.Result = fmt.Appendf(nil, "result %d", w.tick)
		}
	case 1:
		e.State, e.Reason = gateway.Rejected, "no"
	case 2:
		e.State, e.Reason = gateway.Failed, gateway.ReasonQueueFull
		if msg.Online {
			e.State, e.Reason = gateway.Unknown, gateway.ReasonAckTimeout
		}
	}
	return e
}

// ref returns the number of a client, or one that it had before it was forgotten: a
// session may hold it for long.
func (n *node) ref(v *state.View, id gateway.ClientID) uint32 {
	refs := n.w.refs[id]
	if c, err := v.Client(id); err == nil && !slices.Contains(refs, c.Ref) {
		refs = append(refs, c.Ref)
		n.w.refs[id] = refs
	}
	if len(refs) == 0 {
		return 0
	}
	return pick(n.w, refs)
}

func (n *node) register(at int64) record.Event {
	w := n.w
	e := &record.Register{}
	e.Client, e.At, e.Account = pick(w, clientNames), record.TimeOf(at), pick(w, accounts)
	if w.rng.IntN(2) == 0 {
		e.Reported = map[string]string{"kind": pick(w, []string{"a", "b"})}
	}
	if w.rng.IntN(2) == 0 {
		e.Groups = []string{pick(w, groupNames), pick(w, groupNames)}
	}
	if w.rng.IntN(3) == 0 {
		e.Guarded = map[string]bool{pick(w, groupNames): true}
	}
	return e
}

func (n *node) update(at int64) record.Event {
	w := n.w
	value := fmt.Sprint(at)
	e := &record.Update{Client: pick(w, clientNames)}
	e.Change.Labels = map[string]*string{"tag": &value}
	switch w.rng.IntN(6) {
	case 3, 4:
		e.Change.Labels["kind"] = new(pick(w, []string{"a", "b"}))
	case 0:
		e.Change.Labels["kind"] = nil
	case 1:
		e.Change.Groups, e.Account = &[]string{pick(w, groupNames)}, pick(w, accounts)
	case 2:
		until := record.TimeOf(at + int64(w.rng.IntN(20))*int64(step))
		e.Change.BlockedUntil = &until
	}
	if w.rng.IntN(4) == 0 {
		e.Created = record.TimeOf(at)
	}
	return e
}

// sweep returns the events of the node's driver, whose clock may be far ahead.
func (n *node) sweep() []record.Event {
	w := n.w
	v := n.view()
	now := record.TimeOf(n.now())
	const most = 4
	var events []record.Event
	var err error
	switch w.weighted(6, 3, 1, 2, 6, 1) {
	case 0:
		events, err = v.DueMessages(now.Add(pick(w, []time.Duration{0, 10 * time.Second, 2 * time.Hour})), most)
	case 1:
		events, err = v.OldMessages(now.Add(-time.Second), most)
	case 2:
		events, err = v.OldKeys(now.Add(-time.Second), most)
	case 3:
		events, _, err = v.OldUplinks(state.Ahead{}, now, now.Add(-5*time.Second), most)
	case 4:
		events, _, err = v.UnseenClients("", now.Add(-time.Second), now, 100, most)
	case 5:
		if v.State.Messages == 0 { // a name may go when no message refers to it
			events, err = v.OldOrdinals(now, most)
		}
	}
	w.must(err, "%s: sweep", n.name)
	return events
}

// view returns the node's state for reading.
func (n *node) view() *state.View {
	shared, err := state.NewShared(n.disk)
	n.w.must(err, "%s: view", n.name)
	return &state.View{Rows: n.disk, State: n.machine.State, Shared: shared}
}
