package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// Commit is one record: the events of one group commit.
//
//	offset 0  format u8 | 0 u8 | events u16
//	       4  CRC32C u32 of all that follows
//	       8  writer u64 | boot u64 | n u64 | time i64, ns
//	      40  events: kind u8 | length uvarint | body
type Commit struct {
	Writer uint64 // random, drawn with the data directory
	Boot   uint64 // random, drawn at each start of the writer
	N      uint64 // rises by one within a boot; record 1 is Opened
	At     int64  // writer's clock, ns since 1970: information, no order
	Events []Event
	Sum    uint32 // CRC32C of the record's bytes; 0 where no journal keeps them
}

const (
	version    = 2
	headerSize = 40
)

// ErrSum is why a damaged record is refused.
var ErrSum = errors.New("record checksum does not match")

// Encode returns the record as journals keep it.
func (r *Commit) Encode() []byte {
	b := make([]byte, headerSize, headerSize+256*len(r.Events))
	b[0] = version
	binary.BigEndian.PutUint16(b[2:], uint16(len(r.Events)))
	binary.BigEndian.PutUint64(b[8:], r.Writer)
	binary.BigEndian.PutUint64(b[16:], r.Boot)
	binary.BigEndian.PutUint64(b[24:], r.N)
	binary.BigEndian.PutUint64(b[32:], uint64(r.At))
	var body []byte
	for _, e := range r.Events {
		body = e.encode(body[:0])
		b = PutBytes(append(b, byte(e.Kind())), body)
	}
	binary.BigEndian.PutUint32(b[4:], crc32.Checksum(b[8:], Castagnoli))
	return b
}

// Decode checks the sum first: nothing of a damaged record is looked at.
// Byte slices of the events are parts of b.
func Decode(b []byte) (*Commit, error) {
	if len(b) < headerSize {
		return nil, ErrShort
	}
	if b[0] != version {
		return nil, fmt.Errorf("record of format %d, this program knows %d", b[0], version)
	}
	sum := crc32.Checksum(b[8:], Castagnoli)
	if sum != binary.BigEndian.Uint32(b[4:]) {
		return nil, ErrSum
	}
	r := &Commit{
		Writer: binary.BigEndian.Uint64(b[8:]),
		Boot:   binary.BigEndian.Uint64(b[16:]),
		N:      binary.BigEndian.Uint64(b[24:]),
		At:     int64(binary.BigEndian.Uint64(b[32:])),
		Events: make([]Event, 0, binary.BigEndian.Uint16(b[2:])),
		Sum:    sum,
	}
	d := Decoder{Rest: b[headerSize:]}
	for range cap(r.Events) {
		k, body := Kind(d.Byte()), d.Bytes()
		if d.Err != nil {
			return nil, d.Err
		}
		e, err := decodeEvent(k, body)
		if err != nil {
			return nil, err
		}
		r.Events = append(r.Events, e)
	}
	return r, d.End()
}
