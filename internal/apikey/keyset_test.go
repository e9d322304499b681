package apikey

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/longwire/longwire/internal/private"
)

var quiet = slog.New(slog.DiscardHandler)

func open(t *testing.T, path string, secrets ...string) *Keyset {
	t.Helper()
	r, err := Open(path, quiet, secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func create(t *testing.T, r *Keyset, s Spec) (*Key, string) {
	t.Helper()
	k, secret, err := r.Create(s, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return k, secret
}

func TestSecretsAreOfTheirForm(t *testing.T) {
	seen := map[string]bool{}
	letters := map[rune]int{}
	for range 500 {
		s := newSecret()
		if !regexp.MustCompile(`^lwk_[0-9A-Za-z]{49}$`).MatchString(s) || seen[s] || CheckSecret(s) != nil {
			t.Fatalf("%q: want a new secret of the form, with its checksum", s)
		}
		seen[s] = true
		for _, c := range s[len(SecretPrefix) : len(SecretPrefix)+randomLen] {
			letters[c]++
		}
	}
	for _, c := range alphabet { // 500 × 43 / 62 = 347 each
		if n := letters[c]; n < 230 || n > 490 {
			t.Errorf("%c is drawn %d times of 21500, want about 347", c, n)
		}
	}
}

// TestTyposAreFound: any letter wrong, any two neighbours swapped.
func TestTyposAreFound(t *testing.T) {
	s := []byte(newSecret())
	for i := len(SecretPrefix); i < len(s); i++ {
		wrong := bytes.Clone(s)
		wrong[i] = alphabet[(strings.IndexByte(alphabet, s[i])+7)%62]
		if CheckSecret(string(wrong)) != ErrMistyped {
			t.Errorf("letter %d wrong is not found", i)
		}
		if i+1 < len(s) && s[i] != s[i+1] {
			swapped := bytes.Clone(s)
			swapped[i], swapped[i+1] = s[i+1], s[i]
			if CheckSecret(string(swapped)) != ErrMistyped {
				t.Errorf("letters %d and %d swapped is not found", i, i+1)
			}
		}
	}
	if CheckSecret("lwk_a-key-that-a-person-made") != nil {
		t.Error("a configured key is taken for a typo")
	}
}

// A key lives for at least as long as its maker has asked for, and at most a second longer,
// also one that was asked for ten years.
func TestAKeyDoesNotEndEarly(t *testing.T) {
	r := NewKeyset()
	for _, fraction := range []time.Duration{0, time.Nanosecond, 300 * time.Millisecond, 999 * time.Millisecond} {
		for _, life := range []time.Duration{time.Second, time.Hour, MaxExpiry} {
			now := time.Date(2026, time.November, 30, 21, 50, 48, 0, time.UTC).Add(fraction)
			k, _, err := r.Create(Spec{Name: "x", Scopes: ClientsRead, ExpiresAt: now.Add(life)}, now)
			if err != nil {
				t.Fatal(err)
			}
			if got := k.ExpiresAt.Sub(now); got < life || got >= life+time.Second || k.ExpiresAt.Nanosecond() != 0 {
				t.Errorf("a key for %v made at %v ends after %v", life, now, got)
			}
		}
	}
}

func TestAuthenticate(t *testing.T) {
	r := NewKeyset("lwk_configured-by-hand", "lwk_"+strings.Repeat("long", 100))
	now := time.Now()
	k, secret := create(t, r, Spec{Name: "x", Scopes: ClientsRead, Limit: Limit{Prefix: "a-"}, ExpiresAt: now.Add(time.Hour)})
	if got, err := r.Authenticate(secret, now); got != k || err != nil {
		t.Errorf("got %v, %v", got, err)
	}
	for _, fixed := range []string{"lwk_configured-by-hand", "lwk_" + strings.Repeat("long", 100)} {
		got, err := r.Authenticate(fixed, now)
		if err != nil || !got.Scopes.Allows(Admin) || !got.Limit.None() || strings.Contains(got.ID, fixed[4:]) {
			t.Errorf("%s: %+v, %v, want full rights under a name that is not the secret", fixed, got, err)
		}
	}
	for _, wrong := range []string{"", "lwk_", "lwk_configured-by-han", "lwk_configured-by-hand2", newSecret()} {
		if _, err := r.Authenticate(wrong, now); err != ErrUnknown {
			t.Errorf("%q: %v, want ErrUnknown", wrong, err)
		}
	}
	if _, err := r.Authenticate(secret, k.ExpiresAt); err != ErrExpired {
		t.Errorf("at its end: %v, want ErrExpired", err)
	}
	if err := r.Revoke(k.ID); err != nil || k.Alive(now) {
		t.Errorf("revoke: %v, alive %v", err, k.Alive(now))
	}
	if _, err := r.Authenticate(secret, now); err != ErrUnknown {
		t.Errorf("revoked: %v", err)
	}
	if err := r.Revoke(k.ID); err != ErrNoKey {
		t.Errorf("revoked twice: %v", err)
	}
}

// TestTheWholeHashCounts: the part by which a key is found is not enough.
func TestTheWholeHashCounts(t *testing.T) {
	r := NewKeyset("lwk_0123456789abcdef")
	k := r.fixed[0]
	k.hash[31] ^= 1 // as of another secret whose hash begins alike
	if _, err := r.Authenticate("lwk_0123456789abcdef", time.Now()); err != ErrUnknown {
		t.Errorf("%v, want ErrUnknown", err)
	}
}

func TestRequiredFromTheFirstKeyOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "keys.json")
	r := open(t, path)
	if r.Required() {
		t.Error("required without a key")
	}
	k, _ := create(t, r, Spec{Name: "x", Scopes: Admin})
	if err := r.Revoke(k.ID); err != nil || !r.Required() {
		t.Errorf("%v; required %v after the last key is gone, want true", err, r.Required())
	}
	if open(t, path).Required() {
		t.Error("a new process with no key requires one")
	}
	if !open(t, path, "lwk_0123456789abcdef").Required() {
		t.Error("a configured key is not required")
	}
}

func TestKeysAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	r := open(t, path)
	k, secret := create(t, r, Spec{Name: "acme", Scopes: ClientsRead | EventsRead, Limit: Limit{Group: "g"}, ExpiresAt: time.Now().Add(time.Hour)})
	if _, err := r.Authenticate(secret, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := r.Flush(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(b), secret) || strings.Contains(string(b), secret[4:20]) {
		t.Errorf("%v; the file has the secret:\n%s", err, b)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode())
	}
	again := open(t, path)
	got, err := again.Authenticate(secret, time.Now())
	if err != nil || got.Info(time.Now()).Name != "acme" || got.Scopes != k.Scopes || got.Limit != k.Limit || !got.ExpiresAt.Equal(k.ExpiresAt) ||
		!got.CreatedAt.Equal(k.CreatedAt) || got.LastUsed().IsZero() {
		t.Errorf("read back: %+v, %v; want %+v", got, err, k)
	}
	if !again.GuardsGroup("g") || again.GuardsGroup("h") {
		t.Error("the group that a key is limited to is not guarded, or another is")
	}
	if _, err := os.Stat(path + ".new"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
}

// TestDamageIsNotStartedWith: a gateway must not take a broken file for no keys.
func TestDamageIsNotStartedWith(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	create(t, open(t, path), Spec{Name: "x", Scopes: Admin})
	whole, _ := os.ReadFile(path)
	for name, content := range map[string]string{
		"cut":          string(whole[:len(whole)/2]),
		"empty":        "",
		"no version":   `{"keys":[]}`,
		"newer":        strings.Replace(string(whole), `"version": 1`, `"version": 2`, 1),
		"short hash":   regexp.MustCompile(`"sha256": "..`).ReplaceAllString(string(whole), `"sha256": "`),
		"long hash":    strings.Replace(string(whole), `"sha256": "`, `"sha256": "00`, 1),
		"no hex":       regexp.MustCompile(`"sha256": "..`).ReplaceAllString(string(whole), `"sha256": "zz`),
		"no id":        regexp.MustCompile(`"id": "[^"]*"`).ReplaceAllString(string(whole), `"id": ""`),
		"no name":      strings.Replace(string(whole), `"name": "x"`, `"name": ""`, 1),
		"scope":        strings.Replace(string(whole), `"admin"`, `"everything"`, 1),
		"twice":        regexp.MustCompile(`(?s)(\{\s*"id".*?\n    \})`).ReplaceAllString(string(whole), "$1,$1"),
		"limited root": strings.Replace(string(whole), `"name"`, `"prefix": "a", "name"`, 1),
		"misspelled":   strings.Replace(string(whole), `"name"`, `"prefx": "a-", "name"`, 1),
		"other case":   strings.Replace(string(whole), `"name"`, `"Expires_At": "2030-01-01T00:00:00Z", "name"`, 1),
		"two members":  strings.Replace(string(whole), `"name"`, `"name": "y", "name"`, 1),
		"null":         strings.Replace(string(whole), `"name"`, `"expires_at": null, "name"`, 1),
		"no prefix":    strings.Replace(string(whole), `"name"`, `"prefix": "", "name"`, 1),
		"no group":     strings.Replace(string(whole), `"name"`, `"group": "", "name"`, 1),
		"null key":     strings.Replace(string(whole), `"keys": [`, `"keys": [null,`, 1),
		"null keys":    `{"version":1,"keys":null}`,
		"no such list": strings.Replace(string(whole), `"version"`, `"guarded_group": ["g"], "version"`, 1),
		"two lists":    strings.Replace(string(whole), `"version"`, `"Keys": [], "version"`, 1),
		"one secret":   regexp.MustCompile(`(?s)\{\s*"id": "[^"]*"(.*?\n    \})`).ReplaceAllString(string(whole), `{"id":"key_1"$1,{"id":"key_2"$1`),
		"followed":     string(whole) + "{}",
		"padded":       string(whole) + strings.Repeat(" ", maxFile),
		"huge":         strings.Repeat(" ", maxFile+1),
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := Open(path, quiet); err == nil {
			t.Errorf("%s: opened with %d keys, want an error", name, len(r.List()))
		}
	}
}

// TestAFullDiskChangesNothing: a key that could not be written is not valid.
func TestAFullDiskChangesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "keys.json")
	r := open(t, path)
	k, _ := create(t, r, Spec{Name: "x", Scopes: Admin})
	if err := os.Mkdir(path+".new", 0o700); err != nil { // nothing can be written there
		t.Fatal(err)
	}
	os.WriteFile(filepath.Join(path+".new", "full"), nil, 0o600) // and it cannot be removed
	old := time.Now().Add(-time.Hour)
	os.Chtimes(path+".new", old, old)
	done := make(chan error)
	go func() { _, _, err := r.Create(Spec{Name: "y", Scopes: Admin}, time.Now()); done <- err }()
	select {
	case err := <-done:
		if err == nil {
			t.Error("a key was made without being written")
		}
	case <-time.After(time.Minute):
		t.Fatal("it waits for ever")
	}
	if len(r.List()) != 1 || !k.Alive(time.Now()) {
		t.Errorf("%d keys, want the one that was there", len(r.List()))
	}
}

// TestTwoProcessesShareTheFile: neither process loses a change of the other one,
// and each takes it over.
func TestTwoProcessesShareTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	server, command := open(t, path), open(t, path)
	first, _ := create(t, server, Spec{Name: "first", Scopes: Admin})
	held := server.List()[0]
	_, secret := create(t, command, Spec{Name: "second", Scopes: ClientsRead})
	if err := server.reload(); err != nil {
		t.Fatal(err)
	}
	if _, err := server.Authenticate(secret, time.Now()); err != nil {
		t.Errorf("the other's key: %v", err)
	}
	if server.List()[0] != held {
		t.Error("a key that stays is another value after a reload")
	}
	if err := command.Revoke(first.ID); err != nil {
		t.Fatal(err)
	}
	create(t, server, Spec{Name: "third", Scopes: Admin}) // must not bring the first one back
	if held.Alive(time.Now()) {
		t.Error("what is held of a revoked key is alive")
	}
	var names []string
	for _, k := range open(t, path).List() {
		names = append(names, k.Name)
	}
	if fmt.Sprint(names) != "[second third]" {
		t.Errorf("keys %v, want second and third", names)
	}
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if _, _, err := []*Keyset{server, command}[i%2].Create(Spec{Name: fmt.Sprint(i), Scopes: Admin}, time.Now()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := len(open(t, path).List()); got != 22 {
		t.Errorf("%d keys after 20 at once, want 22", got)
	}
}

// TestAChangeOfAKeyIsTakenOver: less scopes, another limit or an earlier end, written
// into the file, hold for the next call, end the calls under way, and are not undone.
func TestAChangeOfAKeyIsTakenOver(t *testing.T) {
	for name, change := range map[string]struct {
		from, to string
		valid    bool
	}{
		"scopes":  {`"messages:write"`, `"messages:read"`, true},
		"limit":   {`"name"`, `"prefix": "acme-", "name"`, true},
		"end":     {`"name"`, `"expires_at": "2020-01-01T00:00:00Z", "name"`, false},
		"name":    {`"name": "x"`, `"name": "y"`, true},
		"nothing": {`"name"`, ` "name"`, true},
	} {
		path := filepath.Join(t.TempDir(), "keys.json")
		r := open(t, path)
		held, secret := create(t, r, Spec{Name: "x", Scopes: ClientsRead | MessagesWrite})
		if _, err := r.Authenticate(secret, time.Now()); err != nil {
			t.Fatal(err)
		}
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		edited := strings.Replace(string(whole), change.from, change.to, 1)
		if err := os.WriteFile(path, []byte(edited), 0o600); err != nil {
			t.Fatal(err)
		}
		want := rights(open(t, path).List()[0])
		if err := r.reload(); err != nil {
			t.Fatal(err)
		}
		got := r.List()[0]
		if rights(got) != want {
			t.Errorf("%s: the key is %s, want %s as in the file", name, rights(got), want)
		}
		if _, err := r.Authenticate(secret, time.Now()); (err == nil) != change.valid {
			t.Errorf("%s: %v, want it valid: %v", name, err, change.valid)
		}
		if held.Alive(time.Now()) != (name == "nothing") {
			t.Errorf("%s: the calls under way go on: %v", name, held.Alive(time.Now()))
		}
		if got.LastUsed().IsZero() {
			t.Errorf("%s: the last use is lost", name)
		}
		if err := r.Flush(); err != nil {
			t.Fatal(err)
		}
		if after := rights(open(t, path).List()[0]); after != want {
			t.Errorf("%s: the gateway has written %s over it", name, after)
		}
	}
}

func rights(k *Key) string {
	return fmt.Sprint(k.Name, k.Scopes, k.Limit, k.CreatedAt.UTC(), k.ExpiresAt.UTC())
}

// A byte order mark, which editors on Windows write, is no damage.
func TestAByteOrderMarkIsSkipped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	create(t, open(t, path), Spec{Name: "x", Scopes: Admin})
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append([]byte("\ufeff"), whole...), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := Open(path, quiet); err != nil || len(r.List()) != 1 {
		t.Errorf("a file with a byte order mark: %v", err)
	}
}

// TestALockOfTheDeadIsTaken after a while, also if the clock was set back since.
func TestALockOfTheDeadIsTaken(t *testing.T) {
	for name, age := range map[string]time.Duration{"old": 2 * lockPatience, "of a clock that was ahead": -3 * lockPatience} {
		path := filepath.Join(t.TempDir(), "keys.json")
		r := open(t, path)
		if err := os.WriteFile(path+".new", []byte("half a fi"), 0o600); err != nil {
			t.Fatal(err)
		}
		made := time.Now().Add(-age)
		if err := os.Chtimes(path+".new", made, made); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		create(t, r, Spec{Name: "x", Scopes: Admin})
		if took := time.Since(began); took > lockPatience {
			t.Errorf("%s: it took %v", name, took)
		}
	}
}

// TestASlowWriterKeepsItsLock, and nobody waits for it for ever.
func TestASlowWriterKeepsItsLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "keys.json")
		r := open(t, path)
		slow, err := private.NewClaim(path + ".new")
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, _, err = r.Create(Spec{Name: "x", Scopes: Admin}, began)
		if err == nil || !strings.Contains(err.Error(), "another process is changing") || time.Since(began) > 2*lockPatience {
			t.Errorf("after %v: %v, want to hear of the other process", time.Since(began), err)
		}
		slow.Release()
		create(t, r, Spec{Name: "x", Scopes: Admin})
	})
}

// TestRunFollowsTheFile and notes uses, in virtual time.
func TestRunFollowsTheFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "keys.json")
		var log bytes.Buffer
		server, err := Open(path, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { server.Run(ctx) })
		k, secret := create(t, open(t, path), Spec{Name: "x", Scopes: Admin})
		time.Sleep(reloadEvery + time.Millisecond)
		synctest.Wait()
		if !server.Required() {
			t.Error("a key of another process is not seen")
		}
		if _, err := server.Authenticate(secret, time.Now()); err != nil {
			t.Error(err)
		}
		time.Sleep(UsedEvery + time.Millisecond)
		synctest.Wait()
		if used := open(t, path).List()[0].LastUsed(); used.IsZero() {
			t.Error("the use is not written down")
		}
		whole, _ := os.ReadFile(path)
		os.WriteFile(path, []byte("{"), 0o600)
		time.Sleep(3 * reloadEvery)
		synctest.Wait()
		if _, err := server.Authenticate(secret, time.Now()); err != nil || strings.Count(log.String(), "level=ERROR") != 1 {
			t.Errorf("with a damaged file: %v; log %q, want the keys as they were and one line", err, log.String())
		}
		os.WriteFile(path, whole, 0o600)
		time.Sleep(2 * reloadEvery)
		if err := open(t, path).Revoke(k.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * reloadEvery)
		synctest.Wait()
		if _, err := server.Authenticate(secret, time.Now()); err != ErrUnknown {
			t.Errorf("revoked by another process: %v", err)
		}
		stop()
		running.Wait()
	})
}

func TestUsesAreNotedOnceAMinute(t *testing.T) {
	k := &Key{}
	at := time.Unix(1_000_000, 0)
	for _, step := range []struct {
		after time.Duration
		want  int64
	}{{0, 1_000_000}, {59 * time.Second, 1_000_000}, {60 * time.Second, 1_000_060}, {61 * time.Second, 1_000_060}} {
		k.Touch(at.Add(step.after))
		if got := k.LastUsed().Unix(); got != step.want {
			t.Errorf("after %s: %d, want %d", step.after, got, step.want)
		}
	}
}

func TestCovers(t *testing.T) {
	a, wide, g := Limit{Prefix: "acme-x"}, Limit{Prefix: "acme-"}, Limit{Group: "acme-"}
	for _, c := range []struct {
		l     Limit
		owner string
		want  bool
	}{
		{Limit{}, "", true}, {Limit{}, a.Owner(), true},
		{a, "", false}, {a, a.Owner(), true}, {a, wide.Owner(), false}, {wide, a.Owner(), true}, {wide, "prefix:acme", false},
		{g, g.Owner(), true}, {g, wide.Owner(), false}, {wide, g.Owner(), false}, {g, "group:acme-2", false}, {g, "", false},
	} {
		if got := c.l.Covers(c.owner); got != c.want {
			t.Errorf("%+v covers %q: %v, want %v", c.l, c.owner, got, c.want)
		}
	}
}

func TestDerivedKeysDiffer(t *testing.T) {
	r := NewKeyset("lwk_0123456789abcdef", "lwk_fedcba9876543210")
	a, b := r.fixed[0], r.fixed[1]
	if x, again := a.Derive("x"), a.Derive("x"); x != again || x == b.Derive("x") || x == a.Derive("y") {
		t.Error("derived keys are not one for each key and purpose")
	}
}

func TestScopes(t *testing.T) {
	for _, name := range ScopeNames() {
		s, err := ParseScopes([]string{name})
		if err != nil || s.String() != name || !s.Allows(s) || !Admin.Allows(s) || name != "admin" && s.Allows(Admin) {
			t.Errorf("%s: %v, %v", name, s, err)
		}
	}
	if _, err := ParseScopes([]string{"clients:read", "clients"}); err == nil {
		t.Error("an unknown scope is taken")
	}
	if ClientsWrite.Allows(ClientsRead) {
		t.Error("writing includes reading")
	}
}

func BenchmarkAuthenticate(b *testing.B) {
	r := NewKeyset()
	var secret string
	for i := range MaxKeys {
		_, secret, _ = r.Create(Spec{Name: fmt.Sprint(i), Scopes: Admin}, time.Now())
	}
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Authenticate(secret, now); err != nil {
			b.Fatal(err)
		}
	}
}

// A tenant's group stays its own when its last key is gone, for the next key may come
// later; ids belong to the tenant with the longest prefix.
func TestTenantsBetweenTwoKeys(t *testing.T) {
	ks, now := NewKeyset(), time.Now()
	old, _, err := ks.Create(Spec{Name: "old", Scopes: ClientsRead, Limit: Limit{Group: "gang"}}, now)
	if err != nil {
		t.Fatal(err)
	}
	for _, prefix := range []string{"a-", "a-eu-", "b"} {
		if _, _, err := ks.Create(Spec{Name: prefix, Scopes: ClientsRead, Limit: Limit{Prefix: prefix}}, now); err != nil {
			t.Fatal(err)
		}
	}
	if err := ks.Revoke(old.ID); err != nil {
		t.Fatal(err)
	}
	if !ks.GuardsGroup("gang") || !ks.GuardedGroups()["gang"] {
		t.Error("the group is free between two keys")
	}
	for id, want := range map[string]string{"a-1": "prefix:a-", "a-eu-1": "prefix:a-eu-", "a": "", "b": "prefix:b", "c-1": ""} {
		if got := ks.AccountOf(id, nil); got != want {
			t.Errorf("%s belongs to %q, want %q", id, got, want)
		}
	}
	for want, groups := range map[string][]string{"": {"other"}, "group:gang": {"a", "gang"}} {
		if got := ks.AccountOf("c-1", groups); got != want {
			t.Errorf("a client in %q belongs to %q, want %q", groups, got, want)
		}
	}
	if got := ks.AccountOf("a-1", []string{"gang"}); got != "prefix:a-" {
		t.Errorf("a-1 in the group belongs to %q: its id comes first", got)
	}
}

// TestAGroupIsGuardedAfterARestart that finds no key of it, whoever removed the last one,
// until a new key takes the group over.
func TestAGroupIsGuardedAfterARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	gang := Spec{Name: "x", Scopes: ClientsRead, Limit: Limit{Group: "gang"}}
	guarded := func(when string, ks *Keyset, want ...string) {
		t.Helper()
		if got := slices.Sorted(maps.Keys(ks.GuardedGroups())); !slices.Equal(got, want) {
			t.Errorf("%s: %q are guarded, want %q", when, got, want)
		}
	}
	ks := open(t, path)
	old, _ := create(t, ks, gang)
	if err := ks.Revoke(old.ID); err != nil {
		t.Fatal(err)
	}
	ks = open(t, path)
	guarded("revoked", ks, "gang")
	create(t, ks, gang)
	if b, err := os.ReadFile(path); err != nil || strings.Contains(string(b), "guarded_groups") {
		t.Errorf("with a key: %s, %v", b, err)
	}
	if err := os.WriteFile(path, []byte(`{"version": 1, "keys": []}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := ks.reload(); err != nil {
		t.Fatal(err)
	}
	if err := ks.Flush(); err != nil {
		t.Fatal(err)
	}
	ks = open(t, path)
	guarded("removed by hand", ks, "gang")
	create(t, ks, Spec{Name: "y", Scopes: ClientsRead, Limit: Limit{Group: "band"}})
	guarded("another key", open(t, path), "band", "gang")
	for _, name := range []string{"", "a b", strings.Repeat("x", maxGroup+1)} {
		if _, err := decode([]byte(`{"version": 1, "keys": [], "guarded_groups": ["` + name + `"]}`)); err == nil {
			t.Errorf("a group is named %q", name)
		}
	}
}

// TestGuardedGroupsHaveABound, in a file that can still be read.
func TestGuardedGroupsHaveABound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	var c content
	for i := range maxGuards {
		c.guards = append(c.guards, fmt.Sprintf("%0*d", maxGroup, i))
	}
	if err := os.WriteFile(path, encode(c), 0o600); err != nil {
		t.Fatal(err)
	}
	ks := open(t, path)
	spec := Spec{Name: "x", Scopes: ClientsRead, Limit: Limit{Group: "more"}}
	if _, _, err := ks.Create(spec, time.Now()); !errors.Is(err, ErrFull) {
		t.Errorf("one more: %v, want ErrFull", err)
	}
	spec.Limit.Group = c.guards[0]
	create(t, ks, spec)
	guards := len(open(t, path).GuardedGroups())
	if guards != maxGuards {
		t.Errorf("%d groups are guarded, want %d", guards, maxGuards)
	}
}

// The file is what counts also if a change fails behind the rename: a key that it no longer
// has ends with the next look at it.
func TestAChangeThatFailsBehindTheRename(t *testing.T) {
	ks := open(t, filepath.Join(t.TempDir(), "keys.json"))
	gone, secret := create(t, ks, Spec{Name: "gone", Scopes: Admin})
	ks.file.syncDir = func(string) error { return errors.New("the disk has failed") }
	if err := ks.Revoke(gone.ID); err == nil {
		t.Fatal("the change did not fail")
	}
	if err := ks.reload(); err != nil {
		t.Fatal(err)
	}
	if _, err := ks.Authenticate(secret, time.Now()); !errors.Is(err, ErrUnknown) {
		t.Errorf("a key that the file no longer has: %v, want ErrUnknown", err)
	}
}

// A key is found by its id while others come and go.
func TestGetWhileKeysChange(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "keys"))
	var first []*Key
	for range 50 {
		k, _ := create(t, r, Spec{Name: "first", Scopes: Admin})
		first = append(first, k)
	}
	last, _ := create(t, r, Spec{Name: "last", Scopes: Admin})
	revoked := make(chan struct{})
	go func() {
		defer close(revoked)
		for _, k := range first {
			if err := r.Revoke(k.ID); err != nil {
				t.Error(err)
			}
		}
	}()
	for done := false; !done; {
		select {
		case <-revoked:
			done = true
		default:
		}
		if k, err := r.Get(last.ID); err != nil || k != last {
			t.Errorf("got %v, %v; want the key %s", k, err, last.ID)
		}
	}
}
