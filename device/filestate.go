package device

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/longwire/longwire/protocol"
)

// FileState keeps the state in a file. The first process that loads it, or saves to it, has
// it until the process ends; Load and Save of another one are an error. An advisory lock on
// Path + ".lock" refuses the second process; that file stays. Some systems and file systems
// have no such locks: there the caller sees to it that one process uses the state at a time.
// Two clients of one process must not share it.
//
// Each line of the file is the CRC-32C of a Change in hexadecimal, a colon, and
// the Change in JSON. Save appends a line and syncs the file. When the file has
// doubled, Save writes the sum of its lines to Path + ".tmp", syncs that, renames
// it to Path and syncs the directory. It also does that in the first Save of a
// process and after an error. So after a power cut the file has each Change for
// which Save has returned nil, and perhaps a part of the next one. Load ignores
// such a part behind the first line; any other damage is an error that names the
// file, also an empty file.
//
// A symbolic link to a file that is not there is an error, and no first start.
//
// The file may be deleted while no process uses it. The device then has no memory
// of handled deliveries. Do not copy it to another device: New refuses a State
// with another id.
type FileState struct {
	Path string

	saved   Saved
	loaded  bool
	size    int64 // of the file; 0 if it must be rewritten
	compact int64 // the size at which it is rewritten
}

// OpenFileState returns the state in the file called path, which need not exist.
// New reads it.
func OpenFileState(path string) *FileState { return &FileState{Path: path} }

const (
	// maxStateFile bounds the bytes that Load reads. It is more than Save writes.
	maxStateFile = 1 << 20
	// minLog is how many bytes of lines are appended at least before the file is
	// rewritten.
	minLog = 64 << 10
	crcLen = 8 // digits
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Load reads the file.
func (s *FileState) Load() (Saved, error) {
	var saved Saved
	err := hold(s.Path)
	if err == nil {
		saved, err = readState(s.Path)
	}
	if err != nil {
		return Saved{}, fmt.Errorf("%s: %w", s.Path, err)
	}
	s.saved, s.loaded, s.size = saved, true, 0
	return saved, nil
}

// Save makes c durable.
func (s *FileState) Save(c Change) error {
	if !s.loaded {
		if _, err := s.Load(); err != nil {
			return err
		}
	}
	line, err := stateLine(c)
	if err != nil {
		return err
	}
	saved := s.saved
	saved.Apply(c)
	if s.size == 0 || s.size+int64(len(line)) > s.compact || s.append(line) != nil {
		err = s.rewrite(saved)
	}
	if err == nil {
		s.saved = saved
	}
	return err
}

// append adds a line to the file that this process has written.
func (s *FileState) append(line []byte) (err error) {
	size := s.size
	s.size = 0 // until the line is durable
	f, err := os.OpenFile(s.Path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err == nil && info.Size() != size {
		err = errors.New("another program has changed it")
	}
	if err == nil {
		_, err = f.Write(line)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		s.size = size + int64(len(line))
	}
	return err
}

// rewrite replaces the file by one line with the whole state.
func (s *FileState) rewrite(saved Saved) error {
	s.size = 0
	if err := hold(s.Path); err != nil {
		return fmt.Errorf("%s: %w", s.Path, err)
	}
	line, err := stateLine(Change{Reset: true, Saved: saved})
	if err != nil {
		return err
	}
	next := s.Path + ".tmp"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(line)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(next, s.Path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(next))
	}
	if err := syncDir(filepath.Dir(s.Path)); err != nil {
		return err
	}
	s.size = int64(len(line))
	s.compact = s.size + max(s.size, minLog)
	return nil
}

func stateLine(c Change) ([]byte, error) {
	b, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "%0*x:%s\n", crcLen, crc32.Checksum(b, castagnoli), b), nil
}

func readState(path string) (s Saved, err error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, link := os.Lstat(path); link == nil {
			return s, errors.New("a symbolic link to a file that is not there") // its disk may not be mounted yet
		}
		return s, nil
	case err != nil:
		return s, err
	case info.Size() > maxStateFile:
		return s, fmt.Errorf("%d bytes, at most %d", info.Size(), maxStateFile)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return s, err
	}
	return parseState(b)
}

// parseState adds up the lines of a file. The first one came with its name, so it is
// whole.
func parseState(b []byte) (s Saved, err error) {
	for at := 0; at < max(len(b), 1); {
		rest := b[at:]
		line, _, whole := bytes.Cut(rest, []byte{'\n'})
		c, err := parseLine(line)
		if whole && err == nil {
			s.Apply(c)
			at += len(line) + 1
			continue
		}
		if at > 0 && torn(rest) {
			return s, nil
		}
		return Saved{}, fmt.Errorf("damaged at byte %d: %w; without the file the device has no memory of handled deliveries",
			at, cmp.Or(err, errors.New("the line does not end")))
	}
	return s, nil
}

// torn reports whether rest, which begins with a bad line, is an incomplete
// write: the last line, either cut off or with a block that was never written and
// reads as zeros. No complete line has a zero byte.
func torn(rest []byte) bool {
	body, end := rest[:len(rest)-1], rest[len(rest)-1]
	switch {
	case bytes.IndexByte(body, '\n') >= 0:
		return false
	case bytes.IndexByte(rest, 0) >= 0:
		return true
	}
	_, err := parseLine(body)
	return end != '\n' && err != nil // a valid line before another end was complete
}

func parseLine(line []byte) (c Change, err error) {
	digits, body, _ := bytes.Cut(line, []byte{':'})
	sum, err := strconv.ParseUint(string(digits), 16, 32)
	if err != nil || len(digits) != crcLen || uint32(sum) != crc32.Checksum(body, castagnoli) {
		return c, errors.New("wrong checksum")
	}
	if err := json.Unmarshal(body, &c); err != nil {
		return c, err
	}
	for _, v := range c.Verdicts {
		if v.Code == protocol.AckRetry || v.Code == protocol.AckSend || v.Code > protocol.AckNotKept {
			return c, fmt.Errorf("verdict %s of %d is none", v.Code, v.Seq)
		}
	}
	return c, nil
}

// syncDir makes a rename durable. Systems that cannot sync a directory need no
// sync for it.
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
