package app

import (
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/longwire/longwire/internal/private"
)

// A start times a few small synced writes beside the store. Below tooFast no write has
// reached a disk, as on tmpfs or with a cache that ignores syncs.
const (
	syncProbes = 20
	syncFile   = ".longwire-sync"      // in the data directory, during the measurement
	tooFast    = 15 * time.Microsecond // the doctor's bound
)

// syncTime is how long the disk of the store takes to confirm a write.
type syncTime struct {
	dir string // "" = not measured
	// once writes and syncs a block; replaced by tests.
	once func(*os.File) (time.Duration, error)
	p50  atomic.Int64 // nanoseconds; 0 = not known
}

// measure times writes to a file of its own. The time stays unknown if a write fails or
// the drain begins.
func (s *syncTime) measure(draining <-chan struct{}) {
	if s.dir == "" {
		return
	}
	// The process holds the directory, so no other one writes this file. A killed process
	// may have left it.
	file, err := os.OpenFile(filepath.Join(s.dir, syncFile), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, private.FileMode)
	if err != nil {
		return
	}
	defer os.Remove(file.Name())
	defer file.Close()
	var took []time.Duration
	for range syncProbes {
		d, err := s.once(file)
		if err != nil {
			return
		}
		select {
		case <-draining:
			return
		default:
		}
		took = append(took, d)
	}
	slices.Sort(took)
	s.p50.Store(int64(max(took[len(took)/2], 1)))
}

// timeSync writes a block and syncs it.
func timeSync(file *os.File) (time.Duration, error) {
	begun := time.Now()
	if _, err := file.Write(make([]byte, 4096)); err != nil {
		return 0, err
	}
	err := file.Sync()
	return time.Since(begun), err
}
