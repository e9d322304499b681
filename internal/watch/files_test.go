package watch

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// An error is returned once. The load is repeated until it succeeds, and then only after a
// change.
func TestAFailedLoadIsRepeated(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	write(t, name, "1")
	loads, broken := 0, errors.New("an input/output error")
	err := broken
	w := Files{Names: []string{name}, Load: func() error { loads++; return err }}
	for i, step := range []struct {
		before func()
		loaded bool
		err    error
		loads  int
	}{
		{func() {}, false, broken, 1},
		{func() {}, false, nil, 2},
		{func() { write(t, name, "22") }, false, broken, 3},
		{func() { err = nil }, true, nil, 4},
		{func() {}, false, nil, 4},
		{func() { write(t, name, "333") }, true, nil, 5},
		{func() { err = broken; write(t, name, "4") }, false, broken, 6},
		{func() { err = errors.New("another") }, false, errors.New("another"), 7},
	} {
		step.before()
		loaded, err := w.Look()
		if loaded != step.loaded || (err == nil) != (step.err == nil) || err != nil && err.Error() != step.err.Error() || loads != step.loads {
			t.Errorf("look %d: loaded %v, %v, after %d loads; want %v, %v, %d", i+1, loaded, err, loads, step.loaded, step.err, step.loads)
		}
	}
}

func TestALongLoadThatFailsIsNotRepeatedAtOnce(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	write(t, name, "1")
	synctest.Test(t, func(t *testing.T) {
		loads := 0
		w := Files{Names: []string{name}, Load: func() error { loads++; time.Sleep(time.Second); return errors.New("broken") }}
		for range 9 { // one look at once, and then each 2 s
			w.Look()
			time.Sleep(2 * time.Second)
		}
		if loads != 2 {
			t.Errorf("%d loads in 18 s, want 2", loads)
		}
		write(t, name, "changed")
		if w.Look(); loads != 3 {
			t.Error("a change was not loaded at once")
		}
	})
}

// The directory, and not only its files, may be one of the names.
func TestDirectories(t *testing.T) {
	dir := t.TempDir()
	loads := 0
	w := Files{Names: []string{dir}, Load: func() error { loads++; return nil }}
	for _, step := range []struct {
		name  string
		do    func()
		loads int
	}{
		{"the first look", func() {}, 1},
		{"nothing", func() {}, 1},
		{"a new file", func() { write(t, filepath.Join(dir, "a"), "1") }, 2},
		{"a hidden file", func() { write(t, filepath.Join(dir, ".b"), "1") }, 2},
		{"a directory in it", func() { os.Mkdir(filepath.Join(dir, "c"), 0o700) }, 2},
		{"no file", func() { os.Remove(filepath.Join(dir, "a")) }, 3},
	} {
		step.do()
		if _, err := w.Look(); err != nil || loads != step.loads {
			t.Errorf("%s: %v, %d loads, want %d", step.name, err, loads, step.loads)
		}
	}
	os.Symlink(filepath.Join(dir, "nowhere"), filepath.Join(dir, "link"))
	if names, err := In(dir); err == nil {
		t.Errorf("a link that leads nowhere is no error: %v", names)
	}
}
