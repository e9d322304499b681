package disk

import (
	"testing"
	"time"
)

// A field that a later program appends is ignored, and a mark with many logs fits
// its slot.
func TestMarkEncoding(t *testing.T) {
	m := Mark{gen: 1 << 60, Log: newLogID(), Pos: 1 << 60, at: time.Now().UnixNano(), Reserved: Numbers{Seq: 1 << 62, Useq: 1 << 61, Event: 1 << 60}, Boot: 1 << 63}
	for i := range uint32(200) {
		m.Logs = append(m.Logs, logLength{1<<31 + i, 1 << 40})
	}
	got, err := decodeMark(m.Encode())
	if err != nil || got.Reserved != m.Reserved || got.Boot != m.Boot || len(got.Logs) != maxMarkLogs || got.Logs[maxMarkLogs-1] != m.Logs[199] {
		t.Errorf("decoded %+v, %v", got, err)
	}
}
