package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// Mark is the content of the file MARK, which lies outside the database and lists
// the least that the database must have. Position and lengths are never ahead of stable
// storage, so that a database that has less has lost something.
//
// MARK is two slots of 4 KiB, written in turn: a write that a power cut tears
// leaves the other slot. A slot, little-endian:
//
//	magic "LWMK" | CRC32C u32 of all that follows | version u16 | length u16 | body
//
// The body is a list of uvarints and strings, in the order of the fields below. A
// later program may append fields: a reader ignores the rest.
type Mark struct {
	gen      uint64 // rises by one with each write
	Log      gateway.LogID
	Pos      uint64  // of a record that is on stable storage
	at       int64   // when this was written, ns
	Reserved Numbers // at least every number that was given
	Boot     uint64  // random, drawn at each start
	Orderly  bool    // the store was closed: no log holds a record
	// Branched says that the store continues from a copy, and that others of its
	// numbers may have been given elsewhere: the next start gives the log a new
	// name and raises the numbers, see branch.
	Branched bool
	Logs     []logLength // rising
	manifest logLength   // the newest; number 0 = not known
}

// Numbers are those that are never given twice.
type Numbers = record.Numbers

// plus returns the numbers of messages and uplinks d further on.
func plus(n Numbers, d uint64) Numbers {
	return Numbers{Seq: n.Seq + d, Useq: n.Useq + d, Event: n.Event}
}

// logLength is how far a log of the database is on stable storage.
type logLength struct {
	number uint32
	synced int64
}

const (
	nameMark    = "MARK"
	markMagic   = "LWMK"
	markVersion = 1
	markSlot    = 4 << 10
	markHeader  = 12
	// maxMarkLogs keeps the body within its slot; Pebble has some ten logs.
	maxMarkLogs = 128
)

// Encode returns a slot.
func (m *Mark) Encode() []byte {
	b := make([]byte, markHeader, markSlot)
	b = record.PutUint(record.PutUint(record.PutUint(record.PutString(record.PutUint(b, m.gen), m.Log), m.Pos), uint64(m.at)), m.Reserved.Seq)
	b = record.PutUint(record.PutUint(record.PutUint(b, m.Reserved.Useq), m.Reserved.Event), m.Boot)
	b = record.PutBool(record.PutBool(b, m.Orderly), m.Branched)
	logs := m.Logs[max(0, len(m.Logs)-maxMarkLogs):]
	b = record.PutUint(b, uint64(len(logs)))
	for _, l := range logs {
		b = record.PutUint(record.PutUint(b, uint64(l.number)), uint64(l.synced))
	}
	b = record.PutUint(record.PutUint(b, uint64(m.manifest.number)), uint64(m.manifest.synced))
	copy(b, markMagic)
	binary.LittleEndian.PutUint16(b[8:], markVersion)
	binary.LittleEndian.PutUint16(b[10:], uint16(len(b)-markHeader))
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[8:], record.Castagnoli))
	return b[:markSlot]
}

// decodeMark reads one slot.
func decodeMark(b []byte) (m Mark, err error) {
	if len(b) < markHeader || string(b[:4]) != markMagic {
		return m, errors.New("no slot of a MARK")
	}
	n := int(binary.LittleEndian.Uint16(b[10:]))
	if markHeader+n > len(b) {
		return m, record.ErrShort
	}
	if crc32.Checksum(b[8:markHeader+n], record.Castagnoli) != binary.LittleEndian.Uint32(b[4:]) {
		return m, errors.New("checksum does not match")
	}
	if v := binary.LittleEndian.Uint16(b[8:]); v != markVersion {
		return m, fmt.Errorf("version %d, this program knows %d", v, markVersion)
	}
	d := record.Decoder{Rest: b[markHeader : markHeader+n]}
	m.gen, m.Log, m.Pos, m.at = d.Uint(), gateway.LogID(d.Text()), d.Uint(), int64(d.Uint())
	m.Reserved = Numbers{Seq: d.Uint(), Useq: d.Uint(), Event: d.Uint()}
	m.Boot, m.Orderly, m.Branched = d.Uint(), d.Bool(), d.Bool()
	m.Logs = make([]logLength, d.Count(2))
	for i := range m.Logs {
		m.Logs[i] = logLength{uint32(d.Uint()), int64(d.Uint())}
	}
	if len(d.Rest) > 0 { // older ones end here
		m.manifest = logLength{uint32(d.Uint()), int64(d.Uint())}
	}
	return m, d.Err
}

// errNoMark is why a MARK cannot be read although the disk gives its bytes.
var errNoMark = errors.New("MARK is not readable")

// ReadMark returns the newer slot of the MARK in dir, and which one that is.
func ReadMark(fs vfs.FS, dir string) (m Mark, slot int, err error) {
	b, err := readSmall(fs, fs.PathJoin(dir, nameMark), 2*markSlot+1)
	if err != nil {
		return m, 0, err
	}
	if len(b) != 2*markSlot {
		return m, 0, fmt.Errorf("%w: it does not have %d bytes", errNoMark, 2*markSlot)
	}
	first, err := decodeMark(b[:markSlot])
	second, err2 := decodeMark(b[markSlot:])
	switch {
	case err != nil && err2 != nil:
		return m, 0, fmt.Errorf("%w: first slot: %w; second slot: %w", errNoMark, err, err2)
	case err != nil || err2 == nil && second.gen > first.gen:
		return second, 1, nil
	default:
		return first, 0, nil
	}
}

// makeMark writes a MARK with m in both slots in place of the one in dir.
func makeMark(fs vfs.FS, dir string, m Mark) error {
	name := fs.PathJoin(dir, nameMark)
	m.gen++
	return replaceFile(fs, name, append(m.Encode(), m.Encode()...))
}

// markFile is the MARK of a store that is open for writing.
type markFile struct {
	f    vfs.File
	last Mark // the last one written
	next int  // the slot that is written next
}

func openMarkFile(fs vfs.FS, dir string) (*markFile, error) {
	m, slot, err := ReadMark(fs, dir)
	if err != nil {
		return nil, err
	}
	f, err := fs.OpenReadWrite(fs.PathJoin(dir, nameMark), vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	return &markFile{f: f, last: m, next: 1 - slot}, nil
}

// write puts m into the older slot. After an error that slot is written again,
// so that the newer one stays.
func (w *markFile) write(m Mark) error {
	m.gen = w.last.gen + 1
	b := m.Encode()
	n, err := w.f.WriteAt(b, int64(w.next)*markSlot)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	if err == nil {
		err = w.f.SyncData() // the file keeps its length
	}
	if err != nil {
		w.last.gen = m.gen // the slot may hold it in part, or as a whole
		return fmt.Errorf("write MARK: %w", err)
	}
	w.last, w.next = m, 1-w.next
	return nil
}

// writeBoth puts m into both slots, so that the loss of one loses none of it.
func (w *markFile) writeBoth(m Mark) error {
	if err := w.write(m); err != nil {
		return err
	}
	return w.write(m)
}
