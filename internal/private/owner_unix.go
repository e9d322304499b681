//go:build unix

package private

import (
	"io/fs"
	"os"
	"syscall"
)

// owner returns the numbers of a file's user and group, -1 if they are not known.
func owner(info fs.FileInfo) (uid, gid int) {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1, -1
	}
	return int(s.Uid), int(s.Gid)
}

// openDir opens a directory. It returns an error for any other file and for a link.
func openDir(name string) (*os.File, error) {
	return os.OpenFile(name, syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
}
