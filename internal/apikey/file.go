package apikey

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/longwire/longwire/internal/private"
)

const (
	fileVersion = 1
	maxFile     = 2 << 20 // bytes: more than MaxKeys of the longest keys and maxGuards
	// lockPatience is how long a writer waits for another writer, which takes
	// milliseconds. It is longer than private.NewClaim takes to know that one has died.
	lockPatience = 10 * time.Second
)

// file is the keys on disk. A new state is written beside it, synced and renamed
// over it, so that a crash leaves one of the two.
//
// The new state's file is also the lock between processes: it is created
// exclusively, and the rename removes it. If the path is a symbolic link, the
// file that it points to is replaced, and the link stays.
type file struct {
	path   string
	target string         // path without symbolic links when the lock was taken
	info   fs.FileInfo    // of the state that was last read or written; nil = none
	fresh  *private.Claim // the new state while this process has the lock, else nil

	disk atomic.Pointer[onDisk]

	syncDir func(dir string) error // private.SyncDir outside of tests
}

// onDisk is the part of the file's content that changes without a call of Keyset.
type onDisk struct {
	used   map[string]int64 // last use of each key, Unix seconds
	guards []string
}

// content is the file as values.
type content struct {
	keys []*Key
	// guards are groups that a key was limited to and none of keys is, sorted.
	guards []string
}

// fileForm is the file's content as JSON.
type fileForm[K any] struct {
	Version int      `json:"version"`
	Keys    []K      `json:"keys"`
	Guards  []string `json:"guarded_groups,omitempty"`
}

type keyForm struct {
	ID         string    `json:"id"`
	Name       string    `json:"name"`
	Scopes     []string  `json:"scopes"`
	Prefix     *string   `json:"prefix,omitempty"` // never empty
	Group      *string   `json:"group,omitempty"`  // never empty
	CreatedAt  time.Time `json:"created_at"`
	ExpiresAt  time.Time `json:"expires_at,omitzero"`
	LastUsedAt time.Time `json:"last_used_at,omitzero"`
	SHA256     string    `json:"sha256"` // of the secret, in hex
}

// read returns the content on disk, none if there is no file. A file that another
// user can change is an error.
func (f *file) read() (content, error) {
	var none content
	if err := private.Trusted(f.path); err != nil {
		return none, err
	}
	if info, err := os.Stat(f.path); err == nil && !info.Mode().IsRegular() { // a named pipe would not open
		return none, fmt.Errorf("%s is not a regular file", f.path)
	}
	r, err := os.Open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		f.note(nil, none)
		return none, nil
	}
	if err != nil {
		return none, cmp.Or(private.InTheWay(filepath.Dir(f.path)), err)
	}
	defer r.Close()
	info, err := r.Stat()
	if err != nil {
		return none, err
	}
	b, err := private.ReadAll(r, f.path, maxFile)
	if err != nil {
		return none, err
	}
	c, err := decode(b)
	if err != nil {
		return none, fmt.Errorf("%s: %w", f.path, err)
	}
	f.note(info, c)
	return c, nil
}

// note remembers the state on disk.
func (f *file) note(info fs.FileInfo, c content) {
	f.info = info
	used := make(map[string]int64, len(c.keys))
	for _, k := range c.keys {
		used[k.ID] = k.used.Load()
	}
	f.disk.Store(&onDisk{used, c.guards})
}

// changed reports whether another process has written the file since.
func (f *file) changed() bool {
	info, err := os.Stat(f.path)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist) && f.info != nil
	}
	return f.info == nil || !os.SameFile(info, f.info) || !info.ModTime().Equal(f.info.ModTime()) || info.Size() != f.info.Size()
}

// stale reports whether the last uses or the guards on disk are out of date.
func (f *file) stale(c content) bool {
	disk := f.disk.Load()
	for _, k := range c.keys {
		if k.used.Load() > disk.used[k.ID] {
			return true
		}
	}
	return !slices.Equal(c.guards, disk.guards)
}

// next is the name of the new state's file.
func (f *file) next() string { return f.target + ".new" }

// lock creates an empty new state. It waits for lockPatience while another process has
// one. release removes it unless write has renamed it.
func (f *file) lock() (release func(), err error) {
	f.target = f.path
	if target, err := filepath.EvalSymlinks(f.path); err == nil {
		f.target = target
	}
	dir := filepath.Dir(f.target)
	if err := private.MakeDirs(dir); err != nil {
		return nil, err
	}
	if err := private.TrustedDir(dir); err != nil {
		return nil, err
	}
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		f.fresh, err = private.NewClaim(f.next())
		switch {
		case err == nil:
			return f.fresh.Release, nil
		case !errors.Is(err, fs.ErrExist):
			return nil, err
		case time.Since(began) > lockPatience:
			return nil, fmt.Errorf("another process is changing %s; if it has died, remove %s", f.target, f.next())
		}
	}
}

// write replaces the file. The caller holds the lock; success releases it. After an error
// the file may be the new one: it is not noted, so that changed says so.
func (f *file) write(c content) error {
	if _, err := f.fresh.Write(encode(c)); err != nil {
		return err
	}
	if err := f.fresh.Replace(f.target); err != nil {
		return err
	}
	if err := f.syncDir(filepath.Dir(f.target)); err != nil {
		return err
	}
	info, err := os.Stat(f.path)
	if err != nil {
		return err
	}
	f.note(info, c)
	return nil
}

func encode(c content) []byte {
	form := fileForm[keyForm]{Version: fileVersion, Keys: make([]keyForm, len(c.keys)), Guards: c.guards}
	for i, k := range c.keys {
		form.Keys[i] = keyForm{ID: k.ID, Name: k.Name, Scopes: k.Scopes.Names(), Prefix: orNone(k.Limit.Prefix), Group: orNone(k.Limit.Group),
			CreatedAt: k.CreatedAt, ExpiresAt: k.ExpiresAt, LastUsedAt: k.LastUsed(), SHA256: hex.EncodeToString(k.hash[:])}
	}
	b, err := json.MarshalIndent(form, "", "  ")
	if err != nil {
		panic(err) // plain types only
	}
	return append(b, '\n')
}

func orNone(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// decode checks every row. One bad row is an error of the whole file, and so is a member
// that it does not know: if the name of a limit is misspelled, the key has no limit.
func decode(b []byte) (c content, err error) {
	var form fileForm[json.RawMessage]
	if err := private.Decode(private.WithoutMark(b), &form, "version", "keys", "guarded_groups"); err != nil {
		return c, err
	}
	if form.Version != fileVersion {
		return c, fmt.Errorf("version %d, want %d", form.Version, fileVersion)
	}
	ids, secrets := make(map[string]bool), make(map[[32]byte]bool)
	c.keys = make([]*Key, 0, len(form.Keys))
	for i, text := range form.Keys {
		k, err := decodeKey(text)
		switch {
		case err != nil:
		case ids[k.ID]:
			err = errors.New("its id is there twice")
		case secrets[k.hash]:
			err = errors.New("its sha256 is there twice")
		}
		if err != nil {
			return c, fmt.Errorf("key %d: %w", i+1, err)
		}
		ids[k.ID], secrets[k.hash] = true, true
		c.keys = append(c.keys, k)
	}
	for _, name := range form.Guards {
		if name == "" || !plainName(name, maxGroup) {
			return c, fmt.Errorf("guarded_groups: %q is not the name of a group", name)
		}
	}
	c.guards = slices.Compact(slices.Sorted(slices.Values(form.Guards)))
	return c, nil
}

func decodeKey(text []byte) (*Key, error) {
	var row keyForm
	err := private.Decode(text, &row, "id", "name", "scopes", "prefix", "group", "created_at", "expires_at", "last_used_at", "sha256")
	if err != nil {
		return nil, err
	}
	if row.Prefix != nil && *row.Prefix == "" || row.Group != nil && *row.Group == "" {
		return nil, errors.New("its prefix or group is empty")
	}
	scopes, err := ParseScopes(row.Scopes)
	if err != nil {
		return nil, err
	}
	spec := Spec{Name: row.Name, Scopes: scopes}
	if row.Prefix != nil {
		spec.Limit.Prefix = *row.Prefix
	}
	if row.Group != nil {
		spec.Limit.Group = *row.Group
	}
	if err := spec.Check(row.CreatedAt); err != nil {
		return nil, err
	}
	hash, err := hex.DecodeString(row.SHA256)
	if err != nil || len(hash) != 32 || row.ID == "" {
		return nil, errors.New("it has no id, or no sha256 of 64 hex digits")
	}
	k := &Key{ID: row.ID, Name: row.Name, Scopes: scopes, Limit: spec.Limit, CreatedAt: row.CreatedAt, ExpiresAt: row.ExpiresAt,
		hash: [32]byte(hash)}
	if !row.LastUsedAt.IsZero() {
		k.used.Store(row.LastUsedAt.Unix())
	}
	return k, nil
}
