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
//	       8  writer u64 | incarnation u64 | writer sequence u64 | time i64, ns
//	      40  events: kind u8 | length uvarint | body
type Commit struct {
	Writer      uint64 // of the data directory
	Incarnation uint64 // of the writer: rises with each start
	Seq         uint64 // rises by one within an incarnation, from 1
	At          int64  // writer's clock, ns since 1970
	Events      []Event
}

const (
	version    = 1
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
	binary.BigEndian.PutUint64(b[16:], r.Incarnation)
	binary.BigEndian.PutUint64(b[24:], r.Seq)
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
	if crc32.Checksum(b[8:], Castagnoli) != binary.BigEndian.Uint32(b[4:]) {
		return nil, ErrSum
	}
	r := &Commit{
		Writer:      binary.BigEndian.Uint64(b[8:]),
		Incarnation: binary.BigEndian.Uint64(b[16:]),
		Seq:         binary.BigEndian.Uint64(b[24:]),
		At:          int64(binary.BigEndian.Uint64(b[32:])),
		Events:      make([]Event, 0, binary.BigEndian.Uint16(b[2:])),
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
