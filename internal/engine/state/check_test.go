package state

import (
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// bounded puts the default bounds in force with room for some messages in a queue. Every
// audience is kept in bits.
func bounded(queued int) *record.Bounded {
	b := record.DefaultBounds()
	b.MaxQueued, b.SmallAudience = queued, 0
	return &record.Bounded{Bounds: b}
}

// A row of each kind that has a checksum is looked at.
func TestCheckReadsEveryRow(t *testing.T) {
	w := newWorld(t)
	one := gateway.Audience{Client: "a"}
	named := gateway.Audience{Clients: []gateway.ClientID{"a", "b"}}
	w.record(1, 1, bounded(2), w.register("a"), &record.Update{Client: "a", Account: "k", Change: gateway.ClientChange{Groups: &[]string{"g"}, Labels: map[string]*string{"l": new(string)}}},
		&record.Uplink{Uplink: gateway.Uplink{Client: "a", At: w.at, Payload: []byte("up")}},
		&record.Put{Entries: []gateway.Entry{{Key: "key", Value: []byte("value")}}},
		w.accept("1", one), w.accept("2", one), w.settle("1", "a", gateway.Acked, ""), w.accept("3", named), w.accept("4", gateway.Audience{All: true}),
		w.accept("5", gateway.Audience{All: true}), w.settle("4", "a", gateway.Rejected, "why"),
		w.register("b"), w.ends("b", 1), &record.ForgetClient{Client: "b", Before: w.at.Add(time.Hour), At: w.at})
	total := w.verify().Rows
	type row struct{ key, val []byte }
	var rows []row
	err := w.view().each([]byte{0}, []byte{0xff}, false, func(k, val []byte) (bool, error) {
		rows = append(rows, row{append([]byte(nil), k...), append([]byte(nil), val...)})
		return true, nil
	})
	if err != nil || total != len(rows) {
		t.Errorf("%d of %d rows were looked at, %v", total, len(rows), err)
	}
	for _, r := range rows {
		if _, err := record.CheckSum(r.key, r.val); err != nil || len(r.val) == 4 {
			continue // it has none
		}
		r.val[0] ^= 1
		if err := w.testDB.Set(r.key, r.val, nil); err != nil {
			t.Fatal(err)
		}
		var f Findings
		if w.view().Check(&f); f.OK() {
			t.Errorf("a flipped bit of row %q is not found", r.key)
		}
		r.val[0] ^= 1
		if err := w.testDB.Set(r.key, r.val, nil); err != nil {
			t.Fatal(err)
		}
	}
}
