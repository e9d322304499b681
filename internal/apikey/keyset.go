// Package apikey has the callers of the API: keys with scopes and limits, their
// secrets, and the file of keys.
//
// The file has the SHA-256 of each secret, and no secret. A user who can write it
// can make keys, so only the gateway's user may have access.
package apikey

import (
	"context"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/longwire/longwire/internal/private"
)

// Keyset has all keys of a gateway: the fixed keys of the settings and the keys of
// its file. All methods may be called from any goroutine.
type Keyset struct {
	fixed    []*Key
	log      *slog.Logger
	required atomic.Bool
	keys     atomic.Pointer[table]

	mu   sync.Mutex // held to change keys or the file
	file *file      // nil = in memory only
}

// table is one state of the keyset; it is replaced as a whole.
type table struct {
	list []*Key // of the file, by id
	// byHash has every key under the first bytes of its hash. These reveal
	// nothing of a secret; the rest is compared in constant time.
	byHash map[uint64]*Key
	byID   map[string]*Key
	// groups are those that a key is limited to or was: a tenant's group stays its own
	// while its keys rotate.
	groups   map[string]bool
	prefixes map[string]bool // ids that a key is limited to begin with one of them
	lengths  []int           // of the prefixes, the longest first
}

// NewKeyset returns a keyset of configured secrets, which may do everything. Keys
// that are created in it are not stored.
func NewKeyset(secrets ...string) *Keyset {
	ks := &Keyset{log: slog.New(slog.DiscardHandler)}
	for _, s := range secrets {
		ks.fixed = append(ks.fixed, configured(s))
	}
	ks.publish(content{})
	return ks
}

// Open returns the keyset of a file, which need not exist yet, and of configured
// secrets. A file that cannot be read or is damaged is an error: without its keys
// the gateway would refuse valid callers or accept everyone.
func Open(path string, log *slog.Logger, secrets ...string) (*Keyset, error) {
	ks := NewKeyset(secrets...)
	ks.log, ks.file = log, &file{path: path, syncDir: private.SyncDir}
	c, err := ks.file.read()
	if err != nil {
		return nil, fmt.Errorf("API keys: %w", err)
	}
	ks.publish(c)
	return ks, nil
}

// publish makes c the current state. Groups that are guarded stay so.
func (ks *Keyset) publish(c content) {
	slices.SortFunc(c.keys, func(a, b *Key) int { return strings.Compare(a.ID, b.ID) })
	t := &table{list: c.keys, byHash: make(map[uint64]*Key), byID: make(map[string]*Key), groups: make(map[string]bool), prefixes: make(map[string]bool)}
	if before := ks.keys.Load(); before != nil {
		maps.Copy(t.groups, before.groups)
	}
	for _, name := range c.guards {
		t.groups[name] = true
	}
	for _, k := range c.keys {
		t.byHash[index(&k.hash)], t.byID[k.ID] = k, k
		if k.Limit.Group != "" {
			t.groups[k.Limit.Group] = true
		}
		if p := k.Limit.Prefix; p != "" && !t.prefixes[p] {
			t.prefixes[p] = true
			t.lengths = append(t.lengths, len(p))
		}
	}
	for _, k := range ks.fixed {
		t.byHash[index(&k.hash)], t.byID[k.ID] = k, k
	}
	slices.SortFunc(t.lengths, func(a, b int) int { return b - a })
	t.lengths = slices.Compact(t.lengths)
	ks.keys.Store(t)
	if len(t.byHash) > 0 {
		ks.required.Store(true)
	}
}

func index(hash *[32]byte) uint64 { return binary.BigEndian.Uint64(hash[:8]) }

// Required reports whether callers need a key: after the first key exists, and
// then until the process ends. So removing the last key does not open the API.
func (ks *Keyset) Required() bool { return ks.required.Load() }

// Authenticate returns the key of a secret and notes its use.
func (ks *Keyset) Authenticate(secret string, now time.Time) (*Key, error) {
	hash := digest(secret)
	k := ks.keys.Load().byHash[index(&hash)]
	if k == nil || subtle.ConstantTimeCompare(hash[:], k.hash[:]) != 1 {
		if err := CheckSecret(secret); err != nil {
			return nil, err
		}
		return nil, ErrUnknown
	}
	if !k.Alive(now) {
		return nil, ErrExpired
	}
	k.Touch(now)
	return k, nil
}

// List returns the keys of the file by id, which is the order of creation.
func (ks *Keyset) List() []*Key { return ks.keys.Load().list }

// ByID returns the key with an id, also one of the settings; nil if there is none. It may
// have expired.
func (ks *Keyset) ByID(id string) *Key { return ks.keys.Load().byID[id] }

// Get returns one key of the file. Errors: ErrNoKey.
func (ks *Keyset) Get(id string) (*Key, error) {
	list := ks.List()
	if i := indexOf(list, id); i >= 0 {
		return list[i], nil
	}
	return nil, ErrNoKey
}

func indexOf(keys []*Key, id string) int {
	return slices.IndexFunc(keys, func(k *Key) bool { return k.ID == id })
}

// AccountOf returns the account of the tenant that a client belongs to, "" for none: that
// of the longest prefix of its id that a key is limited to, else of the first of its groups
// that is guarded.
func (ks *Keyset) AccountOf(id string, groups []string) string {
	t := ks.keys.Load()
	if a := t.accountOf(id); a != "" {
		return a
	}
	for _, name := range groups {
		if t.groups[name] {
			return Limit{Group: name}.Owner()
		}
	}
	return ""
}

func (t *table) accountOf(id string) string {
	for _, n := range t.lengths {
		if n <= len(id) && t.prefixes[id[:n]] {
			return Limit{Prefix: id[:n]}.Owner()
		}
	}
	return ""
}

// with returns the state with other keys, as the file keeps it: the groups that none of
// them is limited to stay guarded.
func (t *table) with(keys []*Key) content {
	guards := maps.Clone(t.groups)
	for _, k := range keys {
		delete(guards, k.Limit.Group)
	}
	return content{keys, slices.Sorted(maps.Keys(guards))}
}

// GuardsGroup reports whether a key is limited to the group, or was.
// Membership is then a right that a tenant may not give to its own clients.
func (ks *Keyset) GuardsGroup(name string) bool { return ks.keys.Load().groups[name] }

// GuardsID reports whether a key is limited to a prefix of the client id.
func (ks *Keyset) GuardsID(id string) bool {
	return ks.keys.Load().accountOf(id) != ""
}

// GuardedGroups are the groups of GuardsGroup. The map does not change.
func (ks *Keyset) GuardedGroups() map[string]bool { return ks.keys.Load().groups }

// Create creates a key and returns it with its secret when the key is on disk.
// The secret is not stored. Errors: *SpecError, ErrFull (of keys or of groups).
func (ks *Keyset) Create(s Spec, now time.Time) (k *Key, secret string, err error) {
	if err := s.Check(now); err != nil {
		return nil, "", err
	}
	if !s.ExpiresAt.IsZero() {
		s.ExpiresAt = WholeSecond(s.ExpiresAt)
	}
	k = &Key{ID: "key_" + uuid.Must(uuid.NewV7()).String(), Name: s.Name, Scopes: s.Scopes, Limit: s.Limit,
		CreatedAt: now.UTC().Truncate(time.Second), ExpiresAt: s.ExpiresAt}
	secret = newSecret()
	k.hash = digest(secret)
	err = ks.change(func(keys []*Key) ([]*Key, error) {
		if len(keys) >= MaxKeys {
			return nil, ErrFull
		}
		if g := s.Limit.Group; g != "" && !ks.GuardsGroup(g) && len(ks.GuardedGroups()) >= maxGuards {
			return nil, guardsFull{}
		}
		return append(keys, k), nil
	})
	if err != nil {
		return nil, "", err
	}
	return k, secret, nil
}

// WholeSecond returns the end of a key or token as files have it: the first full second at
// or after t, so that nothing ends sooner than it was asked to.
func WholeSecond(t time.Time) time.Time {
	return t.UTC().Add(time.Second - time.Nanosecond).Truncate(time.Second)
}

// Revoke ends a key and all calls under it at once, and removes it. Errors:
// ErrNoKey.
func (ks *Keyset) Revoke(id string) error {
	return ks.change(func(keys []*Key) ([]*Key, error) {
		if i := indexOf(keys, id); i >= 0 {
			return slices.Delete(keys, i, i+1), nil
		}
		return nil, ErrNoKey
	})
}

// change applies edit to the keys of the file. It reads the file again first,
// because another process may have changed it: a command that found no gateway
// running while this one started.
func (ks *Keyset) change(edit func([]*Key) ([]*Key, error)) error {
	ks.mu.Lock()
	defer ks.mu.Unlock()
	if ks.file == nil {
		keys, err := edit(slices.Clone(ks.List()))
		if err == nil {
			ks.adoptLocked(content{keys: keys})
		}
		return err
	}
	release, err := ks.file.lock()
	if err != nil {
		return fmt.Errorf("API keys: %w", err)
	}
	defer release()
	c, err := ks.file.read()
	if err != nil {
		return fmt.Errorf("API keys: %w", err)
	}
	ks.adoptLocked(c)
	keys, err := edit(slices.Clone(ks.List()))
	if err != nil {
		return err
	}
	c = ks.keys.Load().with(keys)
	if err := ks.file.write(c); err != nil {
		return fmt.Errorf("API keys: %w", err)
	}
	ks.adoptLocked(c)
	return nil
}

// adoptLocked publishes c. A known key keeps its value, so that its revocation
// reaches the callers that hold it. A key that another process has changed gets a new
// value: calls under the old one end, because their rights may have become fewer.
func (ks *Keyset) adoptLocked(c content) {
	before := make(map[string]*Key, len(ks.List()))
	for _, k := range ks.List() {
		before[k.ID] = k
	}
	for i, k := range c.keys {
		was := before[k.ID]
		if was == nil || was.hash != k.hash {
			continue
		}
		used := max(k.used.Load(), was.used.Load())
		if was.equal(k) {
			c.keys[i] = was
			delete(before, k.ID)
		}
		c.keys[i].used.Store(used)
	}
	for _, k := range before {
		k.revoke()
	}
	ks.publish(c)
}

// reloadEvery is how soon a change by another process takes effect.
const reloadEvery = 2 * time.Second

// Run follows the file until ctx ends. It takes over changes by other processes,
// and writes the last uses of keys from time to time and at the end. A damaged
// file changes nothing.
func (ks *Keyset) Run(ctx context.Context) {
	reload, flush := time.NewTicker(reloadEvery), time.NewTicker(UsedEvery)
	defer reload.Stop()
	defer flush.Stop()
	var reloading, flushing error // of the previous attempt; a repeated error is not logged again
	for {
		select {
		case <-ctx.Done():
			_ = ks.note(flushing)
			return
		case <-reload.C:
			err := ks.reload()
			if err != nil && reloading == nil {
				ks.log.Error("the file of API keys cannot be used; the keys stay as they are", "cause", err)
			}
			reloading = err
		case <-flush.C:
			flushing = ks.note(flushing)
		}
	}
}

// note flushes and logs an error unless the previous flush failed, too: a mounted
// secret cannot be written at all.
func (ks *Keyset) note(before error) error {
	err := ks.Flush()
	if err != nil && before == nil {
		ks.log.Warn("the last uses of API keys cannot be written", "cause", err)
	}
	return err
}

// reload takes over the file if it has changed.
func (ks *Keyset) reload() error {
	ks.mu.Lock()
	defer ks.mu.Unlock()
	if ks.file == nil || !ks.file.changed() {
		return nil
	}
	c, err := ks.file.read()
	if err != nil {
		return err
	}
	ks.adoptLocked(c)
	return nil
}

// Flush writes the last uses of keys, and the groups whose keys were removed from the
// file by hand, if those on disk are out of date.
func (ks *Keyset) Flush() error {
	if t := ks.keys.Load(); ks.file == nil || !ks.file.stale(t.with(t.list)) {
		return nil
	}
	return ks.change(func(keys []*Key) ([]*Key, error) { return keys, nil })
}
