package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// record is one group commit.
//
//	offset 0  format u8 | 0 u8 | events u16
//	       4  CRC32C u32 of all that follows
//	       8  writer u64 | incarnation u64 | writer sequence u64 | time i64, ns
//	      40  events: kind u8 | length uvarint | body
type record struct {
	writer      uint64 // who wrote it
	incarnation uint64 // of the writer: rises with each start
	seq         uint64 // rises by one within an incarnation, from 1
	at          int64  // writer's clock, ns since 1970
	events      []event
}

const (
	recordFormat = 1
	recordHeader = 40
)

var errRecordSum = errors.New("record checksum does not match")

func (r *record) encode() []byte {
	b := make([]byte, recordHeader, recordHeader+256*len(r.events))
	b[0] = recordFormat
	binary.BigEndian.PutUint16(b[2:], uint16(len(r.events)))
	binary.BigEndian.PutUint64(b[8:], r.writer)
	binary.BigEndian.PutUint64(b[16:], r.incarnation)
	binary.BigEndian.PutUint64(b[24:], r.seq)
	binary.BigEndian.PutUint64(b[32:], uint64(r.at))
	var body []byte
	for _, e := range r.events {
		body = e.encode(body[:0])
		b = putBytes(append(b, byte(e.kind())), body)
	}
	binary.BigEndian.PutUint32(b[4:], crc32.Checksum(b[8:], castagnoli))
	return b
}

// decodeRecord checks the sum first: nothing of a damaged record is looked at.
// Byte slices of the events are parts of b.
func decodeRecord(b []byte) (*record, error) {
	if len(b) < recordHeader {
		return nil, errShort
	}
	if b[0] != recordFormat {
		return nil, fmt.Errorf("record of format %d, this program knows %d", b[0], recordFormat)
	}
	if crc32.Checksum(b[8:], castagnoli) != binary.BigEndian.Uint32(b[4:]) {
		return nil, errRecordSum
	}
	r := &record{
		writer:      binary.BigEndian.Uint64(b[8:]),
		incarnation: binary.BigEndian.Uint64(b[16:]),
		seq:         binary.BigEndian.Uint64(b[24:]),
		at:          int64(binary.BigEndian.Uint64(b[32:])),
		events:      make([]event, 0, binary.BigEndian.Uint16(b[2:])),
	}
	d := decoder{b: b[recordHeader:]}
	for range cap(r.events) {
		k, body := eventKind(d.byte()), d.bytes()
		if d.err != nil {
			return nil, d.err
		}
		e, err := decodeEvent(k, body)
		if err != nil {
			return nil, err
		}
		r.events = append(r.events, e)
	}
	return r, d.end()
}
