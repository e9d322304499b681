//go:build unix

package private

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// put makes a file with exactly this mode.
func put(t *testing.T, name string, mode fs.FileMode) string {
	t.Helper()
	if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	return chmod(t, name, mode)
}

func chmod(t *testing.T, name string, mode fs.FileMode) string {
	t.Helper()
	if err := os.Chmod(name, mode); err != nil {
		t.Fatal(err)
	}
	return name
}

func mkdir(t *testing.T, name string, mode fs.FileMode) string {
	t.Helper()
	if err := os.Mkdir(name, 0o700); err != nil {
		t.Fatal(err)
	}
	return chmod(t, name, mode)
}

func link(t *testing.T, target, name string) string {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
	return name
}

// own makes a directory that is only the test's: that of t.TempDir has the
// umask's mode.
func own(t *testing.T) string { return chmod(t, t.TempDir(), 0o700) }

func TestMakeDirs(t *testing.T) {
	top := own(t)
	dir := filepath.Join(top, "a", "b")
	for range 2 { // the second time it exists
		if err := MakeDirs(dir); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{filepath.Dir(dir), dir} {
		if info, err := os.Stat(d); err != nil || info.Mode() != fs.ModeDir|DirMode {
			t.Errorf("%s: %v, %v; want mode 0700", d, info.Mode(), err)
		}
	}
	chmod(t, dir, 0o755)
	if err := MakeDirs(dir); err != nil {
		t.Fatal(err)
	}
	if info, _ := os.Stat(dir); info.Mode().Perm() != 0o755 {
		t.Errorf("an existing directory has mode %v, want it kept", info.Mode())
	}
	moved := link(t, dir, filepath.Join(top, "link"))
	if err := MakeDirs(moved); err != nil {
		t.Errorf("a link to a directory: %v", err)
	}
}

func TestWhatIsInTheWayOfADirectoryIsNamed(t *testing.T) {
	top := own(t)
	file := put(t, filepath.Join(top, "file"), 0o600)
	dangling := link(t, "nowhere", filepath.Join(top, "dangling"))
	toFile := link(t, "file", filepath.Join(top, "to-file"))
	for _, tt := range []struct{ name, dir, want string }{
		{"a file", file, file + " is a file, not a directory"},
		{"a file as parent", filepath.Join(file, "a", "b"), file + " is a file, not a directory"},
		{"a dangling link", dangling, dangling + " is a symbolic link to nowhere, which is not a directory"},
		{"a dangling link as parent", filepath.Join(dangling, "a"), dangling + " is a symbolic link to nowhere, which is not a directory"},
		{"a link to a file", toFile, toFile + " is a symbolic link to file, which is not a directory"},
		{"no parent that can be written", "/proc/none/a", "mkdir /proc/none: "},
	} {
		if err := MakeDirs(tt.dir); err == nil || !strings.HasPrefix(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want one line: %s", tt.name, err, tt.want)
		}
	}
}

func TestExamineNamesEachKindOnce(t *testing.T) {
	top := own(t)
	data := mkdir(t, filepath.Join(top, "data"), 0o755)
	db := mkdir(t, filepath.Join(data, "db"), 0o700)
	format := put(t, filepath.Join(data, "FORMAT"), 0o644)
	put(t, filepath.Join(db, "1.log"), 0o640)
	put(t, filepath.Join(db, "2.log"), 0o600)
	link(t, "1.log", filepath.Join(db, "link")) // a link has no mode of its own
	tokens := put(t, filepath.Join(top, "tokens"), 0o604)
	mounted := link(t, tokens, filepath.Join(top, "mounted"))
	keys := put(t, filepath.Join(data, "api-keys.json"), 0o644)
	places := []Place{
		{Kind: "API keys", Path: keys},
		{Kind: "data directory", Path: data},
		{Kind: "device tokens", Path: mounted},
		{Kind: "audit log", Path: put(t, filepath.Join(top, "audit.log"), 0o600)},
		{Kind: "authorities", Path: put(t, filepath.Join(top, "ca.pem"), 0o644), Public: true},
		{Kind: "private key", Path: filepath.Join(top, "none")},
		{Kind: "nothing"},
		{Kind: "device", Path: "/dev/null"},
	}
	want := []Wide{
		{Kind: "API keys", Path: keys, Mode: 0o644, Mend: "chmod go= " + keys},
		{Kind: "data directory", Path: data, Mode: 0o755, Mend: "chmod -R go= " + data},
		{Kind: "files in the data directory", Path: format, Mode: 0o644, More: 1, Mend: "chmod -R go= " + data},
		{Kind: "device tokens", Path: tokens, Mode: 0o604, Mend: "chmod go= " + tokens},
	}
	got := Examine(places)
	if len(got) != len(want) {
		t.Fatalf("found %+v, want %+v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("found %+v, want %+v", got[i], want[i])
		}
	}
	if v := got[2].Value(); v != "mode 0644 of "+format+", and 1 more" {
		t.Errorf("told as %q", v)
	}
	chmod(t, data, 0o700)
	chmod(t, format, 0o600)
	chmod(t, keys, 0o600)
	chmod(t, filepath.Join(db, "1.log"), 0o600)
	chmod(t, tokens, 0o600)
	if got := Examine(places); got != nil {
		t.Errorf("found %+v after all were mended", got)
	}
}

func TestTrusted(t *testing.T) {
	for _, tt := range []struct {
		name string
		dir  fs.FileMode
		file fs.FileMode
		want string // in the error; "" = trusted
	}{
		{"for its owner alone", 0o700, 0o600, ""},
		{"read by all", 0o755, 0o644, ""},
		{"written by its group", 0o700, 0o620, "key can be written by users other than its owner (mode 0620), and such a user could grant access; run: chmod go-w "},
		{"written by others", 0o700, 0o602, "(mode 0602)"},
		{"in a directory that others write", 0o702, 0o600, "secrets can be written by users other than its owner (mode 0702), and such a user could replace the keys in it; run: chmod go-w "},
		{"in a sticky directory", fs.ModeSticky | 0o777, 0o600, ""},
		{"written by others in a sticky directory", fs.ModeSticky | 0o777, 0o602, "(mode 0602)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := mkdir(t, filepath.Join(own(t), "secrets"), 0o700)
			key := put(t, filepath.Join(dir, "key"), tt.file)
			chmod(t, dir, tt.dir)
			linked := link(t, key, filepath.Join(own(t), "link"))
			for _, name := range []string{key, linked} {
				err := Trusted(name)
				if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
					t.Errorf("%s: %v, want %q", name, err, tt.want)
				}
			}
		})
	}
	if err := Trusted(filepath.Join(own(t), "none")); err != nil {
		t.Errorf("a file that does not exist: %v", err)
	}
}

// A group that has its owner's number is the user's own. Number 0 is not: there
// are users in it who are not root.
func TestGroupOfADirectory(t *testing.T) {
	dir := mkdir(t, filepath.Join(own(t), "dir"), 0o770)
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	uid, gid := owner(info)
	if err := TrustedDir(dir); (err == nil) != (uid == gid && uid > 0) {
		t.Errorf("a directory of user %d and group %d that its group can write: %v", uid, gid, err)
	}
}

// Kubernetes mounts a secret as a link to a link: key -> ..data/key, and ..data is
// a link to a directory with a time as its name. The mount is sticky and everyone
// may write to it.
func TestMountedSecret(t *testing.T) {
	mount := own(t)
	version := mkdir(t, filepath.Join(mount, "..2026_11_29"), 0o755)
	key := put(t, filepath.Join(version, "key"), 0o440)
	link(t, "..2026_11_29", filepath.Join(mount, "..data"))
	name := link(t, "..data/key", filepath.Join(mount, "key"))
	chmod(t, mount, fs.ModeSticky|0o777)
	if err := Trusted(name); err != nil {
		t.Errorf("as it is mounted: %v", err)
	}
	chmod(t, key, 0o660)
	if err := Trusted(name); err == nil || !strings.Contains(err.Error(), "(mode 0660)") {
		t.Errorf("with a key that its group can write: %v, want the key's mode", err)
	}
	chmod(t, key, 0o440)
	chmod(t, version, 0o757)
	if err := Trusted(name); err == nil || !strings.Contains(err.Error(), "(mode 0757)") {
		t.Errorf("in a directory that others can write: %v, want that directory's mode", err)
	}
	chmod(t, version, 0o755)
	chmod(t, mount, 0o777)
	if err := Trusted(name); err == nil || !strings.Contains(err.Error(), "directory "+mount+" can be written") {
		t.Errorf("in a mount that is not sticky: %v, want the mount named", err)
	}
}
