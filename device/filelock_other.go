//go:build !darwin && !dragonfly && !freebsd && !linux && !netbsd && !openbsd && !windows

package device

import (
	"errors"
	"os"
)

// lockFile has no lock on this system.
func lockFile(string) (*os.File, error) { return nil, errors.ErrUnsupported }
