package private

import (
	"fmt"
	"io/fs"
	"log/slog"
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

// Log names it with the command that mends it.
func (w Wide) Log(log *slog.Logger) {
	log.Warn("users other than the owner can reach private files", "kind", w.Kind, "path", w.Path,
		"mode", fmt.Sprintf("%04o", w.Mode), "more", w.More, "mend", w.Mend)
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
// does not exist, or is no file, is passed over, and so is one that an earlier place
// has. The owner's group may read what belongs to another user, because the process
// may have no other way to read it.
func Examine(places []Place) []Wide {
	if !HasModes {
		return nil
	}
	var all []Wide
	seen := map[string]bool{}
	for _, p := range places {
		if !p.Public {
			all = append(all, p.examine(seen)...)
		}
	}
	return all
}

func (p Place) examine(seen map[string]bool) (found []Wide) {
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
		case err != nil || seen[name]:
		case info.IsDir():
			dirs.add(name, info, p.Path, tree)
		case info.Mode().IsRegular():
			files.add(name, info, p.Path, tree)
		}
		seen[name] = true
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
