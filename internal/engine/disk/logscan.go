package disk

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/longwire/longwire/internal/engine/record"
)

// Pebble takes the first record of its newest log that it cannot read for the
// place where a crash cut the log off, unless a later block of 32 KiB proves
// that this place had been synced. The scan here looks for that proof in the
// rest of the same block too, before Pebble opens the log. MARK proves how far the
// log was synced a second ago. Damage to later records that reaches to the log's
// end stays beyond proof, and so does damage to the last few KiB before it: the sync
// offset of Pebble 2.1.7 leaves out the ends of earlier blocks (LogWriter.flushLoop
// counts the bytes of the newest block alone) and is too low. An orderly Close leaves
// no records in the log.
//
// A chunk of the log, little-endian (docs/record format of Pebble, "WAL sync"):
//
//	CRC u32 of all from the type on | length u16 | type u8 | log number u32 | sync offset u64 | data
//
// The sync offset says how far the log was on stable storage when the chunk was
// written. No chunk crosses a block; less than a header at a block's end is zero.
const (
	logBlock  = 32 << 10
	logHeader = 19

	// The types of chunks: a record as a whole, or its first, middle or last part.
	logChunkFull  = 9
	logChunkFirst = 10
	logChunkLast  = 12
)

// DamageError names a place in a log whose bytes are not those that were written.
type DamageError struct {
	File   string
	Offset int64
	// Synced is how far the log was on stable storage by what MARK says, if that
	// is what proves the damage; else 0.
	Synced int64
	// After is the log before this one, if records between the two are missing.
	After string
	Gone  bool // the file is not there
}

func (e *DamageError) Error() string {
	switch {
	case e.Gone:
		return fmt.Sprintf("log %s is not there, MARK says that %d bytes of it were synced", e.File, e.Synced)
	case e.After != "":
		return fmt.Sprintf("log %s does not continue %s: records between them are missing", e.File, e.After)
	case e.Synced > 0:
		return fmt.Sprintf("log %s can be read up to offset %d, MARK says that %d bytes were synced", e.File, e.Offset, e.Synced)
	}
	return fmt.Sprintf("log %s is damaged at offset %d", e.File, e.Offset)
}

// checkLogs returns a *DamageError when a log that the manifest needs is
// damaged, or is not there or ends too early by what MARK says.
func checkLogs(o *Options, oldest uint32, marked []logLength) error {
	names, err := o.FS.List(o.dbDir())
	if err != nil {
		return err
	}
	synced := map[uint32]int64{}
	for _, l := range marked {
		if l.number >= oldest {
			synced[l.number] = l.synced
		}
	}
	before, next := "", uint64(0)
	for _, name := range logsOf(names) {
		number := logNumber(name)
		if number < oldest {
			continue
		}
		file := o.FS.PathJoin(o.dbDir(), name)
		scan, err := scanLog(o.FS, file, number)
		if err != nil {
			return fmt.Errorf("read log %s: %w", file, err)
		}
		if scan.damaged {
			return &DamageError{File: file, Offset: scan.end}
		}
		if want := synced[number]; scan.end+logHeader < want { // the last header may be a log's closing one, of no record
			return &DamageError{File: file, Offset: scan.end, Synced: want}
		}
		delete(synced, number)
		if scan.next == 0 {
			continue // it holds no record
		}
		if next != 0 && scan.first != next {
			return &DamageError{File: file, After: before}
		}
		before, next = file, scan.next
	}
	for _, l := range marked {
		if want, gone := synced[l.number]; gone && want > logHeader {
			return &DamageError{File: o.FS.PathJoin(o.dbDir(), fmt.Sprintf("%06d.log", l.number)), Synced: want, Gone: true}
		}
	}
	return nil
}

// logsOf returns the names of logs in their order.
func logsOf(names []string) []string {
	logs := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !strings.HasSuffix(n, ".log") })
	slices.SortFunc(logs, func(a, b string) int { return cmp.Compare(logNumber(a), logNumber(b)) })
	return logs
}

// logNumber returns the number in the name or path of a log.
func logNumber(name string) uint32 {
	n, _ := strconv.ParseUint(strings.TrimSuffix(filepath.Base(name), ".log"), 10, 32)
	return uint32(n)
}

// logScan is the result of reading a log to its end.
type logScan struct {
	end     int64 // of the readable part
	damaged bool  // the bytes behind end had been synced
	// Pebble's numbers of row changes, each one higher than the last: of the
	// first change in the log, and of the first one behind it; 0 for no record.
	first, next uint64
}

// scanLog finds the first chunk that cannot be read, and whether it had been
// synced.
func scanLog(fs vfs.FS, file string, number uint32) (s logScan, err error) {
	f, err := fs.Open(file, vfs.SequentialReadsOption)
	if err != nil {
		return s, err
	}
	defer f.Close()
	buf := make([]byte, logBlock)
	whole := true // so far
	for base := int64(0); ; base += logBlock {
		n, err := io.ReadFull(f, buf)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return s, err
		}
		block, at := buf[:n], 0
		if whole {
			at = s.read(block, number)
			s.end, whole = base+int64(at), at == n
		}
		if !whole && syncedBeyond(block[at:], number, s.end) {
			s.damaged = true
			return s, nil
		}
		if n < logBlock {
			return s, nil
		}
	}
}

// read returns how far a block can be read chunk by chunk.
func (s *logScan) read(block []byte, number uint32) int {
	at := 0
	for len(block)-at >= logHeader {
		size, _, ok := parseChunk(block[at:], number)
		if !ok {
			return at
		}
		s.note(block[at : at+size])
		at += size
	}
	if len(block) == logBlock && strings.Trim(string(block[at:]), "\x00") == "" {
		return len(block)
	}
	return at
}

// note reads the head of a record, which begins in the chunk: the number of its
// first row change, and how many there are.
func (s *logScan) note(chunk []byte) {
	data := chunk[logHeader:]
	if kind := chunk[6]; kind != logChunkFull && kind != logChunkFirst || len(data) < 12 {
		return
	}
	number := binary.LittleEndian.Uint64(data)
	if s.next == 0 {
		s.first = number
	}
	s.next = number + uint64(binary.LittleEndian.Uint32(data[8:]))
}

// syncedBeyond looks at each place for a chunk that was written after the log
// was synced beyond end.
func syncedBeyond(b []byte, number uint32, end int64) bool {
	for ; len(b) > 0; b = b[1:] {
		if _, synced, ok := parseChunk(b, number); ok && synced > uint64(end) {
			return true
		}
	}
	return false
}

// parseChunk reads the chunk at the start of b; ok is false when there is none
// of this log.
func parseChunk(b []byte, number uint32) (size int, synced uint64, ok bool) {
	if len(b) < logHeader || b[6] < logChunkFull || b[6] > logChunkLast || binary.LittleEndian.Uint32(b[7:]) != number {
		return 0, 0, false
	}
	size = logHeader + int(binary.LittleEndian.Uint16(b[4:]))
	if size > len(b) {
		return 0, 0, false
	}
	sum := crc32.Checksum(b[6:size], record.Castagnoli)
	if (sum>>15|sum<<17)+0xa282ead8 != binary.LittleEndian.Uint32(b) {
		return 0, 0, false
	}
	return size, binary.LittleEndian.Uint64(b[11:]), true
}
