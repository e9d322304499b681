package device

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
)

// errLocked means that another process holds a lock.
var errLocked = errors.New("in use by another process")

// held has the locks of this process, by the absolute path of the state. They stay
// until the process ends: the system gives them back, also after a crash.
var held struct {
	sync.Mutex
	locks map[string]*os.File
}

// hold takes the state in path for this process. It returns errLocked if another process has
// it, and nil where no lock can be had: a state that cannot be written, or a file system
// without locks. A separate file has the lock, because a rewrite replaces the state.
func hold(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	held.Lock()
	defer held.Unlock()
	name := path + ".lock"
	old := held.locks[path]
	if old != nil && (runtime.GOOS == "windows" || sameFile(old, name)) { // Windows removes no open file
		return nil
	}
	f, err := lockFile(name)
	if errors.Is(err, errLocked) {
		return err
	}
	if old != nil { // of a directory that was removed
		old.Close()
		delete(held.locks, path)
	}
	if err != nil {
		return nil
	}
	if held.locks == nil {
		held.locks = map[string]*os.File{}
	}
	held.locks[path] = f
	return nil
}

// sameFile reports whether name still leads to f.
func sameFile(f *os.File, name string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Stat(name)
	return err == nil && os.SameFile(a, b)
}
