package private

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// claimOf claims a name that must be free.
func claimOf(t *testing.T, name string) *Claim {
	t.Helper()
	c, err := NewClaim(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Release)
	return c
}

func wantTaken(t *testing.T, when, name string) {
	t.Helper()
	if c, err := NewClaim(name); !errors.Is(err, fs.ErrExist) {
		t.Errorf("%s: %v, want the name to be taken", when, err)
		if err == nil {
			c.Release()
		}
	}
}

// age makes a file as old as if it had been written then, also with a clock that was ahead.
func age(t *testing.T, name string, by time.Duration) {
	t.Helper()
	then := time.Now().Add(-by)
	if err := os.Chtimes(name, then, then); err != nil {
		t.Fatal(err)
	}
}

func TestAClaimExcludesOthers(t *testing.T) {
	name := filepath.Join(t.TempDir(), "keys.new")
	for _, since := range []time.Duration{0, time.Hour, -time.Hour} {
		c := claimOf(t, name)
		age(t, name, since)
		wantTaken(t, "claimed since "+since.String(), name)
		c.Release()
		if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a released claim leaves its file: %v", err)
		}
	}
}

// A claim may have the mode of the file that it replaces, which its owner may only read.
// Root opens that one as any other.
func TestAClaimThatIsOnlyReadExcludesOthers(t *testing.T) {
	name := filepath.Join(t.TempDir(), "tokens.new")
	c := claimOf(t, name)
	if err := c.Chmod(0o400); err != nil {
		t.Fatal(err)
	}
	age(t, name, time.Hour)
	wantTaken(t, "claimed since an hour", name)
}

func TestAClaimOfTheDeadIsTaken(t *testing.T) {
	name := filepath.Join(t.TempDir(), "keys.new")
	for _, since := range []time.Duration{2 * youngClaim, -2 * youngClaim} {
		dead := claimOf(t, name)
		dead.Close() // as the end of the process does
		wantTaken(t, "young", name)
		age(t, name, since)
		claimOf(t, name).Release()
	}
}

// Whatever else has the name is removed when it is old, and never followed.
func TestTheNameOfAClaimIsNotFollowed(t *testing.T) {
	dir := t.TempDir()
	name, victim := filepath.Join(dir, "keys.new"), filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	age(t, victim, time.Hour)
	if err := os.Symlink(victim, name); err != nil {
		t.Fatal(err)
	}
	wantTaken(t, "a young link", name)
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	full := filepath.Join(name, "full")
	if err := errors.Join(os.Mkdir(name, 0o700), os.WriteFile(full, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	age(t, name, time.Hour)
	if _, err := NewClaim(name); err == nil || errors.Is(err, fs.ErrExist) {
		t.Errorf("a directory with files: %v, want why it stays", err)
	}
	if err := os.Remove(full); err != nil {
		t.Fatal(err)
	}
	age(t, name, time.Hour)
	claimOf(t, name).Release()
	if text, err := os.ReadFile(victim); err != nil || string(text) != "kept" {
		t.Errorf("the file behind the link has %q, %v", text, err)
	}
}

func TestAClaimReplacesAFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "keys")
	c := claimOf(t, name+".new")
	if _, err := c.WriteString("new"); err != nil {
		t.Fatal(err)
	}
	if err := c.Replace(name); err != nil {
		t.Fatal(err)
	}
	next := claimOf(t, name+".new")
	c.Release()
	c.Release()
	wantTaken(t, "beside the next claim", name+".new")
	if text, err := os.ReadFile(name); err != nil || string(text) != "new" {
		t.Errorf("the file has %q, %v", text, err)
	}
	if err := os.Remove(name + ".new"); err != nil {
		t.Fatal(err)
	}
	if err := next.Replace(name); err == nil {
		t.Error("a claim that was removed has replaced the file")
	}
}

// Claims of the dead do not let two in, whoever of many finds them.
func TestOneOfManyTakesAClaimOfTheDead(t *testing.T) {
	name := filepath.Join(t.TempDir(), "keys.new")
	for range 50 {
		claimOf(t, name).Close()
		age(t, name, time.Hour)
		var in, most atomic.Int32
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				c, err := NewClaim(name)
				if err != nil {
					if !errors.Is(err, fs.ErrExist) {
						t.Error(err)
					}
					return
				}
				most.Store(max(most.Load(), in.Add(1)))
				age(t, name, time.Hour) // as if it took an hour
				in.Add(-1)
				c.Release()
			})
		}
		all.Wait()
		if most.Load() > 1 {
			t.Fatalf("%d had the claim at once", most.Load())
		}
		os.Remove(name) // of a claim that nobody got
	}
}
