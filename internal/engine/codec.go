package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"time"

	"github.com/longwire/longwire/gateway"
)

// Rows and events share one compact encoding: uvarints, length-prefixed bytes,
// times as nanoseconds since 1970 in UTC with 0 for the zero time. Maps are
// written in key order, so that equal values have equal bytes.

var errShort = errors.New("value ends too early")

// castagnoli is the polynomial of CRC32C.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func putUint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

func putBytes(b, v []byte) []byte { return append(binary.AppendUvarint(b, uint64(len(v))), v...) }

func putString[S ~string](b []byte, v S) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

func putBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func timeOf(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

func putTime(b []byte, t time.Time) []byte { return binary.AppendVarint(b, nanos(t)) }

func putMap(b []byte, m map[string]string) []byte {
	b = putUint(b, uint64(len(m)))
	if len(m) == 0 {
		return b
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		b = putString(putString(b, k), m[k])
	}
	return b
}

func putStrings[S ~string](b []byte, v []S) []byte {
	b = putUint(b, uint64(len(v)))
	for _, s := range v {
		b = putString(b, s)
	}
	return b
}

// putID writes a message id with its length.
func putID(b []byte, id gateway.MessageID) []byte {
	var buf [64]byte
	return putBytes(b, appendID(buf[:0], id))
}

// putSum appends the CRC32C of key and value, which ties a row to its place.
func putSum(key, value []byte) []byte {
	sum := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, value)
	return binary.BigEndian.AppendUint32(value, sum)
}

// checkSum returns value without its CRC, or an error when it does not match.
func checkSum(key, value []byte) ([]byte, error) {
	if len(value) < 4 {
		return nil, &CorruptError{Key: key, Cause: errShort}
	}
	body, want := value[:len(value)-4], binary.BigEndian.Uint32(value[len(value)-4:])
	if got := crc32.Update(crc32.Checksum(key, castagnoli), castagnoli, body); got != want {
		return nil, &CorruptError{Key: key, Cause: fmt.Errorf("checksum %08x, want %08x", got, want)}
	}
	return body, nil
}

// CorruptError names a row that is not what was written.
type CorruptError struct {
	Key   []byte
	Cause error
}

func (e *CorruptError) Error() string { return fmt.Sprintf("corrupt row %q: %v", e.Key, e.Cause) }
func (e *CorruptError) Unwrap() error { return e.Cause }

// decoder reads what the put functions wrote. After the first error every
// read returns zero; err is looked at once, at the end.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail() { d.b, d.err = nil, errShort }

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) int() int { return int(d.uint()) }

// count reads a number of items of at least min bytes each: more than the rest
// can hold is an error, before memory is taken for them.
func (d *decoder) count(min int) int {
	n := d.uint()
	if n > uint64(len(d.b)/min) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) bool() bool { return d.byte() != 0 }

// bytes returns a part of the input, not a copy; nil for none.
func (d *decoder) bytes() []byte {
	n := d.count(1)
	if n == 0 {
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) string() string { return string(d.bytes()) }

func (d *decoder) id() gateway.MessageID { return parseID(d.bytes()) }

func (d *decoder) nanos() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) time() time.Time { return timeOf(d.nanos()) }

func (d *decoder) strmap() map[string]string {
	n := d.count(2)
	if n == 0 {
		return nil
	}
	m := make(map[string]string, n)
	for range n {
		k := d.string()
		m[k] = d.string()
	}
	return m
}

func decodeStrings[S ~string](d *decoder) []S {
	n := d.count(1)
	if n == 0 {
		return nil
	}
	v := make([]S, n)
	for i := range v {
		v[i] = S(d.string())
	}
	return v
}

// end returns the decoder's error, or one when bytes are left over.
func (d *decoder) end() error {
	if d.err == nil && len(d.b) > 0 {
		return fmt.Errorf("%d bytes left over", len(d.b))
	}
	return d.err
}
