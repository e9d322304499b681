package apikey

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestKeysThatCanBe has each rule of a Spec at its edge and one step beyond it.
func TestKeysThatCanBe(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	good := Spec{Name: "backend of acme", Scopes: ClientsRead}
	for name, c := range map[string]struct {
		change func(*Spec)
		member string // that is wrong; "" = none
	}{
		"as it is":           {func(s *Spec) {}, ""},
		"no name":            {func(s *Spec) { s.Name = "" }, "name"},
		"longest name":       {func(s *Spec) { s.Name = strings.Repeat("n", MaxName) }, ""},
		"longer name":        {func(s *Spec) { s.Name = strings.Repeat("n", MaxName+1) }, "name"},
		"name in Greek":      {func(s *Spec) { s.Name = "Ἀθηνᾶ" }, ""},
		"name of two lines":  {func(s *Spec) { s.Name = "a\nb" }, "name"},
		"name with NUL":      {func(s *Spec) { s.Name = "a\x00" }, "name"},
		"name with a colour": {func(s *Spec) { s.Name = "\x1b[31mred" }, "name"},
		"name backwards":     {func(s *Spec) { s.Name = "a\u202eb" }, "name"},
		"name not in UTF-8":  {func(s *Spec) { s.Name = "a\xff" }, "name"},
		"no scope":           {func(s *Spec) { s.Scopes = 0 }, "scopes"},
		"all scopes":         {func(s *Spec) { s.Scopes = 1<<len(scopeNames) - 1 }, ""},
		"prefix":             {func(s *Spec) { s.Limit.Prefix = strings.Repeat("p", maxPrefix) }, ""},
		"longer prefix":      {func(s *Spec) { s.Limit.Prefix = strings.Repeat("p", maxPrefix+1) }, "prefix"},
		"prefix of no id":    {func(s *Spec) { s.Limit.Prefix = "a/b" }, "prefix"},
		"group":              {func(s *Spec) { s.Limit.Group = strings.Repeat("g", maxGroup) }, ""},
		"longer group":       {func(s *Spec) { s.Limit.Group = strings.Repeat("g", maxGroup+1) }, "group"},
		"group of no name":   {func(s *Spec) { s.Limit.Group = "a b" }, "group"},
		"prefix and group":   {func(s *Spec) { s.Limit = Limit{Prefix: "a", Group: "b"} }, "group"},
		"limited admin":      {func(s *Spec) { s.Scopes, s.Limit.Prefix = Admin, "a" }, "scopes"},
		"admin among others": {func(s *Spec) { s.Scopes, s.Limit.Group = ClientsRead|Admin, "a" }, "scopes"},
		"limited metrics":    {func(s *Spec) { s.Scopes, s.Limit.Group = MetricsRead, "a" }, "scopes"},
		"ends now":           {func(s *Spec) { s.ExpiresAt = now }, "expires_at"},
		"ends in a second":   {func(s *Spec) { s.ExpiresAt = now.Add(time.Second) }, ""},
		"ends in ten years":  {func(s *Spec) { s.ExpiresAt = now.Add(MaxExpiry) }, ""},
		"ends later":         {func(s *Spec) { s.ExpiresAt = now.Add(MaxExpiry + time.Second) }, "expires_at"},
	} {
		s := good
		c.change(&s)
		err := s.Check(now)
		wrong, _ := errors.AsType[*SpecError](err)
		switch {
		case c.member == "" && err != nil:
			t.Errorf("%s: %v, want a key", name, err)
		case c.member != "" && (wrong == nil || wrong.Member != c.member):
			t.Errorf("%s: %v, want %s refused", name, err, c.member)
		}
		if k, _, err := NewKeyset().Create(s, now); (err == nil) != (c.member == "") || err != nil && k != nil {
			t.Errorf("%s: Create gives %v, %v", name, k, err)
		}
	}
}

func TestARingHasABound(t *testing.T) {
	r := NewKeyset()
	for range MaxKeys {
		create(t, r, Spec{Name: "x", Scopes: ClientsRead})
	}
	if _, _, err := r.Create(Spec{Name: "x", Scopes: ClientsRead}, time.Now()); err != ErrFull {
		t.Errorf("one more: %v, want ErrFull", err)
	}
	if err := r.Revoke(r.List()[0].ID); err != nil {
		t.Fatal(err)
	}
	create(t, r, Spec{Name: "x", Scopes: ClientsRead})
}

// TestScopesAreTakenTogether: one of two is not both.
func TestScopesAreTakenTogether(t *testing.T) {
	both := ClientsRead | MessagesWrite
	if ClientsRead.Allows(both) || !both.Allows(ClientsRead) || !both.Allows(both) {
		t.Error("a key may do more than its scopes say, or less")
	}
}

// TestADirectoryThatIsMadeIsTheOwners alone.
func TestADirectoryThatIsMadeIsTheOwners(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	create(t, open(t, filepath.Join(dir, "keys.json")), Spec{Name: "x", Scopes: Admin})
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v; want mode 0700", info.Mode(), err)
	}
}

// TestAReplacedKeyIsAnother: a row whose secret was replaced by hand ends the
// calls under the old secret.
func TestAReplacedKeyIsAnother(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	r := open(t, path)
	k, secret := create(t, r, Spec{Name: "x", Scopes: Admin})
	hash := k.hash
	hash[0]++
	other := &Key{ID: k.ID, Name: k.Name, Scopes: k.Scopes, CreatedAt: k.CreatedAt, hash: hash}
	// A byte more is seen however coarse the file's times are.
	if err := os.WriteFile(path, append(encode(content{keys: []*Key{other}}), '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.reload(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Authenticate(secret, time.Now()); err != ErrUnknown || k.Alive(time.Now()) {
		t.Errorf("the old secret: %v, its key alive: %v", err, k.Alive(time.Now()))
	}
}

// TestARefusedChangeLeavesNoLock for the next one to wait for.
func TestARefusedChangeLeavesNoLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	r := open(t, path)
	if err := r.Revoke("key_none"); err != ErrNoKey {
		t.Errorf("%v, want ErrNoKey", err)
	}
	if _, err := os.Stat(path + ".new"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
}
