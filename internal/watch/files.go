// Package watch loads files again after they have changed.
package watch

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Files are files that are loaded together, and again after one of them has changed. One
// goroutine at a time may call its method.
type Files struct {
	Names []string     // files, and directories of files
	Load  func() error // reads them; on an error the old values stay

	seen  []file    // before the last load
	flaw  string    // error of the last Look, "" for none
	again time.Time // when unchanged files are loaded again after it
}

// A failed load that takes shortLoad or more is not repeated for rest times as long: a
// large file with a mistake in its last line must not keep a processor busy.
const (
	shortLoad = 100 * time.Millisecond
	rest      = 10
)

// Look loads the files if they have changed since the last load, and at the first call.
// If they could not be loaded it tries again, because an error of the file system can
// pass without a change of the files. It returns each error once.
func (w *Files) Look() (loaded bool, err error) {
	now, err := look(w.Names)
	unchanged := err == nil && w.seen != nil && slices.EqualFunc(w.seen, now, same)
	if err == nil {
		w.seen = now // before the load, so that the next look notices a change during it
	}
	if unchanged && (w.flaw == "" || time.Now().Before(w.again)) {
		return false, nil
	}
	start := time.Now()
	if err == nil {
		err = w.Load()
	}
	if err == nil {
		w.flaw = ""
		return true, nil
	}
	w.again = time.Now().Add(rest * time.Since(start).Truncate(shortLoad))
	if err.Error() == w.flaw && (unchanged || now == nil) {
		return false, nil // known
	}
	w.flaw = err.Error()
	return false, err
}

// Every calls look at this interval until ctx ends.
func Every(ctx context.Context, interval time.Duration, look func()) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			look()
		case <-ctx.Done():
			return
		}
	}
}

// file is a file at the time of a look.
type file struct {
	fs.FileInfo
	name string
	sum  [sha256.Size]byte // of the content of a young file, else zero
}

// young is the age up to which a file is known by its content too. Of two changes within
// one step of a file system's clock, up to 2 s, the second one need not alter size and time.
const young = 3 * time.Second

// same reports whether a file is as it was.
func same(was, is file) bool {
	if was.name != is.name || was.Size() != is.Size() || was.Mode() != is.Mode() || !was.ModTime().Equal(is.ModTime()) ||
		!os.SameFile(was.FileInfo, is.FileInfo) {
		return false
	}
	if was.sum != is.sum && is.sum == (file{}).sum { // it was young
		is.sum, _ = sum(is.name)
	}
	return was.sum == is.sum
}

// look describes files, and the files of directories. It follows symbolic links: a
// mounted secret has changed if its link points elsewhere.
func look(names []string) ([]file, error) {
	list := []file{} // not nil, because the names are there
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		all := []string{name}
		if info.IsDir() {
			if all, err = In(name); err != nil {
				return nil, err
			}
		}
		for _, name := range all {
			f := file{name: name}
			if f.FileInfo, err = os.Stat(name); err != nil {
				return nil, err
			}
			if f.Mode().IsRegular() && time.Since(f.ModTime()).Abs() < young {
				if f.sum, err = sum(name); err != nil {
					return nil, err
				}
			}
			list = append(list, f)
		}
	}
	return list, nil
}

// In returns the regular files of a directory, in order and without hidden ones. A file
// that cannot be looked at is an error, because without it the others are not all.
func In(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		name := filepath.Join(dir, e.Name())
		info, err := os.Stat(name)
		if err != nil {
			if _, gone := os.Lstat(name); errors.Is(gone, fs.ErrNotExist) {
				continue // since ReadDir
			}
			return nil, err
		}
		if info.Mode().IsRegular() {
			names = append(names, name)
		}
	}
	return names, nil
}

func sum(name string) (s [sha256.Size]byte, err error) {
	f, err := os.Open(name)
	if err != nil {
		return s, err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	h.Sum(s[:0])
	return s, err
}
