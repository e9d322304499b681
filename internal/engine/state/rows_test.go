package state

import (
	"reflect"
	"slices"
	"testing"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// Rows that ended before there was a code of a late ack are read as they were meant.
func TestLateCodeIsOptional(t *testing.T) {
	key := finalKey(1, 2)
	row := finalRow{id: "m", state: gateway.Expired, finalAt: 1, lateAt: 2, lateResult: []byte("late")}
	plain := len(row.encode(nil, key))
	row.lateCode = gateway.AckReject
	got, err := decodeFinal(key, row.encode(nil, key))
	if err != nil || got.lateCode != gateway.AckReject || len(row.encode(nil, key)) != plain+1 {
		t.Errorf("the code of a late ack is %d, error %v", got.lateCode, err)
	}
	row.lateCode = gateway.AckOK // ends as rows did before there was a code
	if got, err = decodeFinal(key, row.encode(nil, key)); err != nil || got.lateCode != gateway.AckOK || string(got.lateResult) != "late" {
		t.Errorf("a row without the code: %+v, %v", got, err)
	}
}

// A client's row from before there were joinings: the events were counted for all groups
// together, and messages and uplinks not at all.
func TestJoiningsAreOptional(t *testing.T) {
	key := clientKey("a")
	row := clientRow{groups: []string{"g", "h"}, labels: map[string]string{}, reported: map[string]string{}}
	b := record.PutUint(record.PutUint(record.PutUint(record.PutUint(nil, 1), 2), 3), 4)
	b = record.PutStrings(record.PutMap(record.PutString(record.PutUint(b, 5), "close"), row.labels), row.groups)
	b = record.PutString(record.PutMap(record.PutUint(b, 6), row.reported), "account")
	b = slices.Clip(b)
	for name, c := range map[string]struct {
		row  []byte
		want gateway.Joining
	}{
		"with events":             {record.PutUint(b, 7), gateway.Joining{Event: 7}},
		"without":                 {record.PutUint(b, 0), gateway.Joining{}},
		"with events of a tenant": {hourly{1, 2}.encode(record.PutString(record.PutUint(b, 7), "tenant")), gateway.Joining{Event: 7}},
		"of a tenant":             {hourly{1, 2}.encode(record.PutString(record.PutUint(b, 0), "tenant")), gateway.Joining{}},
	} {
		got, err := decodeClient(key, record.PutSum(key, c.row))
		if err != nil || !slices.Equal(got.joined, []gateway.Joining{c.want, c.want}) {
			t.Errorf("%s: joined %+v, %v", name, got.joined, err)
		}
		again, err := decodeClient(key, got.encode(key))
		if err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("%s: written again it is %+v, %v", name, again, err)
		}
	}
}
