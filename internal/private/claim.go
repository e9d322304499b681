package private

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"time"
)

// Claim is a new file that excludes other writers: while a process has it open, no other
// one can claim the name. Replace puts it in the place of an old file.
//
// The file is locked by flock(2), which ends with the process. So a claim that a process
// has left when it died is known from one whose process is slow.
type Claim struct {
	*os.File
	info fs.FileInfo
}

// Ages from which the file of a claim may be removed. A process makes the file and locks
// it within youngClaim. Without locks a claim of deadClaim is taken for one of a process
// that has died.
const (
	youngClaim = 5 * time.Second
	deadClaim  = time.Minute
)

// NewClaim claims a name. It makes the file as MakeFile does, and removes one of a process
// that has died. A name that is taken is fs.ErrExist.
func NewClaim(name string) (*Claim, error) {
	for {
		c, err := claim(name)
		if !errors.Is(err, fs.ErrExist) {
			return c, err
		}
		removed, err := removeDead(name)
		if err != nil {
			return nil, fmt.Errorf("remove what a dead process has left: %v", err) // a full directory is an fs.ErrExist, too
		}
		if !removed {
			return nil, fs.ErrExist
		}
	}
}

func claim(name string) (*Claim, error) {
	w, err := MakeFile(name)
	if err != nil {
		return nil, err
	}
	c := &Claim{File: w}
	if c.info, err = w.Stat(); err == nil {
		err = flock(w)
	}
	switch {
	case c.info == nil:
	case errors.Is(err, errLocked), !c.holds(): // this took so long that removeDead has found the file
		err = fs.ErrExist
	case err == nil, errors.Is(err, errors.ErrUnsupported):
		return c, nil
	}
	c.Close()
	return nil, err
}

// removeDead removes the file of a claim whose process has died. It reports whether the
// name may be free now.
func removeDead(name string) (removed bool, err error) {
	info, err := os.Lstat(name)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist), nil
	}
	age := time.Since(info.ModTime()).Abs() // the clock may have been set back since
	if age <= youngClaim {
		return false, nil
	}
	old, err := openClaim(name)
	if err == nil {
		defer old.Close()
		err = flock(old)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	case errors.Is(err, errLocked), err != nil && age <= deadClaim:
		return false, nil
	}
	// Another process may have removed it, and a new file may have its inode.
	if now, err := os.Lstat(name); err != nil || !os.SameFile(now, info) || !now.ModTime().Equal(info.ModTime()) {
		return true, nil
	}
	if err := os.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err == nil, err
	}
	return true, nil
}

// holds reports whether the file still has its name. It has not if someone took the
// process for dead: then the name may belong to the claim of another one.
func (c *Claim) holds() bool {
	info, err := os.Lstat(c.Name())
	return err == nil && os.SameFile(info, c.info)
}

// Replace syncs the file and gives it another name, which need not be free. Then the
// directory is to be synced. Release must follow.
func (c *Claim) Replace(name string) error {
	if err := c.Sync(); err != nil {
		return err
	}
	if !c.holds() {
		return fmt.Errorf("another process has removed the lock %s", c.Name())
	}
	if runtime.GOOS == "windows" { // which renames no open file
		c.Close()
	}
	return os.Rename(c.Name(), name)
}

// Release gives the name free. It removes the file unless Replace has given it another
// name.
func (c *Claim) Release() {
	if runtime.GOOS == "windows" { // which removes no open file
		c.Close()
	}
	if c.holds() {
		_ = os.Remove(c.Name())
	}
	c.Close()
	c.info = nil // a later file may have its inode
}
