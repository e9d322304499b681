package engine

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// The bits and the body of a message to many are read once, not by each of its
// recipients.
func TestBroadcastIsReadOnce(t *testing.T) {
	e := openTest(t, powerOptions(vfs.NewMem()))
	refs := map[gateway.ClientID]uint32{}
	for i := range 100 {
		id := gateway.ClientID(fmt.Sprintf("c%02d", i))
		rec, _, err := e.Register(context.Background(), gateway.Registration{Client: id, At: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		refs[id] = rec.Ref
	}
	m := message("")
	m.To = gateway.Audience{All: true}
	r, err := e.Accept(context.Background(), m)
	if err != nil {
		t.Fatal(err)
	}
	got := testing.AllocsPerRun(10, func() {
		buf := make([]gateway.Transmission, 0, 1)
		for id, ref := range refs {
			ps, _, err := e.Next(gateway.TransmissionQuery{Client: id, Ref: ref, Max: 1, MaxBytes: 1}, buf)
			if err != nil || len(ps) != 1 || ps[0].Message != m.ID {
				t.Fatalf("%s gets %v, %v", id, ps, err)
			}
		}
	})
	if got > 50 { // one look-up in the database costs several
		t.Errorf("100 clients take %v allocations, want less than one each", got)
	}

	// Each view has bits of its own: an ack takes effect with the next one.
	o := gateway.Outcome{Client: "c07", Ref: refs["c07"], Seq: r.Message.Seq, State: gateway.Acked, At: time.Now()}
	if err := e.Settle(o, true); err != nil {
		t.Fatal(err)
	}
	drain(e)
	for id, want := range map[gateway.ClientID]int{"c07": 0, "c08": 1} {
		ps, _, err := e.Next(gateway.TransmissionQuery{Client: id, Ref: refs[id], Max: 1, MaxBytes: 1}, nil)
		if err != nil || len(ps) != want {
			t.Errorf("%s gets %d transmissions, %v, want %d", id, len(ps), err, want)
		}
	}
}

// The set of clients with rows names whoever has some, through changes within
// one record, and after a restart.
func TestWaitingSetNamesWhoHasRows(t *testing.T) {
	fs := vfs.NewMem()
	e := openTest(t, powerOptions(fs))
	m := map[gateway.ClientID]gateway.Message{}
	for _, id := range []gateway.ClientID{"stays", "leaves", "returns"} {
		m[id] = accept(t, e, id)
	}
	for _, id := range []gateway.ClientID{"leaves", "returns"} {
		o := gateway.Outcome{Message: m[id].ID, Client: id, Seq: m[id].Seq, State: gateway.Acked, At: time.Now()}
		if err := e.Settle(o, true); err != nil {
			t.Fatal(err)
		}
	}
	drain(e)
	accept(t, e, "returns")
	check := func(when string, e *Engine) {
		t.Helper()
		for id, want := range map[gateway.ClientID]bool{"stays": true, "leaves": false, "returns": true} {
			rec, err := e.Client(id)
			if err != nil {
				t.Fatal(err)
			}
			if got := e.inst.shared.Waits(record.Ordinal(rec.Ref - 1)); got != want {
				t.Errorf("%s: %s has rows is %t, want %t", when, id, got, want)
			}
			ps, _, err := e.Next(gateway.TransmissionQuery{Client: id, Max: 10, MaxBytes: 1}, nil)
			if err != nil || len(ps) > 0 != want {
				t.Errorf("%s: %s gets %d transmissions, %v", when, id, len(ps), err)
			}
		}
		if e.inst.shared.Waits(5 * record.ChunkBits) {
			t.Errorf("%s: an ordinal that was never given has rows", when)
		}
	}
	check("running", e)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	check("after a restart", openTest(t, powerOptions(fs)))
}

// One account has as many messages to large audiences under way as are free, so that
// others find room, and the operator may have all. A restart knows whose they are.
func TestAnAccountHasAsManyBroadcastsAsAreFree(t *testing.T) {
	o := powerOptions(vfs.NewMem())
	e := openTest(t, o)
	registered(t, e, "a")
	push := func(account string) (gateway.MessageID, error) {
		m := message("")
		m.To, m.Account = gateway.Audience{All: true}, account
		_, err := e.Accept(context.Background(), m)
		return m.ID, err
	}
	const tenant = gateway.PrefixAccount + "a-"
	most := record.DefaultBounds().MaxBitmaps
	var own []gateway.MessageID
	for {
		id, err := push(tenant)
		if err != nil {
			if gateway.CodeOf(err) != gateway.CodeQueueFull {
				t.Fatal(err)
			}
			break
		}
		own = append(own, id)
	}
	if int64(len(own)) != most/2 {
		t.Errorf("an account has %d broadcasts under way, want half of %d", len(own), most)
	}
	for _, account := range []string{gateway.PrefixAccount + "b-", ""} {
		if _, err := push(account); err != nil {
			t.Errorf("beside them account %q gets %v", account, err)
		}
	}
	verifyView(t, e)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = openTest(t, o)
	if _, err := push(tenant); gateway.CodeOf(err) != gateway.CodeQueueFull {
		t.Errorf("after a restart the account gets %v", err)
	}
	for _, id := range own[:3] { // two of others, and one for room
		if _, err := e.Cancel(context.Background(), id, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := push(tenant); err != nil {
		t.Errorf("when three are canceled the account gets %v", err)
	}
	verifyView(t, e)
}
