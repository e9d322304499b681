//go:build unix && !linux

package history

import "testing"

// storeDir is a directory on a disk that is never full.
func storeDir(t *testing.T, _ int) string { return t.TempDir() }

func fill(*testing.T, string, uint64) (free func()) { return func() {} }
