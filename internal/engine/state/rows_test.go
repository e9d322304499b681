package state

import (
	"testing"

	"github.com/longwire/longwire/gateway"
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
