package apikey

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of what a key may be.
const (
	MaxKeys   = 1000                      // in one file
	MaxName   = 100                       // bytes
	MaxExpiry = 10 * 366 * 24 * time.Hour // from now
	// UsedEvery is how exactly LastUsed is kept.
	UsedEvery = time.Minute
)

// Key is a caller of the API. Its fields are fixed; what changes is behind
// methods, which any goroutine may call.
type Key struct {
	ID        string // key_ and a UUIDv7; of a configured key "key:" and a part of its hash
	Name      string // for people
	Scopes    Scope
	Limit     Limit
	CreatedAt time.Time // zero for a configured key
	ExpiresAt time.Time // zero = never

	guessable bool // a person chose the secret, and it is short

	hash    [sha256.Size]byte
	used    atomic.Int64 // Unix seconds of the last use, at most UsedEvery late; 0 = never
	revoked atomic.Bool
	once    sync.Once // makes the next two
	life    context.Context
	end     context.CancelFunc
}

// Anyone is the caller of an API that needs no key. It may do everything.
var Anyone = &Key{Name: "anyone", Scopes: Admin}

// Alive reports whether the key is good now: what goes on for long asks again.
func (k *Key) Alive(now time.Time) bool {
	return !k.revoked.Load() && (k.ExpiresAt.IsZero() || now.Before(k.ExpiresAt))
}

// Life returns a context that ends when the key is revoked. It does not end at
// ExpiresAt.
func (k *Key) Life() context.Context {
	k.once.Do(func() { k.life, k.end = context.WithCancel(context.Background()) })
	return k.life
}

// Ends reports whether the key may end at all: a configured one lives as long
// as the process.
func (k *Key) Ends() bool { return !k.CreatedAt.IsZero() }

// unguessable is the length in bytes from which a configured secret is taken for
// one that a machine has made.
const unguessable = 32

// Guessable reports whether the secret may be found by trying: a made one cannot.
func (k *Key) Guessable() bool { return k.guessable }

func (k *Key) revoke() {
	k.revoked.Store(true)
	k.Life()
	k.end()
}

// LastUsed is when the key was last used, to the minute; zero for never.
func (k *Key) LastUsed() time.Time {
	if s := k.used.Load(); s != 0 {
		return time.Unix(s, 0).UTC()
	}
	return time.Time{}
}

// touch notes a use. It writes once a minute, so that callers who share a key
// do not share a cache line that changes.
func (k *Key) touch(now time.Time) {
	at := now.Unix()
	if at-k.used.Load() >= int64(UsedEvery/time.Second) {
		k.used.Store(at)
	}
}

// Derive returns a key for another purpose, which only whoever knows this one's
// hash can make.
func (k *Key) Derive(purpose string) [sha256.Size]byte {
	m := hmac.New(sha256.New, k.hash[:])
	m.Write([]byte(purpose))
	return [sha256.Size]byte(m.Sum(nil))
}

// configured is a key of the settings: it may do everything and has no name but
// a part of its hash.
func configured(secret string) *Key {
	k := &Key{Name: "configured", Scopes: Admin, hash: digest(secret), guessable: len(secret) < unguessable}
	k.ID = "key:" + hex.EncodeToString(k.hash[:4])
	return k
}

// Spec is a key to be made.
type Spec struct {
	Name      string
	Scopes    Scope
	Limit     Limit
	ExpiresAt time.Time // zero = never
}

// SpecError says what is wrong with one member of a Spec.
type SpecError struct {
	Member string // name, scopes, prefix, group or expires_at
	Text   string
}

func (e *SpecError) Error() string { return e.Member + ": " + e.Text }

// Check returns a *SpecError for a key that cannot be.
func (s *Spec) Check(now time.Time) error {
	wrong := func(member, format string, args ...any) error {
		return &SpecError{member, fmt.Sprintf(format, args...)}
	}
	switch {
	case s.Name == "" || len(s.Name) > MaxName || !utf8.ValidString(s.Name) || strings.ContainsFunc(s.Name, unprintable):
		return wrong("name", "is 1 to %d bytes of printable text", MaxName)
	case s.Scopes == 0:
		return wrong("scopes", "needs at least one of %s", strings.Join(scopeNames[:], ", "))
	case !s.Limit.None() && s.Scopes&(Admin|MetricsRead) != 0:
		return wrong("scopes", "admin and metrics:read are about all clients and cannot be limited")
	case !s.ExpiresAt.IsZero() && !s.ExpiresAt.After(now):
		return wrong("expires_at", "is in the past")
	case s.ExpiresAt.After(now.Add(MaxExpiry)):
		return wrong("expires_at", "is more than 10 years ahead; leave it out for a key that does not expire")
	}
	return s.Limit.check()
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// Errors of the ring.
var (
	ErrUnknown = errors.New("the API key is not valid")
	ErrExpired = errors.New("the API key has expired")
	ErrNoKey   = errors.New("no such API key")
	ErrFull    = fmt.Errorf("there are %d API keys, which is the most; delete some", MaxKeys)
)

func sortByID(keys []*Key) {
	slices.SortFunc(keys, func(a, b *Key) int { return strings.Compare(a.ID, b.ID) })
}
