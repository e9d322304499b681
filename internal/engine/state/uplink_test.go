package state

import (
	"testing"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

func (w *world) uplink(id gateway.ClientID, size int) *record.Uplink {
	return &record.Uplink{Uplink: gateway.Uplink{Client: id, At: w.at, Payload: make([]byte, size)}}
}

// fill sends uplinks until they are refused, and returns how many were stored.
func (w *world) fill(id gateway.ClientID, size int) (n int) {
	w.Helper()
	for ; n < 1000; n++ {
		err := w.record(1, 11, w.uplink(id, size))[0].Err
		if gateway.CodeOf(err) == gateway.CodeQueueFull {
			return n
		}
		if err != nil {
			w.Fatal(err)
		}
	}
	w.Fatalf("%s is never refused", id)
	return n
}

// A client, and all clients of an account together, have as much of the uplinks' share
// as is free, whatever others have sent; it is free again when uplinks are forgotten.
func TestUplinksShareTheDisk(t *testing.T) {
	w := newWorld(t)
	b := record.DefaultBounds()
	b.MaxUplinkBytes = 100_000
	w.record(1, 11, &record.Bounded{Bounds: b}, w.register("a"), w.register("b"))
	for _, id := range []gateway.ClientID{"t1", "t2"} {
		r := w.register(id)
		r.Account = "tenant"
		w.record(1, 11, r)
	}
	const size = 1000 // and some 40 bytes of key, session and checksum
	if n := w.fill("a", size); n < 45 || n > 50 {
		t.Errorf("one device has stored %d uplinks in a share of 100, want about half", n)
	}
	w.verify()
	first, second := w.fill("t1", size), w.fill("t2", size)
	if first < 20 || first > 25 || second > 1 {
		t.Errorf("two devices of a tenant have stored %d and %d, want about a quarter together", first, second)
	}
	if n := w.fill("b", size); n < 10 || n > 13 {
		t.Errorf("the last device has stored %d, want about an eighth", n)
	}
	before := w.verify()

	// A forgotten client has its uplinks, and their share, until their time is over.
	w.record(1, 11, &record.RemoveClient{Client: "a", At: w.at})
	w.restart()
	if after := w.verify(); after.Uplinks != before.Uplinks {
		t.Errorf("%d uplinks, want %d", after.Uplinks, before.Uplinks)
	}
	w.record(1, 11, w.register("a"))
	if n := w.fill("a", size); n != 0 {
		t.Errorf("a client that was forgotten has stored %d more", n)
	}
	w.record(1, 11, &record.ForgetUplinks{Through: w.State.Useq, Max: 1000})
	if f := w.verify(); f.Uplinks != 0 || w.State.uplinkBytes != 0 {
		t.Errorf("%d uplinks of %d bytes are left", f.Uplinks, w.State.uplinkBytes)
	}
	if n := w.fill("a", size); n < 45 || n > 50 {
		t.Errorf("afterwards one device has stored %d uplinks, want about half", n)
	}
}

// The members of a tenant's group are one owner, with what they sent before they became
// members, and a client that leaves the group takes its uplinks along.
func TestMembersOfATenantsGroupShareAsOne(t *testing.T) {
	w := newWorld(t)
	b := record.DefaultBounds()
	b.MaxUplinkBytes = 100_000
	const tenant = gateway.GroupAccount + "gang"
	w.record(1, 11, &record.Bounded{Bounds: b}, w.register("a"), w.register("b"), w.register("c"))
	member := func(id gateway.ClientID, account string, groups ...string) {
		t.Helper()
		w.record(1, 11, &record.Update{Client: id, Change: gateway.ClientChange{Groups: &groups}, Account: account})
	}
	const size = 1000
	if n := w.fill("a", size); n < 45 || n > 50 {
		t.Fatalf("a device has stored %d uplinks in a share of 100, want about half", n)
	}
	member("a", tenant, "gang", "own")
	member("b", tenant, "gang")
	w.verify()
	w.restart()
	if n := w.fill("b", size); n != 0 {
		t.Errorf("a second member has stored %d beyond the share of both", n)
	}
	w.record(1, 11, w.register("b")) // it names no groups, and no key says whose it is
	if n := w.fill("b", size); n != 0 {
		t.Errorf("between two keys a member has stored %d beyond the share of both", n)
	}
	if n := w.fill("c", size); n < 20 {
		t.Errorf("another device has stored %d, want about a quarter", n)
	}
	member("a", "", "own")
	if n := w.fill("b", size); n < 10 {
		t.Errorf("a member has stored %d after the other one has left, want about an eighth", n)
	}
	w.record(1, 11, &record.RemoveClient{Client: "b", At: w.at}, &record.ForgetUplinks{Through: w.State.Useq, Max: 1000})
	w.verify()
}
