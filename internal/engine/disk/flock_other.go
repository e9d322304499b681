//go:build !darwin && !dragonfly && !freebsd && !linux && !netbsd && !openbsd

package disk

import (
	"errors"
	"io"
)

// flockDir has no lock for directories on this system.
func flockDir(string, bool) (io.Closer, error) { return nil, errors.ErrUnsupported }
