package private

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Place is a file, or a directory with all that is in it.
type Place struct {
	Kind string // what people call it, such as "device tokens"
	Path string // "" for none
	// Public files may be read by all.
	Public bool
	// Key files let in anyone who can write them; see Trusted.
	Key bool
}

// Wide is a kind of private files that others can reach.
type Wide struct {
	Kind string
	Path string      // the first one found
	Mode fs.FileMode // its permission bits
	More int         // others of this kind
	Mend string      // the command that mends all of them
}

// Value is the file with its mode, for people.
func (w Wide) Value() string {
	s := fmt.Sprintf("mode %04o of %s", w.Mode, w.Path)
	if w.More > 0 {
		s += fmt.Sprintf(", and %d more", w.More)
	}
	return s
}

// Examine returns the private files of places that others can reach, one Wide for
// each kind; the directories and the files of a tree are two kinds. A place that
// does not exist, or is no file, is passed over. The owner's group may read what
// belongs to another user, because the process may have no other way to read it.
func Examine(places []Place) []Wide {
	if !hasModes {
		return nil
	}
	var all []Wide
	for _, p := range places {
		if !p.Public {
			all = append(all, p.examine()...)
		}
	}
	return all
}

func (p Place) examine() (found []Wide) {
	root, err := filepath.EvalSymlinks(p.Path)
	if p.Path == "" || err != nil {
		return nil
	}
	dirs, files := Wide{Kind: p.Kind}, Wide{Kind: p.Kind}
	tree := isDir(root)
	if tree {
		files.Kind = "files in the " + p.Kind
	}
	_ = filepath.WalkDir(root, func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil // a file that has gone, or a directory that is closed to us
		}
		info, err := e.Info()
		switch {
		case err != nil:
		case info.IsDir():
			dirs.add(name, info, p.Path, tree)
		case info.Mode().IsRegular():
			files.add(name, info, p.Path, tree)
		}
		return nil
	})
	for _, w := range []Wide{dirs, files} {
		if w.Path != "" {
			found = append(found, w)
		}
	}
	return found
}

// add counts a file when it is too wide.
func (w *Wide) add(name string, info fs.FileInfo, root string, tree bool) {
	others, who := fs.FileMode(0o077), "go"
	if uid, _ := owner(info); uid != os.Geteuid() {
		others, who = 0o007, "o"
	}
	switch {
	case info.Mode().Perm()&others == 0:
	case w.Path != "":
		w.More++
	default:
		w.Path, w.Mode = name, info.Mode().Perm()
		w.Mend = fmt.Sprintf("chmod %s= %s", who, name)
		if tree {
			w.Mend = fmt.Sprintf("chmod -R %s= %s", who, root)
		}
	}
}
