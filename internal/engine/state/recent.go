package state

import (
	"bytes"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine/record"
)

// recentGeneration is how many messages a generation of recentMessages holds:
// about 30 bytes each in memory.
const recentGeneration = 8 << 10

// recentMessages knows the keys of the newest messages, so that accepting a new
// one need not look for it in the database. Ids rise with time, so nearly all
// new ones are above floor, and above floor it knows every one that exists.
// It is for ids in the form of a UUID: others are looked for.
type recentMessages struct {
	floor      recentKey // a message whose key is not above may exist without being known here
	young, old map[recentKey]struct{}
	topYoung   recentKey // greatest key of young
	topOld     recentKey
	size       int // of a generation
}

// recentKey is a message id in the form of a UUID.
type recentKey [16]byte

func (k recentKey) above(l recentKey) bool { return bytes.Compare(k[:], l[:]) > 0 }

// recentKeyOf returns the id in a message's key, ok false for one in text form.
func recentKeyOf(key []byte) (k recentKey, ok bool) {
	if len(key) != 18 || key[1] != record.UUIDForm {
		return k, false
	}
	return recentKey(key[2:]), true
}

// newRecentMessages starts behind the greatest message key in the database. Ids
// in text form are below all others.
func newRecentMessages(rows Reader, size int) (*recentMessages, error) {
	r := emptyRecentMessages(size)
	return r, each(rows, []byte{kindMessage}, []byte{kindMessage + 1}, true, func(k, _ []byte) (bool, error) {
		r.floor, _ = recentKeyOf(k)
		return false, nil
	})
}

func emptyRecentMessages(size int) *recentMessages {
	return &recentMessages{size: size, young: map[recentKey]struct{}{}, old: map[recentKey]struct{}{}}
}

// unknown reports whether there is certainly no message with this key.
func (r *recentMessages) unknown(key []byte) bool {
	k, ok := recentKeyOf(key)
	if !ok || !k.above(r.floor) {
		return false
	}
	if _, ok := r.young[k]; ok {
		return false
	}
	_, ok = r.old[k]
	return !ok
}

// add remembers a message; the oldest generation goes when the youngest is
// full, and floor rises to its greatest key.
func (r *recentMessages) add(key []byte) {
	k, ok := recentKeyOf(key)
	if !ok {
		return
	}
	r.young[k] = struct{}{}
	if k.above(r.topYoung) {
		r.topYoung = k
	}
	if len(r.young) < r.size {
		return
	}
	if r.topOld.above(r.floor) {
		r.floor = r.topOld
	}
	clear(r.old)
	r.old, r.young = r.young, r.old
	r.topOld, r.topYoung = r.topYoung, recentKey{}
}

// recentQueued holds the rows of the deliveries queued last, of messages to one, so
// that an ack that comes soon needs no look-up. A row has the slot of its sequence
// until a later one takes it. The machine removes a row with its delivery, and is
// replaced with the cache when a record is given up: a row found here is the one that
// the database has, with the changes of the record under way.
type recentQueued []struct {
	ord record.Ordinal
	seq gateway.Seq // 0 = empty: sequences begin with 1
	row queueRow
}

// recentQueuedRows is how many rows recentQueued has room for: about 150 bytes each.
const recentQueuedRows = 4 << 10

func (r recentQueued) put(o record.Ordinal, s gateway.Seq, row queueRow) {
	if len(r) > 0 {
		at := &r[s%gateway.Seq(len(r))]
		at.ord, at.seq, at.row = o, s, row
	}
}

func (r recentQueued) get(o record.Ordinal, s gateway.Seq) (row queueRow, ok bool) {
	if len(r) == 0 || s == 0 {
		return row, false
	}
	at := &r[s%gateway.Seq(len(r))]
	return at.row, at.seq == s && at.ord == o
}

func (r recentQueued) remove(o record.Ordinal, s gateway.Seq) {
	if _, ok := r.get(o, s); ok {
		clear(r[s%gateway.Seq(len(r)):][:1])
	}
}
