//go:build !unix

package private

import "io/fs"

// owner is not asked here: see HasModes.
func owner(fs.FileInfo) (uid, gid int) { return -1, -1 }

func onlyRoots(fs.FileInfo) bool { return false }
