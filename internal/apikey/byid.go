package apikey

import "time"

// ByID returns the key with an id, also one of the settings; nil if there is none. It may
// have expired.
func (ks *Keyset) ByID(id string) *Key { return ks.keys.Load().byID[id] }

// Touch notes a use of the key that Authenticate has not seen.
func (k *Key) Touch(now time.Time) { k.touch(now) }
