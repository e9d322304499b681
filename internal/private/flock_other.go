//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package private

import (
	"errors"
	"os"
)

var errLocked = errors.New("locked")

func flock(*os.File) error { return errors.ErrUnsupported }

func openClaim(string) (*os.File, error) { return nil, errors.ErrUnsupported }
