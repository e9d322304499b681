package deviceauth

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/private"
)

func TestTokensAreToldFromTypingErrors(t *testing.T) {
	token := NewToken()
	if !WellFormed(token) || token == NewToken() || len(token) != 42 {
		t.Fatalf("a new token: %q", token)
	}
	for i := range token {
		other := byte('x')
		if token[i] == other {
			other = 'y'
		}
		if wrong := token[:i] + string(other) + token[i+1:]; WellFormed(wrong) {
			t.Errorf("%q passes for %q", wrong, token)
		}
	}
	for _, wrong := range []string{"", "lwd_", token + "A", token[:41], strings.ToUpper(token), "lwk_" + token[4:], "lwd_" + strings.Repeat("=", 38)} {
		if WellFormed(wrong) {
			t.Errorf("%q passes for a token", wrong)
		}
	}
}

// A secret that a person has thought of is not looked up, even where its hash
// is in the file.
func TestChosenSecretsAreNoTokens(t *testing.T) {
	file := writeFile(t, "tokens", "")
	const chosen = "correct horse battery staple"
	if err := AddToken(file, TokenEntry{Client: "d", SHA256: fmt.Sprintf("%x", HashToken(chosen))}); err != nil {
		t.Fatal(err)
	}
	d := open(t, Config{TokensFile: file})
	d.wantOut(hello("d", chosen), MethodToken, ReasonWrongToken)
}

func TestTokenOpensTheDoorToItsClient(t *testing.T) {
	file := writeFile(t, "tokens", "# by hand\n\n")
	old := tokenFor(t, file, TokenEntry{Client: "meter-1"})
	fresh := tokenFor(t, file, TokenEntry{Client: "meter-1"})
	fleet := tokenFor(t, file, TokenEntry{Pattern: "truck-*"})
	soon := time.Now().Add(time.Hour).Truncate(time.Second)
	lent := tokenFor(t, file, TokenEntry{Client: "guest", ExpiresAt: soon})
	gone := tokenFor(t, file, TokenEntry{Client: "gone", ExpiresAt: time.Now().Add(-time.Second)})
	d := open(t, Config{TokensFile: file})

	d.wantIn(hello("meter-1", old), time.Time{})
	d.wantIn(hello("meter-1", fresh), time.Time{})
	d.wantIn(hello("truck-17", fleet), time.Time{})
	d.wantIn(hello("guest", lent), soon)
	d.wantOut(hello("gone", gone), MethodToken, ReasonExpired)
	d.wantOut(hello("meter-2", old), MethodNone, ReasonUnknownDevice) // nothing is asked of it, and it is nobody's
	d.wantOut(hello("truck-1", old), MethodToken, ReasonOtherClient)
	d.wantOut(hello("meter-1", fleet), MethodToken, ReasonOtherClient)
	d.wantOut(hello("meter-1", NewToken()), MethodToken, ReasonWrongToken)
	d.wantOut(hello("meter-1", ""), MethodNone, ReasonNoCredentials)
	d.wantOut(hello("gone", ""), MethodNone, ReasonNoCredentials) // an expired token still guards its id
}

func TestTokenFilesThatAreRefused(t *testing.T) {
	const sum = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	good := `{"client":"d","sha256":"` + sum + `"}`
	token := NewToken()
	for name, c := range map[string]struct{ text, want string }{
		"no JSON":        {"d " + token, ":1: not a JSON object"},
		"another case":   {`{"client":"d","SHA256":"` + sum + `"}`, ":1: not a JSON object"},
		"two clients":    {`{"client":"d","client":"e","sha256":"` + sum + `"}`, ":1: not a JSON object"},
		"no end":         {`{"client":"d","sha256":"` + sum + `","expires_at":null}`, ":1: not a JSON object"},
		"unknown member": {`{"client":"d","sha256":"` + sum + `","expires":1}`, ":1: not a JSON object"},
		"two on a line":  {good + good, ":1: not a JSON object"},
		"the token":      {good + "\n" + `{"client":"d","sha256":"` + token + `"}`, ":2: sha256 is not"},
		"upper case":     {`{"client":"d","sha256":"` + strings.ToUpper(sum) + `"}`, "lower-case"},
		"nobody":         {`{"sha256":"` + sum + `"}`, "either a client or a pattern"},
		"both":           {`{"client":"d","pattern":"d*","sha256":"` + sum + `"}`, "either a client or a pattern"},
		"bad id":         {`{"client":"d*","sha256":"` + sum + `"}`, "not a client id"},
		"one dot":        {`{"client":".","sha256":"` + sum + `"}`, "client is not a client id"},
		"two dots":       {`{"client":"..","sha256":"` + sum + `"}`, "client is not a client id"},
		"bad pattern":    {`{"pattern":"d[","sha256":"` + sum + `"}`, "not a pattern"},
		"twice":          {good + "\n# x\n" + good, ":3: the same token as in line 1"},
		"long line":      {strings.Repeat(" ", 10) + `{"note":"` + strings.Repeat("x", maxTokenLine) + `"}`, "longer than"},
		"long note":      {`{"client":"d","sha256":"` + sum + `","note":"` + strings.Repeat("x", maxNote+1) + `"}`, "note is longer"},
		"bad time":       {`{"client":"d","sha256":"` + sum + `","expires_at":"soon"}`, ":1: not a JSON object"},
	} {
		_, err := New(Config{TokensFile: writeFile(t, "tokens", c.text)})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), token) {
			t.Errorf("%s: the error shows the token: %v", name, err)
		}
	}
	var many strings.Builder
	for i := range maxPatterns + 1 {
		fmt.Fprintf(&many, `{"pattern":"p%d*","sha256":"%064x"}`+"\n", i, i)
	}
	if _, err := ReadTokens(writeFile(t, "tokens", many.String())); err == nil || !strings.Contains(err.Error(), "more than 1000 patterns") {
		t.Errorf("many patterns: %v", err)
	}
	large := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(large, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(large, maxTokenFile+1); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadTokens(large); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("a large file: %v", err)
	}
	if _, err := New(Config{TokensFile: t.TempDir()}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a directory: %v", err)
	}
}

func TestEditKeepsWhatItDoesNotConcern(t *testing.T) {
	dir := t.TempDir()
	file := writeFile(t, filepath.Join(dir, "tokens"), "# fleet A\n\n")
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	tokenFor(t, file, TokenEntry{Client: "a", Note: "first"})
	b := tokenFor(t, file, TokenEntry{Client: "b", CreatedAt: time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)})
	revoked, err := RevokeTokens(file, func(e *TokenEntry) bool { return e.Client == "a" })
	if err != nil || len(revoked) != 1 || revoked[0].Note != "first" {
		t.Fatalf("revoked %v, %v", revoked, err)
	}
	got, err := os.ReadFile(file)
	want := fmt.Sprintf("# fleet A\n\n"+`{"client":"b","sha256":"%x","created_at":"2026-11-22T00:00:00Z"}`+"\n", HashToken(b))
	if diff := cmp.Diff(want, string(got)); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v; want it kept", info.Mode(), err)
	}
	if left, err := RevokeTokens(file, func(*TokenEntry) bool { return false }); err != nil || len(left) != 0 {
		t.Errorf("nothing to revoke: %v, %v", left, err)
	}
	if names, _ := filepath.Glob(filepath.Join(dir, "*")); len(names) != 1 {
		t.Errorf("left behind: %v", names)
	}
}

func TestEditFollowsALink(t *testing.T) {
	dir := t.TempDir()
	target := writeFile(t, filepath.Join(dir, "target"), "")
	link := filepath.Join(dir, "link")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	tokenFor(t, link, TokenEntry{Client: "a"})
	if list, err := ReadTokens(target); err != nil || len(list) != 1 {
		t.Errorf("the file behind the link has %v, %v", list, err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is a link no more: %v, %v", info, err)
	}
}

// A second editor is kept out, and a failed edit leaves the file as it was.
func TestEditsDoNotLoseEachOther(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	tokenFor(t, file, TokenEntry{Client: "a"})
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("a new file: %v, %v; want it private", info.Mode(), err)
	}
	lock := writeFile(t, file+".new", "")
	err := AddToken(file, TokenEntry{Client: "b", SHA256: strings.Repeat("0", 64)})
	if err == nil || !strings.Contains(err.Error(), "remove "+file+".new") {
		t.Errorf("while somebody edits: %v", err)
	}
	if err := os.Remove(lock); err != nil {
		t.Fatal(err)
	}
	if err := AddToken(file, TokenEntry{Client: "not an id", SHA256: strings.Repeat("0", 64)}); err == nil {
		t.Error("a bad entry was added")
	}
	if _, err := RevokeTokens(filepath.Join(t.TempDir(), "nowhere"), func(*TokenEntry) bool { return true }); err == nil {
		t.Error("revoked from a file that is not there")
	}
	if list, err := ReadTokens(file); err != nil || len(list) != 1 {
		t.Errorf("the file has %v, %v; want the first entry", list, err)
	}
}

// A token replaces one of the same client in one edit; a client has a bounded number.
func TestIssueToken(t *testing.T) {
	file := writeFile(t, "tokens", "")
	first := TokenEntry{Client: "a", SHA256: strings.Repeat("1", 64), Groups: []string{"g"}, Note: "rack 3"}
	if _, err := IssueToken(file, first, IssueOptions{}); err != nil {
		t.Fatal(err)
	}
	second := TokenEntry{Client: "a", SHA256: strings.Repeat("2", 64)}
	if _, err := IssueToken(file, TokenEntry{Client: "b", SHA256: second.SHA256}, IssueOptions{Replaces: first.ID()}); !errors.Is(err, ErrTokenUnknown) {
		t.Errorf("another client's token was replaced: %v", err)
	}
	got, err := IssueToken(file, second, IssueOptions{Replaces: first.ID()})
	if err != nil || got.Note != "rack 3" || fmt.Sprint(got.Groups) != "[g]" {
		t.Errorf("%+v, %v", got, err)
	}
	list, err := ReadTokens(file)
	if err != nil || len(list) != 1 || list[0].ID() != second.ID() {
		t.Errorf("the file has %+v, %v", list, err)
	}
	for i := range MaxClientTokens {
		_, err = IssueToken(file, TokenEntry{Client: "a", SHA256: fmt.Sprintf("%064x", i)}, IssueOptions{})
	}
	if !errors.Is(err, ErrTokensTooMany) {
		t.Errorf("one more than allowed: %v", err)
	}
	if _, err := IssueToken(file, TokenEntry{Client: "a", SHA256: strings.Repeat("3", 64)}, IssueOptions{Replaces: second.ID()}); err != nil {
		t.Errorf("in the place of another: %v", err)
	}
}

// A new file in the place of one that is gone would revoke the tokens of all devices.
func TestNoTokenIsIssuedWithoutAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	if _, err := IssueToken(file, TokenEntry{Client: "a", SHA256: strings.Repeat("1", 64)}, IssueOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a file: %v", err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the file was made")
	}
}

// An edit whose lock was removed as that of a dead process does not touch the next edit.
func TestAnEditWithoutItsLockChangesNothing(t *testing.T) {
	file := writeFile(t, "tokens", "# kept\n")
	slow, err := beginEdit(file)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Release()
	if err := os.Remove(file + ".new"); err != nil {
		t.Fatal(err)
	}
	next, err := beginEdit(file)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Release()
	if err := slow.commit(&tokenFile{}); err == nil {
		t.Error("the edit was made")
	}
	slow.Release()
	if _, err := os.Stat(file + ".new"); err != nil {
		t.Errorf("the lock of the next edit: %v", err)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "# kept\n" {
		t.Errorf("the file has %q, %v", text, err)
	}
}

// An edit that takes minutes is not one of a process that has died.
func TestASlowEditKeepsItsLock(t *testing.T) {
	file := writeFile(t, "tokens", "# kept\n")
	slow, err := beginEdit(file)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Release()
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(file+".new", old, old); err != nil {
		t.Fatal(err)
	}
	if err := AddToken(file, TokenEntry{Client: "b", SHA256: strings.Repeat("0", 64)}); !errors.Is(err, ErrBusy) {
		t.Errorf("during the edit: %v, want it kept out", err)
	}
	if err := slow.commit(&tokenFile{lines: []tokenLine{{raw: []byte("# changed")}}}); err != nil {
		t.Errorf("the slow edit: %v", err)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "# changed\n" {
		t.Errorf("the file has %q, %v", text, err)
	}
}

// A process that dies during an edit does not stop the edits of others for good.
func TestTheLockOfADeadEditIsRemoved(t *testing.T) {
	file := writeFile(t, "tokens", "")
	lock := writeFile(t, file+".new", line("a", NewToken(), ""))
	e := TokenEntry{Client: "b", SHA256: strings.Repeat("0", 64)}
	if err := AddToken(file, e); !errors.Is(err, ErrBusy) {
		t.Errorf("beside a young lock: %v", err)
	}
	old := time.Now().Add(-2 * time.Minute)
	if err := os.Chtimes(lock, old, old); err != nil {
		t.Fatal(err)
	}
	if err := AddToken(file, e); err != nil {
		t.Errorf("beside an old lock: %v", err)
	}
	if list, err := ReadTokens(file); err != nil || len(list) != 1 || list[0].Client != "b" {
		t.Errorf("the file has %+v, %v", list, err)
	}
}

// An error of the disk after the file is replaced is another than one before.
func TestAnEditThatTheDiskDoesNotConfirm(t *testing.T) {
	file := writeFile(t, "tokens", line("a", NewToken(), ""))
	syncDir = func(string) error { return errors.New("an input/output error") }
	defer func() { syncDir = private.SyncDir }()
	revoked, err := RevokeTokens(file, func(*TokenEntry) bool { return true })
	if !errors.Is(err, ErrNotDurable) || len(revoked) != 1 {
		t.Errorf("revoked %v, %v; want one and %v", revoked, err, ErrNotDurable)
	}
	if list, err := ReadTokens(file); err != nil || len(list) != 0 {
		t.Errorf("the file has %v, %v", list, err)
	}
}

// The next reader takes each entry that was added.
func TestAnEntryIsNotLongerThanALine(t *testing.T) {
	file := writeFile(t, "tokens", "")
	e := TokenEntry{Client: strings.Repeat("c", 128), SHA256: strings.Repeat("1", 64), Note: strings.Repeat("<", maxNote),
		CreatedAt: time.Now(), ExpiresAt: time.Now()}
	for i := range gateway.MaxGroups {
		e.Groups = append(e.Groups, fmt.Sprintf("%0*d", gateway.MaxGroupName, i))
	}
	if err := AddToken(file, e); err != nil {
		t.Errorf("the longest entry of a client: %v", err)
	}
	e.Client, e.Pattern, e.SHA256 = "", strings.Repeat("&", 256), strings.Repeat("2", 64)
	if err := AddToken(file, e); err == nil {
		t.Error("an entry that is longer than a line was added")
	}
	if list, err := ReadTokens(file); err != nil || len(list) != 1 {
		t.Errorf("the file has %d entries, %v; want 1", len(list), err)
	}
}

// A tenant leaves half of the file to others, and a full file is called so.
func TestATenantDoesNotFillTheFile(t *testing.T) {
	const free = 1200 // bytes: three tokens
	file := filepath.Join(t.TempDir(), "tokens")
	comment := "#" + strings.Repeat("x", 998) + "\n"
	text := strings.Repeat(comment, maxTokenFile/len(comment)+1)[:maxTokenFile-free-1] + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	n := 0
	issue := func(client, tenant string) error {
		n++
		_, err := IssueToken(file, TokenEntry{Client: client, SHA256: fmt.Sprintf("%064x", n), Note: strings.Repeat("n", maxNote)}, IssueOptions{Tenant: tenant})
		return err
	}
	for _, c := range []struct {
		client, tenant string
		want           error
	}{
		{"a-1", "a-", nil}, {"a-2", "a-", nil}, {"a-3", "a-", ErrTokensShare}, {"a-1", "a-", ErrTokensShare},
		{"b-1", "b-", nil}, {"a-3", "", ErrTokensFull}, {"b-2", "b-", ErrTokensShare},
	} {
		if err := issue(c.client, c.tenant); !errors.Is(err, c.want) {
			t.Errorf("a token of %s for %q: %v, want %v", c.client, c.tenant, err, c.want)
		}
	}
}
