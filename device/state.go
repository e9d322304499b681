package device

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// Position is what a device remembers: everything up to LastSeq of the log
// called Log is handled.
type Position struct {
	Log     string `json:"log"`
	LastSeq uint64 `json:"last_seq"`
}

// State keeps a Position. Load is called once, by New; a State that has none
// returns the zero Position. Save must not return before the position would
// survive what the device is to survive. Calls do not overlap.
type State interface {
	Load() (Position, error)
	Save(Position) error
}

// MemoryState forgets when the process ends. The zero value is ready.
type MemoryState struct {
	mu sync.Mutex
	p  Position
}

func (s *MemoryState) Load() (Position, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.p, nil
}

func (s *MemoryState) Save(p Position) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.p = p
	return nil
}

// FileState keeps the position in a small JSON file. Save writes another file,
// syncs it and renames it over the old one, then syncs the directory: after a
// power cut the file has the old position or the new one. The file may be
// deleted at any time; the device then knows nothing.
type FileState struct{ Path string }

// maxStateFile bounds what Load reads, in bytes.
const maxStateFile = 4 << 10

func (s FileState) Load() (p Position, err error) {
	info, err := os.Stat(s.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err != nil {
		return p, err
	}
	if info.Size() > maxStateFile {
		return p, fmt.Errorf("%s: %d bytes, at most %d", s.Path, info.Size(), maxStateFile)
	}
	b, err := os.ReadFile(s.Path)
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(b, &p); err != nil {
		return Position{}, fmt.Errorf("%s: %w; delete it to start anew", s.Path, err)
	}
	return p, nil
}

func (s FileState) Save(p Position) error {
	b, err := json.Marshal(p)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(s.Path), filepath.Base(s.Path)+".*.tmp")
	if err != nil {
		return err
	}
	_, err = f.Write(append(b, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), s.Path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(s.Path))
}

// syncDir makes a rename lasting. Systems that cannot sync a directory make
// renames lasting by themselves.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, fs.ErrPermission) {
		return errors.Join(err, d.Close())
	}
	return d.Close()
}
