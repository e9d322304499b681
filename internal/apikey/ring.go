// Package apikey is who may call the API: keys with scopes and limits, the
// secrets that prove them, and the file that they are kept in.
//
// Nothing in the file is a secret: it holds the SHA-256 of each. Whoever can
// write it can make keys, so it belongs to the gateway's user alone.
package apikey

import (
	"context"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// Ring is all keys of a gateway: those of the settings, which are fixed, and
// those of its file. All methods may be called from any goroutine.
type Ring struct {
	fixed    []*Key
	log      *slog.Logger
	required atomic.Bool
	keys     atomic.Pointer[table]

	mu   sync.Mutex // held by whoever changes keys or the file
	file *file      // nil = in memory only
}

// table is one state of the ring; it is replaced as a whole.
type table struct {
	list []*Key // of the file, by id
	// byHash has every key under the first bytes of its hash. They tell nothing
	// of a secret; the rest is compared in constant time.
	byHash map[uint64]*Key
	groups map[string]bool // that some key is limited to
}

// NewRing returns a ring of configured secrets, which may do everything; what
// is created in it is not kept.
func NewRing(secrets ...string) *Ring {
	r := &Ring{log: slog.New(slog.DiscardHandler)}
	for _, s := range secrets {
		r.fixed = append(r.fixed, configured(s))
	}
	r.publish(nil)
	return r
}

// Open returns the ring of a file, which need not be there yet, and of
// configured secrets. A file that cannot be read or is damaged is an error:
// to go on without its keys would lock callers out, or let everybody in.
func Open(path string, log *slog.Logger, secrets ...string) (*Ring, error) {
	r := NewRing(secrets...)
	r.log, r.file = log, &file{path: path}
	keys, err := r.file.read()
	if err != nil {
		return nil, fmt.Errorf("API keys: %w", err)
	}
	r.publish(keys)
	return r, nil
}

// publish makes keys the state that everybody sees.
func (r *Ring) publish(keys []*Key) {
	sortByID(keys)
	t := &table{list: keys, byHash: make(map[uint64]*Key), groups: make(map[string]bool)}
	for _, k := range keys {
		t.byHash[index(&k.hash)] = k
		if k.Limit.Group != "" {
			t.groups[k.Limit.Group] = true
		}
	}
	for _, k := range r.fixed {
		t.byHash[index(&k.hash)] = k
	}
	r.keys.Store(t)
	if len(t.byHash) > 0 {
		r.required.Store(true)
	}
}

func index(hash *[32]byte) uint64 { return binary.BigEndian.Uint64(hash[:8]) }

// Required reports whether callers need a key: from the first key on, and then
// for as long as the process lives, so that removing the last key does not
// open the door.
func (r *Ring) Required() bool { return r.required.Load() }

// Authenticate returns the key of a secret and notes that it was used.
func (r *Ring) Authenticate(secret string, now time.Time) (*Key, error) {
	hash := digest(secret)
	k := r.keys.Load().byHash[index(&hash)]
	if k == nil || subtle.ConstantTimeCompare(hash[:], k.hash[:]) != 1 {
		if err := CheckSecret(secret); err != nil {
			return nil, err
		}
		return nil, ErrUnknown
	}
	if !k.Alive(now) {
		return nil, ErrExpired
	}
	k.touch(now)
	return k, nil
}

// List returns the keys of the file, by id, which is by time of creation.
func (r *Ring) List() []*Key { return r.keys.Load().list }

// Get returns one key of the file: ErrNoKey.
func (r *Ring) Get(id string) (*Key, error) {
	for _, k := range r.List() {
		if k.ID == id {
			return k, nil
		}
	}
	return nil, ErrNoKey
}

// GuardsGroup reports whether some key is limited to the group: then being in
// it is a right, which a tenant may not give itself.
func (r *Ring) GuardsGroup(name string) bool { return r.keys.Load().groups[name] }

// GuardedGroups are the groups of GuardsGroup; the map is not changed any more.
func (r *Ring) GuardedGroups() map[string]bool { return r.keys.Load().groups }

// Create makes a key and returns it with its secret, which is nowhere kept, when
// the key is on disk. Errors: *SpecError, ErrFull.
func (r *Ring) Create(s Spec, now time.Time) (k *Key, secret string, err error) {
	s.ExpiresAt = s.ExpiresAt.UTC().Truncate(time.Second)
	if err := s.Check(now); err != nil {
		return nil, "", err
	}
	k = &Key{ID: "key_" + uuid.Must(uuid.NewV7()).String(), Name: s.Name, Scopes: s.Scopes, Limit: s.Limit,
		CreatedAt: now.UTC().Truncate(time.Second), ExpiresAt: s.ExpiresAt}
	secret = newSecret()
	k.hash = digest(secret)
	err = r.change(func(keys []*Key) ([]*Key, error) {
		if len(keys) >= MaxKeys {
			return nil, ErrFull
		}
		return append(keys, k), nil
	})
	if err != nil {
		return nil, "", err
	}
	return k, secret, nil
}

// Revoke ends a key at once, also what goes on under it, and forgets it.
// Errors: ErrNoKey.
func (r *Ring) Revoke(id string) error {
	return r.change(func(keys []*Key) ([]*Key, error) {
		for i, k := range keys {
			if k.ID == id {
				return append(keys[:i:i], keys[i+1:]...), nil
			}
		}
		return nil, ErrNoKey
	})
}

// change replaces the keys of the file by what edit makes of them. The file is
// read again before, since another process may have changed it: a command that
// found no gateway running while this one started.
func (r *Ring) change(edit func([]*Key) ([]*Key, error)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil {
		keys, err := edit(append([]*Key(nil), r.List()...))
		if err == nil {
			r.adopt(keys)
		}
		return err
	}
	release, err := r.file.lock()
	if err != nil {
		return fmt.Errorf("API keys: %w", err)
	}
	defer release()
	keys, err := r.file.read()
	if err != nil {
		return fmt.Errorf("API keys: %w", err)
	}
	r.adopt(keys)
	if keys, err = edit(append([]*Key(nil), r.List()...)); err != nil {
		return err
	}
	if err := r.file.write(keys); err != nil {
		return fmt.Errorf("API keys: %w", err)
	}
	r.adopt(keys)
	return nil
}

// adopt publishes keys. One that was there before stays the same value, so that
// whoever holds it hears of its end. r.mu is held.
func (r *Ring) adopt(keys []*Key) {
	before := make(map[string]*Key, len(r.List()))
	for _, k := range r.List() {
		before[k.ID] = k
	}
	for i, k := range keys {
		if was := before[k.ID]; was != nil && was.hash == k.hash {
			if k.used.Load() > was.used.Load() {
				was.used.Store(k.used.Load())
			}
			keys[i] = was
			delete(before, k.ID)
		}
	}
	for _, k := range before {
		k.revoke()
	}
	r.publish(keys)
}

// reloadEvery is how soon a change by another process is seen.
const reloadEvery = 2 * time.Second

// Run follows the file until ctx ends: it takes over what others change and
// writes down, now and then and at the end, when keys were last used. A file
// that is found damaged changes nothing.
func (r *Ring) Run(ctx context.Context) {
	reload, flush := time.NewTicker(reloadEvery), time.NewTicker(UsedEvery)
	defer reload.Stop()
	defer flush.Stop()
	var reloading, flushing error // of the previous attempt; a repeated error is not logged again
	for {
		select {
		case <-ctx.Done():
			_ = r.note(flushing)
			return
		case <-reload.C:
			err := r.reload()
			if err != nil && reloading == nil {
				r.log.Error("the file of API keys; the keys stay as they were", "cause", err)
			}
			reloading = err
		case <-flush.C:
			flushing = r.note(flushing)
		}
	}
}

// note flushes and logs an error unless the previous flush failed too: a mounted
// secret cannot be written at all.
func (r *Ring) note(before error) error {
	err := r.Flush()
	if err != nil && before == nil {
		r.log.Warn("when API keys were last used is not noted", "cause", err)
	}
	return err
}

// reload takes over the file when it has changed.
func (r *Ring) reload() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil || !r.file.changed() {
		return nil
	}
	keys, err := r.file.read()
	if err != nil {
		return err
	}
	r.adopt(keys)
	return nil
}

// Flush writes down when keys were last used, where that is not known yet.
func (r *Ring) Flush() error {
	if r.file == nil || !r.file.stale(r.List()) {
		return nil
	}
	return r.change(func(keys []*Key) ([]*Key, error) { return keys, nil })
}
