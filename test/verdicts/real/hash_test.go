package real

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"reflect"
	"slices"
	"strings"

	"github.com/longwire/longwire/device"
)

// hasher makes a hash of a world: of what decides how it goes on. Times count
// only as set or not, because the explorer decides when a timer fires.
type hasher struct {
	h    maphash.Hash
	conn uint64 // the ledger's present connection
}

var seed = maphash.MakeSeed()

// passed are fields that say nothing of how a world goes on: times and
// measurements, names that differ between two ways to the same world, and parts
// that are hashed once elsewhere.
var passed = map[string]bool{
	"protocol.Session.cfg": true, "protocol.Session.start": true, "protocol.Session.traits": true,
	"protocol.Session.taken": true, "protocol.Session.flushed": true, "protocol.Session.rtt": true,
	"protocol.Session.unasked": true, "protocol.Session.tooSoon": true, "protocol.Session.lastIn": true,
	"protocol.flight.end": true, "protocol.flight.first": true, "protocol.flight.repeated": true,
	"gateway.Session.g": true, "gateway.Session.link": true, "gateway.Session.id": true,
	"gateway.Session.connectedAt": true, "gateway.Session.flaps": true, "gateway.Session.nextRun": true,
	"gateway.Session.mu": true, "gateway.inflight.sentAt": true, "gateway.attempt.sentAt": true,
	"gateway.reception.done": true, "gateway.flightNotes.workingAt": true, "gateway.flightNotes.retryAt": true,
	"gateway.flightNotes.nextAt": true, "gateway.flightNotes.misackedAt": true, "gateway.flightNotes.askedAt": true, "gateway.flightNotes.happened": true,
	"device.Ledger.seed": true, "device.Ledger.conn": true, "device.Ledger.lastEntry": true,
	"device.entry.id": true, "device.entry.conn": true,
}

// fields has, for each struct type, the fields to hash.
var fields = map[reflect.Type][]int{}

func fieldsOf(t reflect.Type) []int {
	l, ok := fields[t]
	if !ok {
		for i := range t.NumField() {
			if !passed[t.String()+"."+t.Field(i).Name] {
				l = append(l, i)
			}
		}
		fields[t] = l
	}
	return l
}

func (h *hasher) num(n uint64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], n)
	_, _ = h.h.Write(b[:])
}

func (h *hasher) text(s string) {
	h.num(uint64(len(s)))
	_, _ = h.h.WriteString(s)
}

// value hashes all that v leads to.
func (h *hasher) value(v reflect.Value) {
	switch v.Kind() {
	case reflect.Bool:
		if v.Bool() {
			h.num(1)
		} else {
			h.num(0)
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n := uint64(v.Int())
		if v.Type().Name() == "instant" || v.Type().Name() == "Duration" {
			n = min(n, 1)
		}
		h.num(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		h.num(v.Uint())
	case reflect.String:
		h.text(v.String())
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			h.num(0)
			return
		}
		h.num(1)
		h.value(v.Elem())
	case reflect.Slice, reflect.Array:
		h.num(uint64(v.Len()))
		for i := range v.Len() {
			h.value(v.Index(i))
		}
	case reflect.Map:
		h.num(uint64(v.Len()))
		keys := v.MapKeys()
		slices.SortFunc(keys, func(a, b reflect.Value) int {
			if a.Kind() == reflect.String {
				return cmp.Compare(a.String(), b.String())
			}
			return cmp.Compare(a.Uint(), b.Uint())
		})
		for _, k := range keys {
			h.value(k)
			h.value(v.MapIndex(k))
		}
	case reflect.Struct:
		t := v.Type()
		if t.String() == "device.entry" {
			h.num(btoi(v.FieldByName("conn").Uint() == h.conn))
		}
		for _, i := range fieldsOf(t) {
			h.value(v.Field(i))
		}
	case reflect.Func, reflect.Chan:
		h.num(btoi(v.IsNil()))
	default:
		panic("cannot hash a " + v.Type().String())
	}
}

func btoi(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// hash is the world's.
func (w *world) hash() uint64 {
	h := &hasher{}
	h.h.SetSeed(seed)
	d, p := w.dev, w.p
	for _, n := range w.spent {
		h.num(uint64(n))
	}
	h.num(uint64(w.offset))
	h.num(uint64(min(w.connects, len(w.cfg.window))))
	h.num(uint64(w.accepted))
	h.num(btoi(w.swept))

	// The store.
	for i := range w.seen {
		s := &w.seen[i]
		h.text(s.State.String() + s.Reason)
		h.text(string(s.Result))
		h.num(btoi(s.LateAckAt.IsZero()))
	}
	h.value(reflect.ValueOf(w.stored))
	for _, op := range p.store.ops[p.store.durable:] {
		h.text(op)
	}
	h.num(uint64(p.store.committed() - p.store.base))
	h.num(uint64(p.e.Waiting()))
	h.num(btoi(p.disk.held()))
	h.num(btoi(p.disk.full))
	h.num(btoi(p.e.Health() == nil))

	// The gateway.
	for kind := uint8(settlePause + 1); kind <= 5 && w.may(fires); kind++ {
		h.num(uint64(p.count(kind)))
	}
	shards := reflect.ValueOf(p.gw).Elem().FieldByName("hub").Elem().FieldByName("shards")
	for i := range shards.Len() {
		if tried := shards.Index(i).FieldByName("tried"); tried.Len() > 0 {
			h.value(tried)
		}
	}
	for _, c := range w.conns {
		if c == nil || !c.open && !c.device {
			h.num(0)
			continue
		}
		h.num(1 + 2*btoi(c.open) + 4*btoi(c.device) + 8*btoi(c.slow) + 16*btoi(c == d.c))
		h.frames(c.up)
		h.frames(c.down)
		if c.open {
			h.value(reflect.ValueOf(c.proto))
			h.value(reflect.ValueOf(c.gw))
		}
	}

	// The device.
	h.conn = reflect.ValueOf(d.ledger).Elem().FieldByName("conn").Uint()
	h.value(reflect.ValueOf(d.ledger))
	h.value(reflect.ValueOf(d.saved))
	h.num(btoi(d.registered))
	if d.proto != nil {
		h.value(reflect.ValueOf(d.proto))
	}
	for m := range uint64(w.cfg.messages + 1) {
		t, works := d.jobs[m]
		h.num(btoi(works) + 2*btoi(works && w.stale(t)))
	}
	h.value(reflect.ValueOf(d.up))

	// The checks.
	h.value(reflect.ValueOf(w.ghost))
	return h.h.Sum64()
}

// frames hashes frames on their way. Of a REGISTER_ACK two members count.
func (h *hasher) frames(l [][]byte) {
	h.num(uint64(len(l)))
	for _, f := range l {
		if f[0] == 0x02 {
			h.num(2 + btoi(strings.Contains(string(f), `"resumed":true`)))
			continue
		}
		h.text(string(f))
	}
}

// stale reports whether the ledger has forgotten what t is for.
func (w *world) stale(t device.Ticket) bool {
	ticket := reflect.ValueOf(t)
	e := reflect.ValueOf(w.dev.ledger).Elem().FieldByName("listed").MapIndex(ticket.FieldByName("seq"))
	return !e.IsValid() || e.Elem().FieldByName("id").Uint() != ticket.FieldByName("id").Uint()
}

// committed is how many events the engine has closed records with.
func (s *store) committed() int {
	return int(reflect.ValueOf(s.p.e).Elem().FieldByName("stats").FieldByName("events").FieldByName("v").Uint())
}

// describe is a frame in a trace.
func describe(f []byte) string {
	names := [...]string{1: "REGISTER", "REGISTER_ACK", "HEARTBEAT", "HEARTBEAT_ACK", "DATA", "ACK", "CLOSE"}
	n, size := binary.Uvarint(f[2:])
	body := f[2+size:]
	_ = n
	switch {
	case f[0] == 5 && f[1]&0x40 != 0:
		return fmt.Sprintf("ASK %d", body[0])
	case f[0] == 5:
		return fmt.Sprintf("DATA %d dup=%t %.8q", body[0], f[1]&0x10 != 0, body[1:])
	case f[0] == 6:
		return fmt.Sprintf("ACK %d code %d %q", body[0], body[1], body[2:])
	case f[0] == 7:
		return "CLOSE"
	}
	return names[f[0]] + " " + string(body)
}
