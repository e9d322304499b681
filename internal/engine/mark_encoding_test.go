package engine

import (
	"testing"
	"time"
)

// A field that a later program appends is ignored, and a mark with many logs fits
// its slot.
func TestMarkEncoding(t *testing.T) {
	m := mark{gen: 1 << 60, log: newLogID(), pos: 1 << 60, at: time.Now().UnixNano(), reserved: numbers{1 << 62, 1 << 61, 1 << 60}, boot: 1 << 63}
	for i := range uint32(200) {
		m.logs = append(m.logs, logLength{1<<31 + i, 1 << 40})
	}
	got, err := decodeMark(m.encode())
	if err != nil || got.reserved != m.reserved || got.boot != m.boot || len(got.logs) != maxMarkLogs || got.logs[maxMarkLogs-1] != m.logs[199] {
		t.Errorf("decoded %+v, %v", got, err)
	}
}
