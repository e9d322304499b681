//go:build linux

package sysdisk

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// script turns lines such as `openat(AT_FDCWD</r>, "/r/a", O_CREAT, 0600) = 3</r/a>`
// into a trace of strace. Lines of a second thread begin with "2 ".
func script(root string, lines ...string) string {
	var b strings.Builder
	for _, line := range lines {
		thread := "1"
		if rest, ok := strings.CutPrefix(line, "2 "); ok {
			thread, line = "2", rest
		}
		line = strings.ReplaceAll(line, "/r", root)
		for i, part := range strings.Split(line, `"`) {
			if i == 0 {
				fmt.Fprintf(&b, "%s 1.0 %s", thread, part)
			} else if i%2 == 0 {
				b.WriteString(part)
			} else {
				b.WriteByte('"')
				for _, c := range []byte(part) {
					fmt.Fprintf(&b, `\x%02x`, c)
				}
				b.WriteByte('"')
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func record(t *testing.T, lines ...string) (*disk, int) {
	t.Helper()
	root := t.TempDir()
	d, err := newDisk(root)
	if err != nil {
		t.Fatal(err)
	}
	d.process()
	moments, end, err := readTrace(strings.NewReader(script(root, lines...)), 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range moments {
		if err := d.apply(m); err != nil {
			t.Fatalf("%v: %v", m, err)
		}
	}
	return d, end
}

// seen collects what cuts of all ways leave: each disk as one line.
func seen(t *testing.T, d *disk, at int) map[string]bool {
	t.Helper()
	all := map[string]bool{}
	for seed := range uint64(200) {
		dir := t.TempDir()
		if err := d.rebuild(cut{at: at, way: way(seed % uint64(ways)), seed: seed}, dir); err != nil {
			t.Fatal(err)
		}
		all[show(t, dir)] = true
	}
	return all
}

func show(t *testing.T, dir string) string {
	t.Helper()
	var parts []string
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		if e.IsDir() {
			parts = append(parts, e.Name()+"/("+show(t, filepath.Join(dir, e.Name()))+")")
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, e.Name()+"="+strings.ReplaceAll(string(b), "\x00", "0"))
	}
	return strings.Join(parts, " ")
}

func want(t *testing.T, got map[string]bool, want ...string) {
	t.Helper()
	slices.Sort(want)
	if g := slices.Sorted(maps.Keys(got)); !slices.Equal(g, want) {
		t.Errorf("the cuts left\n  %s\nwant\n  %s", strings.Join(g, "\n  "), strings.Join(want, "\n  "))
	}
}

const create = `openat(AT_FDCWD</r>, "/r/a", O_RDWR|O_CREAT, 0600) = 3</r/a>`

func TestUnsyncedMayBeGone(t *testing.T) {
	d, end := record(t, create, `write(3</r/a>, "xy", 2) = 2`)
	want(t, seen(t, d, end), "", "a=", "a=00", "a=xy")
}

func TestSyncedStays(t *testing.T) {
	d, end := record(t, create, `write(3</r/a>, "xy", 2) = 2`, `fsync(3</r/a>) = 0`,
		`openat(AT_FDCWD</r>, "/r", O_RDONLY) = 4</r>`, `fsync(4</r>) = 0`)
	want(t, seen(t, d, end), "a=xy")
	want(t, seen(t, d, end-3), "", "a=xy") // the sync of the directory has not ended
}

func TestSyncCoversWhatEndedBeforeItBegan(t *testing.T) {
	d, end := record(t, create, `openat(AT_FDCWD</r>, "/r", O_RDONLY) = 4</r>`, `fsync(4</r>) = 0`,
		`write(3</r/a>, "xy", 2 <unfinished ...>`, `2 fsync(3</r/a> <unfinished ...>`, `<... write resumed>) = 2`, `2 <... fsync resumed>) = 0`)
	want(t, seen(t, d, end), "a=", "a=00", "a=xy")
}

func TestOverwrittenInPlace(t *testing.T) {
	d, end := record(t, create, `write(3</r/a>, "old", 3) = 3`, `fsync(3</r/a>) = 0`,
		`openat(AT_FDCWD</r>, "/r", O_RDONLY) = 4</r>`, `fsync(4</r>) = 0`,
		`renameat(AT_FDCWD</r>, "/r/a", AT_FDCWD</r>, "/r/b") = 0`, `close(3</r/b>) = 0`,
		`openat(AT_FDCWD</r>, "/r/b", O_RDWR|O_CREAT, 0600) = 3</r/b>`, `write(3</r/b>, "new", 3) = 3`)
	want(t, seen(t, d, end), "a=old", "b=old", "a=new", "b=new")
}

func TestRenameIsOneChange(t *testing.T) {
	d, end := record(t, create, `fsync(3</r/a>) = 0`, `renameat(AT_FDCWD</r>, "/r/a", AT_FDCWD</r>, "/r/b") = 0`)
	want(t, seen(t, d, end), "", "a=", "b=")
}

func TestAnOrderedJournalKeepsTheOrder(t *testing.T) {
	d, end := record(t, `mkdirat(AT_FDCWD</r>, "/r/x", 0700) = 0`, `mkdirat(AT_FDCWD</r>, "/r/y", 0700) = 0`)
	left := map[string]bool{}
	for seed := range uint64(50) {
		dir := t.TempDir()
		if err := d.rebuild(cut{at: end, way: ordered, seed: seed}, dir); err != nil {
			t.Fatal(err)
		}
		left[show(t, dir)] = true
	}
	want(t, left, "", "x/()", "x/() y/()")
	want(t, seen(t, d, end), "", "x/()", "y/()", "x/() y/()")
}

// A page is as it was at some moment, never with a later write and without an
// earlier one; two pages are independent.
func TestBlocks(t *testing.T) {
	pad := strings.Repeat("p", 4094)
	d, end := record(t, create, `openat(AT_FDCWD</r>, "/r", O_RDONLY) = 4</r>`, `fsync(4</r>) = 0`,
		fmt.Sprintf(`write(3</r/a>, "%s", 4094) = 4094`, pad), `fsync(3</r/a>) = 0`,
		`write(3</r/a>, "A", 1) = 1`, `write(3</r/a>, "BC", 2) = 2`)
	got := map[string]bool{}
	for s := range seen(t, d, end) {
		got[strings.TrimPrefix(s, "a="+pad)] = true
	}
	want(t, got, "", "0", "A", "000", "A00", "00C", "A0C", "AB0", "ABC")
}

func TestShrunk(t *testing.T) {
	d, end := record(t, create, `write(3</r/a>, "long", 4) = 4`, `fsync(3</r/a>) = 0`,
		`openat(AT_FDCWD</r>, "/r", O_RDONLY) = 4</r>`, `fsync(4</r>) = 0`, `close(3</r/a>) = 0`,
		`openat(AT_FDCWD</r>, "/r/a", O_WRONLY|O_CREAT|O_TRUNC, 0600) = 3</r/a>`, `write(3</r/a>, "s", 1) = 1`)
	want(t, seen(t, d, end), "a=long", "a=", "a=0", "a=s")
}
