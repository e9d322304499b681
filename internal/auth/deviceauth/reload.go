package deviceauth

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// reloadEvery is how often the files are looked at. It also bounds how long a
// revoked credential is still accepted, and keeps a connection.
const reloadEvery = 2 * time.Second

// watched is a file, or a directory of files, that is loaded again when it has
// changed. It is owned by whoever holds Authenticator.reload.
type watched struct {
	name string
	load func() error // keeps the old value on an error
	seen []fs.FileInfo
}

// first loads at start-up, where an error stops the process.
func (w *watched) first() error {
	w.seen, _ = inventory(w.name) // before the load: a change in between is seen next time
	return w.load()
}

// look loads again what has changed. A file that cannot be read is reported
// once and tried again when it changes.
func (w *watched) look() (changed bool, err error) {
	now, err := inventory(w.name)
	if err == nil && slices.EqualFunc(w.seen, now, sameFile) {
		return false, nil
	}
	if err != nil && w.seen == nil {
		return false, nil // gone, and that was said
	}
	w.seen = now
	if err != nil {
		return true, err
	}
	return true, w.load()
}

// sameFile compares by what a change cannot leave as it was, a rename to the
// same name included.
func sameFile(a, b fs.FileInfo) bool {
	return a.Name() == b.Name() && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && os.SameFile(a, b)
}

// inventory describes the file, or the files of the directory. Symbolic links
// are followed, so that a mounted secret whose link is switched has changed.
func inventory(name string) ([]fs.FileInfo, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []fs.FileInfo{info}, nil
	}
	names, err := filesIn(name)
	if err != nil {
		return nil, err
	}
	list := []fs.FileInfo{} // not nil: the directory is there
	for _, n := range names {
		if info, err := os.Stat(n); err == nil {
			list = append(list, info)
		}
	}
	return list, nil
}

// filesIn returns the files of a directory, hidden ones excepted, in order.
func filesIn(dir string) (names []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, name)
		}
	}
	return names, err
}

// Start looks after the files until Close.
func (a *Authenticator) Start() {
	if len(a.files) == 0 {
		return
	}
	a.owned.Go(func() {
		t := time.NewTicker(reloadEvery)
		defer t.Stop()
		for {
			select {
			case <-t.C:
				a.Reload()
			case <-a.ctx.Done():
				return
			}
		}
	})
}

// Reload looks at the files now. What is broken leaves the old values in force.
func (a *Authenticator) Reload() {
	a.reload.Lock()
	defer a.reload.Unlock()
	inForce := false
	for _, f := range a.files {
		changed, err := f.look()
		switch {
		case err != nil:
			a.stats.reloadErrors.Add(1)
			a.log.Error("cannot load a file of device credentials; what was loaded before stays in force", "file", f.name, "error", err)
		case changed:
			a.stats.reloads.Add(1)
			inForce = true
		}
	}
	if inForce && a.cfg.Changed != nil {
		a.cfg.Changed()
	}
}

// Close ends the watch and calls under way to the hook, and waits for them.
func (a *Authenticator) Close() {
	a.stop()
	a.owned.Wait()
}
