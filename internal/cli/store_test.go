package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/longwire/longwire/gateway"
	"github.com/longwire/longwire/internal/engine"
)

// inStore runs a store command on dir and returns its exit code and what it said.
func inStore(t *testing.T, dir, args string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	all := append([]string{"store"}, strings.Fields(args)...)
	code = Main(t.Context(), Program{In: strings.NewReader(""), Out: &o, Err: &e, Env: []string{"LONGWIRE_DATA_DIR=" + dir}}, all)
	return code, o.String(), e.String()
}

func openStore(t *testing.T, dir string) *engine.Engine {
	t.Helper()
	s, err := engine.Open(engine.Options{Dir: dir, SweepEvery: -1})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// fill accepts n messages of 1 KiB to one client, numbered from first on.
func fill(t *testing.T, s *engine.Engine, n, first int) {
	t.Helper()
	for i := first; i < first+n; i++ {
		now := time.Now()
		_, err := s.Accept(t.Context(), gateway.Acceptance{ID: gateway.MessageID(fmt.Sprintf("msg_%08d-0000-7000-8000-%012d", i, i)),
			To: gateway.Audience{Client: "meter"}, QueueUnknown: true, Payload: bytes.Repeat([]byte{'x'}, 1024),
			CreatedAt: now, ExpiresAt: now.Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// madeStore is a store with ten messages that no process holds.
func madeStore(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	s := openStore(t, dir)
	fill(t, s, 10, 0)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

// killedStore is a store as a killed process leaves it: with a log, which is
// longer than a block of it (32 KiB), for damage in the last block looks like a
// write that a power cut has torn.
func killedStore(t *testing.T) string {
	t.Helper()
	dir, copied := madeStore(t), filepath.Join(t.TempDir(), "data")
	s := openStore(t, dir)
	defer s.Close()
	fill(t, s, 100, 10)
	if err := os.CopyFS(copied, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return copied
}

// flip changes one bit of the only file that matches.
func flip(t *testing.T, pattern string, part func(size int) int) {
	t.Helper()
	var largest string
	var b []byte
	names, err := filepath.Glob(pattern)
	for _, name := range names {
		if c, e := os.ReadFile(name); e == nil && len(c) > len(b) {
			largest, b = name, c
		}
	}
	if err != nil || len(b) == 0 {
		t.Fatalf("%s: %v, %v", pattern, names, err)
	}
	b[part(len(b))] ^= 4
	if err := os.WriteFile(largest, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestStoreVerify(t *testing.T) {
	dir := madeStore(t)
	code, out, errs := inStore(t, dir, "verify")
	if code != exitOK || errs != "" || !strings.Contains(out, "verified     ok\n") || !strings.Contains(out, "10, with 10 deliveries queued") {
		t.Errorf("a sound store = %d\n%s%s", code, out, errs)
	}
	var r storeReport
	code, out, _ = inStore(t, dir, "verify -o json")
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != exitOK || !r.OK || r.Messages != 10 || r.Queued != 10 || r.Clients != 1 || r.Log == "" {
		t.Errorf("a sound store = %d %s, %v", code, out, err)
	}

	flip(t, filepath.Join(dir, "db", "*.sst"), func(size int) int { return size / 3 })
	code, out, _ = inStore(t, dir, "verify -o json")
	r = storeReport{}
	if err := json.Unmarshal([]byte(out), &r); err != nil || code != exitFailed || r.OK || r.Count == 0 || len(r.Problems) == 0 {
		t.Errorf("a flipped bit = %d %s, %v, want it found", code, out, err)
	}
	if code, out, _ = inStore(t, dir, "verify"); code != exitFailed || !strings.Contains(out, "verified     bad\n") {
		t.Errorf("a flipped bit = %d\n%s", code, out)
	}

	if code, _, errs = inStore(t, t.TempDir(), "verify"); code != exitFailed || !strings.Contains(errs, "no store in") {
		t.Errorf("no store = %d %s", code, errs)
	}
}

func TestStoreInUse(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	defer openStore(t, dir).Close()
	for args, says := range map[string]string{
		"verify": `"longwire store backup" copies the store of a running gateway`,
		"stats":  "in use by another process",
		"repair": "in use by another process",
		"backup " + filepath.Join(dir, "../copy"): "does not answer on",
	} {
		if code, out, errs := inStore(t, dir, args); code != exitFailed || out != "" || !strings.Contains(errs, says) {
			t.Errorf("%s = %d %s%s, want %s", args, code, out, errs, says)
		}
	}
}

func TestStoreStats(t *testing.T) {
	dir := madeStore(t)
	code, out, _ := inStore(t, dir, "stats")
	if code != exitOK || !strings.Contains(out, "10 deliveries") || !strings.Contains(out, "no gateway; read from disk") {
		t.Errorf("stats = %d\n%s", code, out)
	}
	var s storeStats
	code, out, _ = inStore(t, dir, "stats -o json")
	if err := json.Unmarshal([]byte(out), &s); err != nil || code != exitOK || s.Queued != 10 || s.Clients != 1 || s.Running || s.OldestAt.IsZero() {
		t.Errorf("stats = %d %s, %v", code, out, err)
	}
}

func TestStoreBackupAndRestore(t *testing.T) {
	dir := madeStore(t)
	copied, back := filepath.Join(t.TempDir(), "copy"), filepath.Join(t.TempDir(), "back")
	report := func(dir, args string) (r storeReport) {
		t.Helper()
		code, out, errs := inStore(t, dir, args+" -o json")
		if err := json.Unmarshal([]byte(out), &r); err != nil || code != exitOK || !r.OK {
			t.Fatalf("%s = %d %s%s, %v", args, code, out, errs, err)
		}
		return r
	}
	original := report(dir, "verify")
	if r := report(dir, "backup "+copied); r.Dir != copied || r.Log != original.Log || r.Queued != 10 {
		t.Errorf("the backup is %+v, want it as %+v", r, original)
	}
	if r := report(back, "restore "+copied); r.Dir != back || r.Log == original.Log || r.Queued != 10 {
		t.Errorf("the restored store is %+v, want another log than %s", r, original.Log)
	}
	if r := report(copied, "verify"); r.Log != original.Log {
		t.Errorf("the restore has changed the backup's log to %s", r.Log)
	}

	for args, says := range map[string]string{
		"backup " + copied:                         "exists already",
		"restore " + copied:                        "there is a store in",
		"restore " + filepath.Join(copied, "none"): "no store in",
	} {
		if code, out, errs := inStore(t, dir, args); code != exitFailed || out != "" || !strings.Contains(errs, says) {
			t.Errorf("%s = %d %s%s, want %s", args, code, out, errs, says)
		}
	}
	flip(t, filepath.Join(copied, "db", "*.sst"), func(size int) int { return size / 3 })
	nowhere := filepath.Join(t.TempDir(), "new")
	if code, _, errs := inStore(t, nowhere, "restore "+copied); code != exitFailed || !strings.Contains(errs, "is damaged") {
		t.Errorf("restore of a damaged backup = %d %s", code, errs)
	}
	if _, err := os.Stat(filepath.Join(nowhere, "db")); !os.IsNotExist(err) {
		t.Errorf("a damaged backup left a store: %v", err)
	}
}

// contentOf returns the files below dir, but the one that is locked.
func contentOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || name == "LOCK" {
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, name))
		files[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Without a gateway a backup reads the store and changes nothing in it, also if the
// store was killed or is of an older format: that would be the end of the way back.
func TestBackupWithoutAGatewayChangesNothing(t *testing.T) {
	old := filepath.Join(t.TempDir(), "old")
	if err := os.Mkdir(old, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("tar", "xzf", "../engine/testdata/format3/killed.tar.gz", "-C", old).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, dir := range map[string]string{"closed": madeStore(t), "killed": killedStore(t), "format 3": old} {
		t.Run(name, func(t *testing.T) {
			before := contentOf(t, dir)
			_, has, _ := inStore(t, dir, "stats -o json")
			copied, back := filepath.Join(t.TempDir(), "copy"), filepath.Join(t.TempDir(), "back")
			if code, out, errs := inStore(t, dir, "backup "+copied); code != exitOK {
				t.Fatalf("backup = %d\n%s%s", code, out, errs)
			}
			if after := contentOf(t, dir); !maps.Equal(after, before) {
				t.Errorf("the backup has changed the store: %d files, and %d before", len(after), len(before))
			}
			if code, out, errs := inStore(t, back, "restore "+copied); code != exitOK {
				t.Fatalf("restore = %d\n%s%s", code, out, errs)
			}
			_, got, _ := inStore(t, back, "stats -o json")
			var a, b storeStats
			if err := errors.Join(json.Unmarshal([]byte(has), &a), json.Unmarshal([]byte(got), &b)); err != nil {
				t.Fatal(err)
			}
			if a.Messages == 0 || a.Messages != b.Messages || a.Queued != b.Queued || a.Clients != b.Clients {
				t.Errorf("restored are %+v of %+v", b, a)
			}
		})
	}
}

// A backup that was killed is named as what it may be: a repair would make a store of
// the part that was copied.
func TestBackupThatWasKilled(t *testing.T) {
	dir := madeStore(t)
	for _, name := range []string{"FORMAT", "MARK"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	back := filepath.Join(t.TempDir(), "back")
	for _, c := range []struct{ dir, args string }{{dir, "verify"}, {dir, "stats"}, {back, "restore " + dir}} {
		code, out, errs := inStore(t, c.dir, c.args)
		if code != exitFailed || !strings.Contains(out+errs, "delete it if it is a backup that was cut short") {
			t.Errorf("%s = %d\n%s%s", c.args, code, out, errs)
		}
	}
}

// A backup and a data directory lie apart: one in the other damages either.
func TestBackupsLieApart(t *testing.T) {
	dir, copied := madeStore(t), filepath.Join(t.TempDir(), "copy")
	if code, out, errs := inStore(t, dir, "backup "+copied); code != exitOK {
		t.Fatalf("backup = %d\n%s%s", code, out, errs)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	before, beforeCopy := contentOf(t, dir), contentOf(t, copied)
	for _, c := range []struct{ dir, args string }{
		{dir, "backup " + filepath.Join(dir, "copy")},
		{dir, "backup " + filepath.Join(dir, "db", "copy")},
		{dir, "backup " + filepath.Join(link, "db", "copy")},
		{link, "backup " + filepath.Join(dir, "copy")},
		{filepath.Join(copied, "db"), "restore " + copied},
		{filepath.Join(copied, "new"), "restore " + copied},
	} {
		if code, out, errs := inStore(t, c.dir, c.args); code != exitFailed || !strings.Contains(errs, "must lie apart") {
			t.Errorf("%s --data-dir %s = %d\n%s%s", c.args, c.dir, code, out, errs)
		}
	}
	if !maps.Equal(contentOf(t, dir), before) || !maps.Equal(contentOf(t, copied), beforeCopy) {
		t.Error("the store or its backup has changed")
	}
}

func TestStoreRepair(t *testing.T) {
	sound := madeStore(t)
	if code, out, errs := inStore(t, sound, "repair"); code != exitOK || !strings.Contains(out, "nothing: the store is sound") || !strings.Contains(out, "verified     ok") {
		t.Errorf("a sound store = %d\n%s%s", code, out, errs)
	}

	dir := killedStore(t)
	flip(t, filepath.Join(dir, "db", "*.log"), func(size int) int { return size / 4 })
	if code, out, errs := inStore(t, dir, "verify"); code != exitFailed || !strings.Contains(out+errs, ".log, offset ") {
		t.Errorf("verify of a damaged log = %d\n%s%s, want the file and the offset", code, out, errs)
	}
	code, out, errs := inStore(t, dir, "repair")
	if code != exitFailed || !strings.Contains(errs, "give --accept-loss") || !strings.Contains(errs, "message msg_") {
		t.Errorf("a repair that nothing was accepted of = %d\n%s%s, want what will be lost", code, out, errs)
	}
	if _, err := os.Stat(filepath.Join(dir, "quarantine")); !os.IsNotExist(err) {
		t.Errorf("a repair that was not accepted has changed the directory: %v", err)
	}
	code, out, errs = inStore(t, dir, "repair --accept-loss")
	if code != exitOK || !strings.Contains(out, "quarantined  "+filepath.Join(dir, "quarantine")) || !strings.Contains(out, "verified     ok") {
		t.Fatalf("a damaged log = %d\n%s%s", code, out, errs)
	}
	var r storeReport
	_, out, _ = inStore(t, dir, "verify -o json")
	if err := json.Unmarshal([]byte(out), &r); err != nil || r.Messages < 10 || r.Messages >= 110 {
		t.Errorf("%d messages are left, want what was before the damage, of 110", r.Messages)
	}

	lost := madeStore(t)
	flip(t, filepath.Join(lost, "db", "*.sst"), func(size int) int { return size / 3 })
	if code, out, errs := inStore(t, lost, "repair --accept-loss"); code != exitFailed {
		t.Errorf("a damaged table = %d\n%s%s, want it found beyond repair", code, out, errs)
	}
	if code, _, errs := inStore(t, t.TempDir(), "repair"); code != exitFailed || !strings.Contains(errs, "no store in") {
		t.Errorf("no store = %d %s", code, errs)
	}
}

// A copy without the empty files is refused as it is, and whole again with them.
func TestStoreRebuildMarker(t *testing.T) {
	dir := madeStore(t)
	names, err := filepath.Glob(filepath.Join(dir, "db", "marker.*"))
	if err != nil || len(names) < 2 {
		t.Fatalf("markers are %v, %v", names, err)
	}
	for _, name := range names {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	if code, out, errs := inStore(t, dir, "verify"); code != exitFailed || !strings.Contains(out+errs, "--rebuild-marker") {
		t.Errorf("verify without markers = %d\n%s%s, want the command that makes them", code, out, errs)
	}
	if code, out, errs := inStore(t, dir, "repair --rebuild-marker"); code != exitOK || !strings.Contains(out, "marker.manifest.000001.MANIFEST-") ||
		!strings.Contains(out, "10, with 10 deliveries queued") {
		t.Errorf("rebuild = %d\n%s%s", code, out, errs)
	}
}

// A signal ends each command at once: a large store takes minutes to read.
func TestASignalEndsAStoreCommand(t *testing.T) {
	dir := madeStore(t)
	copied, back := filepath.Join(t.TempDir(), "copy"), filepath.Join(t.TempDir(), "back")
	if code, out, errs := inStore(t, dir, "backup "+copied); code != exitOK {
		t.Fatalf("backup = %d\n%s%s", code, out, errs)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	for _, args := range []string{"verify --data-dir " + dir, "repair --data-dir " + dir, "restore " + copied + " --data-dir " + back,
		"backup " + filepath.Join(t.TempDir(), "other") + " --data-dir " + dir} {
		var out, errs bytes.Buffer
		p := Program{In: strings.NewReader(""), Out: &out, Err: &errs, Env: []string{}}
		if code := Main(ended, p, append([]string{"store"}, strings.Fields(args)...)); code != exitFailed || out.Len() > 0 {
			t.Errorf("%s = %d\n%s%s, want it interrupted", args, code, &out, &errs)
		}
	}
	if _, err := os.Stat(back); !os.IsNotExist(err) {
		t.Errorf("a restore that was ended before it began has made its directory: %v", err)
	}
}

func TestStoreUsage(t *testing.T) {
	for _, args := range []string{"nonsense", "verify extra", "backup", "restore", "restore a b", "verify -o xml", "verify --tcp-addr 1:1", "verify --config none.yaml"} {
		if code, out, errs := inStore(t, "data", args); code != exitUsage || out != "" {
			t.Errorf("%s = %d %s%s, want %d", args, code, out, errs, exitUsage)
		}
	}
}
