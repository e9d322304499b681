package record

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

// ErrShort is the cause of a value that ends too early, or has an impossible length.
var ErrShort = errors.New("value ends too early")

// Castagnoli is the polynomial of CRC32C.
var Castagnoli = crc32.MakeTable(crc32.Castagnoli)

// PutUint, and the other Put functions, append one value to b. A Decoder reads them back.
func PutUint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

func PutBytes(b, v []byte) []byte { return append(binary.AppendUvarint(b, uint64(len(v))), v...) }

func PutString[S ~string](b []byte, v S) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

func PutBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// Nanos returns a time as it is stored, 0 for the zero time.
func Nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// TimeOf is the reverse of Nanos.
func TimeOf(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

func PutTime(b []byte, t time.Time) []byte { return binary.AppendVarint(b, Nanos(t)) }

func PutMap(b []byte, m map[string]string) []byte {
	b = PutUint(b, uint64(len(m)))
	if len(m) == 0 {
		return b
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		b = PutString(PutString(b, k), m[k])
	}
	return b
}

func PutStrings[S ~string](b []byte, v []S) []byte {
	b = PutUint(b, uint64(len(v)))
	for _, s := range v {
		b = PutString(b, s)
	}
	return b
}

// PutID writes a message id with its length.
func PutID(b []byte, id gateway.MessageID) []byte {
	var buf [64]byte
	return PutBytes(b, AppendID(buf[:0], id))
}

// PutSum appends the CRC32C of key and value, which ties a row to its place.
func PutSum(key, value []byte) []byte {
	sum := crc32.Update(crc32.Checksum(key, Castagnoli), Castagnoli, value)
	return binary.BigEndian.AppendUint32(value, sum)
}

// CheckSum returns value without its CRC, or an error when it does not match.
func CheckSum(key, value []byte) ([]byte, error) {
	if len(value) < 4 {
		return nil, Corrupt(key, ErrShort)
	}
	body, want := value[:len(value)-4], binary.BigEndian.Uint32(value[len(value)-4:])
	if got := crc32.Update(crc32.Checksum(key, Castagnoli), Castagnoli, body); got != want {
		return nil, Corrupt(key, fmt.Errorf("checksum %08x, want %08x", got, want))
	}
	return body, nil
}

// CorruptError names a row whose bytes are not those that were written.
type CorruptError struct {
	Key   []byte
	Cause error
}

// Corrupt names the row of an error of its value; nil stays nil. It keeps no part of key,
// which may be an iterator's.
func Corrupt(key []byte, err error) error {
	if err == nil {
		return nil
	}
	return &CorruptError{Key: slices.Clone(key), Cause: err}
}

// ErrMissing is why a row that another row promises is corrupt.
var ErrMissing = errors.New("row is missing")

func (e *CorruptError) Error() string { return fmt.Sprintf("corrupt row %q: %v", e.Key, e.Cause) }
func (e *CorruptError) Unwrap() error { return e.Cause }

// Decoder reads the values of the Put functions. After the first error every
// read returns zero; Err is looked at once, at the end.
type Decoder struct {
	Rest []byte
	Err  error
}

// Open returns a decoder of a row that PutSum ends. A wrong checksum is its error.
func Open(key, value []byte) (d Decoder) {
	d.Rest, d.Err = CheckSum(key, value)
	return d
}

func (d *Decoder) fail() {
	d.Rest = nil
	if d.Err == nil {
		d.Err = ErrShort
	}
}

// Uint reads a value of PutUint.
func (d *Decoder) Uint() uint64 {
	v, n := binary.Uvarint(d.Rest)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.Rest = d.Rest[n:]
	return v
}

func (d *Decoder) Int() int { return int(d.Uint()) }

// Count reads a number of items of at least min bytes each: more than the rest
// can hold is an error, before memory is taken for them.
func (d *Decoder) Count(min int) int {
	n := d.Uint()
	if n > uint64(len(d.Rest)/min) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *Decoder) Byte() byte {
	if len(d.Rest) == 0 {
		d.fail()
		return 0
	}
	v := d.Rest[0]
	d.Rest = d.Rest[1:]
	return v
}

func (d *Decoder) Bool() bool { return d.Byte() != 0 }

// Bytes returns a part of the input, not a copy; nil for none.
func (d *Decoder) Bytes() []byte {
	n := d.Count(1)
	if n == 0 {
		return nil
	}
	v := d.Rest[:n:n]
	d.Rest = d.Rest[n:]
	return v
}

// Copy fills v with the next bytes, which have no length of their own.
func (d *Decoder) Copy(v []byte) {
	if len(d.Rest) < len(v) {
		d.fail()
	}
	d.Rest = d.Rest[copy(v, d.Rest):]
}

// Text reads a string.
func (d *Decoder) Text() string { return string(d.Bytes()) }

func (d *Decoder) ID() gateway.MessageID { return ParseID(d.Bytes()) }

// Varint reads a signed number.
func (d *Decoder) Varint() int64 {
	v, n := binary.Varint(d.Rest)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.Rest = d.Rest[n:]
	return v
}

func (d *Decoder) Time() time.Time { return TimeOf(d.Varint()) }

func (d *Decoder) Map() map[string]string {
	n := d.Count(2)
	if n == 0 {
		return nil
	}
	m := make(map[string]string, n)
	for range n {
		k := d.Text()
		m[k] = d.Text()
	}
	return m
}

// DecodeStrings reads a value of PutStrings, nil for none.
func DecodeStrings[S ~string](d *Decoder) []S {
	n := d.Count(1)
	if n == 0 {
		return nil
	}
	v := make([]S, n)
	for i := range v {
		v[i] = S(d.Text())
	}
	return v
}

// End returns the decoder's error, or one when bytes are left over.
func (d *Decoder) End() error {
	if d.Err == nil && len(d.Rest) > 0 {
		return fmt.Errorf("%d bytes left over", len(d.Rest))
	}
	return d.Err
}
