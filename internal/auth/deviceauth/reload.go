package deviceauth

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// reloadEvery is the time between two looks at the files. It also bounds how long
// the gateway still accepts a revoked credential and keeps its connection.
const reloadEvery = 2 * time.Second

// watched is a file or a directory of files that is loaded again after a change.
// The holder of Authenticator.reload owns it.
type watched struct {
	name string
	load func() error // keeps the old value on an error
	seen []fs.FileInfo
}

// first loads the file at start-up. Its error stops the process.
func (w *watched) first() error {
	w.seen, _ = inventory(w.name) // before the load, so that the next look notices a change during it
	return w.load()
}

// look loads the file again if it has changed. It reports a file that it cannot
// read once and tries again when the file changes.
func (w *watched) look() (changed bool, err error) {
	now, err := inventory(w.name)
	if err == nil && slices.EqualFunc(w.seen, now, sameFile) {
		return false, nil
	}
	if err != nil && w.seen == nil {
		return false, nil // missing, and already reported
	}
	w.seen = now
	if err != nil {
		return true, err
	}
	return true, w.load()
}

// sameFile compares the attributes that every change alters, even a rename to the
// same name.
func sameFile(a, b fs.FileInfo) bool {
	return a.Name() == b.Name() && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && os.SameFile(a, b)
}

// inventory describes the file, or the files of the directory. It follows symbolic
// links: a mounted secret has changed if its link points elsewhere.
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
	list := []fs.FileInfo{} // not nil, because the directory exists
	for _, n := range names {
		if info, err := os.Stat(n); err == nil {
			list = append(list, info)
		}
	}
	return list, nil
}

// filesIn returns the regular files of a directory, in order and without hidden
// ones.
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

// Start watches the files until Close.
func (a *Authenticator) Start() {
	if len(a.files) == 0 {
		return
	}
	a.running.Go(func() {
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

// Reload looks at the files now. A broken file leaves its old values in force.
func (a *Authenticator) Reload() {
	a.reload.Lock()
	defer a.reload.Unlock()
	inForce := false
	for _, f := range a.files {
		changed, err := f.look()
		switch {
		case err != nil:
			a.stats.reloadErrors.Add(1)
			a.log.Error("cannot load a file of device credentials; its old content stays in force", "file", f.name, "error", err)
		case changed:
			a.stats.reloads.Add(1)
			inForce = true
		}
	}
	if inForce && a.cfg.Changed != nil {
		a.cfg.Changed()
	}
}

// Close ends the watch and the calls to the hook, and waits for both.
func (a *Authenticator) Close() {
	a.stop()
	a.running.Wait()
}
