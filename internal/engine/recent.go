package engine

import "github.com/cockroachdb/pebble/v2"

// recentGeneration is how many messages a generation of recentMessages holds:
// about 100 bytes each in memory.
const recentGeneration = 8 << 10

// recentMessages knows the keys of the newest messages, so that accepting a new
// one need not look for it in the database. Ids rise with time, so nearly all
// new ones are above floor, and above floor it knows every one that exists.
type recentMessages struct {
	floor      string // what is not above may exist without being known here
	young, old map[string]struct{}
	topYoung   string // greatest key of young
	topOld     string
}

// newRecentMessages starts behind the greatest message key in the database.
func newRecentMessages(db *pebble.DB) (*recentMessages, error) {
	r := &recentMessages{young: make(map[string]struct{})}
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{kindMessage}, UpperBound: []byte{kindMessage + 1}})
	if err != nil {
		return nil, err
	}
	if it.Last() {
		r.floor = string(it.Key())
	}
	return r, it.Close()
}

// unknown reports whether there is certainly no message with this key.
func (r *recentMessages) unknown(key []byte) bool {
	if string(key) <= r.floor {
		return false
	}
	if _, ok := r.young[string(key)]; ok {
		return false
	}
	_, ok := r.old[string(key)]
	return !ok
}

// add remembers a message; the oldest generation goes when the youngest is
// full, and with it what is above floor for certain.
func (r *recentMessages) add(key []byte) {
	k := string(key)
	r.young[k] = struct{}{}
	r.topYoung = max(r.topYoung, k)
	if len(r.young) < recentGeneration {
		return
	}
	r.floor = max(r.floor, r.topOld)
	r.old, r.topOld = r.young, r.topYoung
	r.young, r.topYoung = make(map[string]struct{}, recentGeneration), ""
}
