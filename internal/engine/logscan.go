package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Pebble takes the first record of its newest log that it cannot read for the
// place where a crash cut the log off, unless a later block of 32 KiB proves
// that this place had been synced. The scan here looks for that proof in the
// rest of the same block too, before Pebble opens the log. What stays beyond
// proof is damage to the very last sync's records after a crash; an orderly
// Close leaves no records in the log.
//
// A chunk of the log, little-endian (docs/record format of Pebble, "WAL sync"):
//
//	CRC u32 of all from the type on | length u16 | type u8 | log number u32 | sync offset u64 | data
//
// The sync offset says how far the log was on stable storage when the chunk was
// written. No chunk crosses a block; less than a header at a block's end is zero.
const (
	logBlock     = 32 << 10
	logHeader    = 19
	logChunkFull = 9 // the first of four types: full, first, middle, last
	logChunkLast = 12
)

// DamageError names a place in a log that is not what was written.
type DamageError struct {
	File   string
	Offset int64
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("log %s is damaged at offset %d", e.File, e.Offset)
}

// checkLogs returns a *DamageError when a log of the database is damaged.
func checkLogs(o *Options) error {
	names, err := o.FS.List(o.dbDir())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, name := range logsOf(names) {
		file := o.FS.PathJoin(o.dbDir(), name)
		offset, damaged, err := scanLog(o.FS, file, logNumber(name))
		if err != nil {
			return fmt.Errorf("read log %s: %w", file, err)
		}
		if damaged {
			return &DamageError{file, offset}
		}
	}
	return nil
}

// logsOf returns the names of logs in their order.
func logsOf(names []string) []string {
	logs := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return !strings.HasSuffix(n, ".log") })
	slices.SortFunc(logs, func(a, b string) int { return int(logNumber(a)) - int(logNumber(b)) })
	return logs
}

func logNumber(name string) uint32 {
	n, _ := strconv.ParseUint(strings.TrimSuffix(name, ".log"), 10, 32)
	return uint32(n)
}

// scanLog finds the first chunk that cannot be read, and whether it had been
// synced.
func scanLog(fs vfs.FS, file string, number uint32) (offset int64, damaged bool, err error) {
	f, err := fs.Open(file, vfs.SequentialReadsOption)
	if err != nil {
		return 0, false, err
	}
	defer f.Close()
	buf := make([]byte, logBlock)
	end := int64(-1) // of what can be read, once that is known
	for base := int64(0); ; base += logBlock {
		n, err := io.ReadFull(f, buf)
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, false, err
		}
		block, at := buf[:n], 0
		if end < 0 {
			if at = readableTo(block, number); at < n {
				end = base + int64(at)
			}
		}
		if end >= 0 && syncedBeyond(block[at:], number, end) {
			return end, true, nil
		}
		if n < logBlock {
			return 0, false, nil
		}
	}
}

// readableTo returns how far a block can be read chunk by chunk.
func readableTo(block []byte, number uint32) int {
	at := 0
	for len(block)-at >= logHeader {
		size, _, ok := parseChunk(block[at:], number)
		if !ok {
			return at
		}
		at += size
	}
	if strings.Trim(string(block[at:]), "\x00") == "" {
		return len(block)
	}
	return at
}

// syncedBeyond looks at each place for a chunk that was written after the log
// was synced beyond end.
func syncedBeyond(b []byte, number uint32, end int64) bool {
	for ; len(b) >= logHeader; b = b[1:] {
		if _, synced, ok := parseChunk(b, number); ok && synced > uint64(end) {
			return true
		}
	}
	return false
}

// parseChunk reads the chunk at the start of b; ok is false when there is none
// of this log.
func parseChunk(b []byte, number uint32) (size int, synced uint64, ok bool) {
	if b[6] < logChunkFull || b[6] > logChunkLast || binary.LittleEndian.Uint32(b[7:]) != number {
		return 0, 0, false
	}
	size = logHeader + int(binary.LittleEndian.Uint16(b[4:]))
	if size > len(b) {
		return 0, 0, false
	}
	sum := crc32.Checksum(b[6:size], castagnoli)
	if (sum>>15|sum<<17)+0xa282ead8 != binary.LittleEndian.Uint32(b) {
		return 0, 0, false
	}
	return size, binary.LittleEndian.Uint64(b[11:]), true
}
